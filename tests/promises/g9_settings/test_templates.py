"""Entries as other programs write them, one JSON field each: each stored under a key of its own, without any code."""

import pytest

from reclaim.app import App
from reclaim.run.report import Outcome
from reclaim.settings import Settings
from tests.support import Client, Endpoint, env_for

pytestmark = pytest.mark.G9

ENV = {"STREAM_NAME": "orders", "STREAM_CONSUMER_GROUP_NAME": "g"}


def abandoned(client: Client, *entries: list[bytes]) -> list[bytes]:
    """The entries, read by a worker an hour ago and not acknowledged."""
    client.execute_command("XGROUP", "CREATE", "orders", "g", "0", "MKSTREAM")
    ids = [client.execute_command("XADD", "orders", "*", *entry) for entry in entries]
    client.execute_command("XREADGROUP", "GROUP", "g", "worker", "STREAMS", "orders", ">")
    client.execute_command("XCLAIM", "orders", "g", "worker", 0, *ids, "IDLE", 3_600_000, "JUSTID")
    return ids


async def a_run(server: Endpoint, **settings: str) -> tuple[Outcome, int, int]:
    """How it ended, and how many entries it acknowledged and parked."""
    app = App(Settings.from_env(env_for(server) | ENV | settings))
    try:
        (report,) = await app.reports()
    finally:
        await app.aclose()
    return report.outcome, report.acknowledged, report.parked


async def test_a_hash_is_named_by_what_lies_in_its_json(embedded: Endpoint, client: Client) -> None:
    """An entry without a value there is a bad one; the others go on."""
    _, bad, _ = abandoned(
        client,
        [b"data", b'{"order": {"id": 7}}'],
        [b"data", b'{"order": {"id": null}}'],
        [b"data", b'{"order": {"id": "8"}}'],
    )

    ended = await a_run(embedded, HASH_KEY="order:{data->order.id}")

    assert ended == (Outcome.COMPLETED, 2, 1)
    assert client.execute_command("HGETALL", "order:7") == [b"data", b'{"order": {"id": 7}}']
    assert client.execute_command("HGETALL", "order:8") == [b"data", b'{"order": {"id": "8"}}']
    ((_, letter),) = client.execute_command("XRANGE", "{orders}:reclaim:g:dead", "-", "+")
    assert letter[letter.index(b"id") + 1] == bad
    assert client.execute_command("XPENDING", "orders", "g")[0] == 0


async def test_a_path_that_fits_nothing_is_a_wrong_setting(embedded: Endpoint, client: Client) -> None:
    """Nothing is parked or charged."""
    abandoned(client, [b"data", b'{"order": {"id": 7}}'], [b"data", b"no JSON"])

    ended = await a_run(embedded, HASH_KEY="order:{data->order.nr}")

    assert ended == (Outcome.FAILED, 0, 0)
    assert [row[3] for row in client.execute_command("XPENDING", "orders", "g", "-", "+", 9)] == [1, 1]


async def test_an_entry_cannot_write_over_a_key_of_ours(embedded: Endpoint, client: Client) -> None:
    """Whoever adds entries chooses their values."""
    abandoned(client, [b"id", b"{orders}:reclaim:g:tries"], [b"id", b"fine"])

    ended = await a_run(embedded, HASH_KEY="{id}")

    assert ended == (Outcome.COMPLETED, 1, 1)
    assert client.execute_command("HGETALL", "{orders}:reclaim:g:tries") == []
    assert client.execute_command("HGETALL", "fine") == [b"id", b"fine"]


@pytest.mark.parametrize("version", ["", "entry_id"])
async def test_a_json_object_becomes_the_hash_and_expires(server: Endpoint, client: Client, version: str) -> None:
    """With and without a version field; an entry that holds no object is a bad one."""
    good, _ = abandoned(
        client, [b"data", b'{"id": 7, "total": 1.50, "to": {"zip": "x"}, "no": null}'], [b"data", b'{"id": 8}x']
    )

    ended = await a_run(
        server, HASH_KEY="order:{data->id}", HASH_FROM="data", HASH_TTL_SEC="3600", HASH_VERSION_FIELD=version
    )

    assert ended == (Outcome.COMPLETED, 1, 1)
    kept = [b"id", b"7", b"total", b"1.50", b"to", b'{"zip":"x"}'] + ([b"entry_id", good] if version else [])
    assert client.execute_command("HGETALL", "order:7") == kept
    assert 3590 < client.execute_command("TTL", "order:7") <= 3600
    assert client.execute_command("EXISTS", "order:8") == 0


async def test_a_json_field_that_no_entry_has_is_a_wrong_setting(embedded: Endpoint, client: Client) -> None:
    """The error names it."""
    abandoned(client, [b"id", b"7", b"data", b"[1]"], [b"id", b"8", b"data", b'{"a": null}'])
    app = App(Settings.from_env(env_for(embedded) | ENV | {"HASH_KEY": "order:{id}", "HASH_FROM": "data"}))
    try:
        (report,) = await app.reports()
    finally:
        await app.aclose()

    assert (report.outcome, report.parked) == (Outcome.FAILED, 0)
    assert "HASH_FROM fits no entry that was looked at (2 were): a list in the field 'data'" in report.reason
