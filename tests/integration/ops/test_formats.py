"""What a newer release has written is told by the doctor, and left as it is, whatever is done beside it."""

from typing import Any

import pytest
from redis.exceptions import ResponseError

from reclaim.app import App
from reclaim.ops import letter_acts, operations
from reclaim.ops.doctor import doctor
from tests.support import Client, Endpoint, a_target, env_for, given, held, settings_for

TARGET = a_target()
NEWER = "2.1"


def write_newer(client: Client) -> dict[str, bytes]:
    """One thing of each kind in the format of a newer release: what the doctor calls each, and its key."""
    keys = TARGET.keys
    hashes = {"the circuit": keys.circuit, "what the last run saw": keys.seen}
    records = {
        "the latest dead letter": keys.dead,
        "the latest lost entry": keys.lost,
        "the latest record of the audit": keys.audit,
    }
    for key in hashes.values():
        client.execute_command("HSET", key, "format", NEWER, "state", "closed", "anything", "new")
    for key in records.values():
        client.execute_command("XADD", key, "*", "format", NEWER, "id", "9-0", "anything", "new")
    client.execute_command("XADD", keys.runs, "*", "report", f'{{"format": "{NEWER}", "anything": "new"}}')
    return {**hashes, **records, "the latest report of a run": keys.runs}


def content(client: Client, key: bytes) -> Any:
    """What a key holds: fields of a hash, or the first entry of a stream."""
    if client.execute_command("TYPE", key) == b"hash":
        return client.execute_command("HGETALL", key)
    return client.execute_command("XRANGE", key, "-", "+", "COUNT", 1)


async def test_the_doctor_names_what_a_newer_release_has_written(embedded: Endpoint, client: Client) -> None:
    given(client, TARGET, *held(range(3)))
    newer = write_newer(client)

    found = await doctor(env_for(embedded, TARGET))

    told = {one.what: one.todo for one in found if "newer release" in one.what}
    assert sorted(told) == sorted(
        f"{what} is in format {NEWER}, of a newer release of reclaim; this release leaves it as it is" for what in newer
    )
    assert all("deploy the newer release everywhere" in todo for todo in told.values())


async def test_nothing_that_is_done_beside_it_overwrites_it(embedded: Endpoint, client: Client) -> None:
    """A run, a replay, and a person at the circuit. That something was stored is noted in every format alike."""
    given(client, TARGET, *held(range(3)))
    newer = write_newer(client)
    before = {what: content(client, key) for what, key in newer.items()}
    app = App(settings_for(embedded, TARGET))
    try:
        reports = await app.reports()
        await letter_acts.replay_dead_letters(app, None, even_if_open=True)
        with pytest.raises(ResponseError, match="of a newer release of reclaim"):
            await operations.open_circuit(app, reason="a test", who="me")
        records = (await operations.list_audit(app)).records
    finally:
        await app.aclose()

    before["what the last run saw"] += [b"stored under:tweet:{id}", b"1"]
    assert {what: content(client, key) for what, key in newer.items()} == before
    assert [report.outcome.value for report in reports] == ["completed"]
    assert sorted(record.what for record in records) == ["open_circuit", "replay"]
