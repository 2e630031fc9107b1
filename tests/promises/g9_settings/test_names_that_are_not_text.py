r"""Streams, groups, consumers and fields whose names are no text, as Java writes them: reclaimed, shown, replayed."""

import json
from typing import Any

import pytest

from reclaim.app import App
from reclaim.entry import readable
from reclaim.ops import letter_acts, letter_looks, operations
from reclaim.ops.doctor import doctor
from reclaim.ops.health import Health
from reclaim.run.report import Outcome
from reclaim.settings import Settings
from tests.support import Client, Endpoint, env_for

pytestmark = pytest.mark.G9

STREAM, GROUP, OURS = b"\xac\xed\x00\x05t\x00\x06orders", b"g\x00\xff", b"me\n"
WORKER, FIELD, VERSION = b"worker\x1b", b"\xac\xed\x00\x05t\x00\x02id", b"\x00v"
ENV = {
    "STREAM_NAME": r"\xac\xed\x00\x05t\x00\x06orders",
    "STREAM_CONSUMER_GROUP_NAME": r"g\x00\xff",
    "MONITORING_CONSUMER_NAME": r"me\x0a",
    "HASH_KEY": r"order\x00:{\xac\xed\x00\x05t\x00\x02id}",
    "HASH_VERSION_FIELD": r"\x00v",
}
NAME = r"\xac\xed\x00\x05t\x00\x06orders/g\x00\xff"


def abandoned(client: Client, *entries: list[bytes]) -> list[bytes]:
    """The entries, read by a worker an hour ago and not acknowledged."""
    client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    ids = [client.execute_command("XADD", STREAM, "*", *entry) for entry in entries]
    client.execute_command("XREADGROUP", "GROUP", GROUP, WORKER, "STREAMS", STREAM, ">")
    client.execute_command("XCLAIM", STREAM, GROUP, WORKER, 0, *ids, "IDLE", 3_600_000, "JUSTID")
    return ids


async def test_a_target_with_such_names_is_served(server: Endpoint, client: Client) -> None:
    """Every name is the same bytes in Redis, and the same text wherever a person reads it."""
    good, bad = abandoned(client, [FIELD, b"7", b"text", b"\xff"], [b"text", b"no id"])
    app = App(Settings.from_env(env_for(server) | ENV))
    try:
        (report,) = await app.reports()
        letters = await letter_looks.list_dead_letters(app, NAME)
        client.execute_command("XGROUP", "SETID", STREAM, GROUP, "0")
        client.execute_command("XREADGROUP", "GROUP", GROUP, OURS, "STREAMS", STREAM, ">")
        status = (await operations.read_status(app)).found
        discarded = await letter_acts.discard_dead_letters(app, None, NAME)
    finally:
        await app.aclose()

    assert (report.target, report.outcome, report.acknowledged, report.parked) == (NAME, Outcome.COMPLETED, 1, 1)
    assert report.pending_before == {r"worker\x1b": 2}
    assert client.execute_command("HGETALL", b"order\x00:7") == [FIELD, b"7", b"text", b"\xff", VERSION, good]
    assert [(letter.entry.id, letter.to_dict(readable)["consumer"]) for letter in letters.letters] == [
        (bad, r"worker\x1b")
    ]
    assert r"no field '\xac\xed\x00\x05t\x00\x02id'" in letters.letters[0].error
    assert discarded.discarded == 1
    (target,) = status["targets"]
    assert (target["target"], target["group"], target["consumer"]) == (NAME, r"g\x00\xff", r"me\x0a")
    assert [one["consumer"] for one in target["pending"]["by_consumer"]] == [r"me\x0a"]
    prefix = b"{%b}:reclaim:%b:" % (STREAM, GROUP)
    ours = {key for key in client.execute_command("KEYS", "*") if key not in {STREAM, b"order\x00:7"}}
    assert ours
    assert all(key.startswith(prefix) for key in ours)


async def test_the_doctor_knows_such_names(server: Endpoint, client: Client) -> None:
    """And what a user lacks is written so that redis-cli takes it in double quotes."""
    abandoned(client, [FIELD, b"7"])

    found = await doctor(env_for(server) | ENV)
    client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", "+@all")
    lacking = await doctor(env_for(server) | ENV | {"REDIS_USERNAME": "app", "REDIS_PASSWORD": "pw"})
    client.execute_command("ACL", "DELUSER", "app")

    assert {one.what for one in found if one.health is Health.FAIL} == set()
    assert any(r"would be stored at order\x00:7" in one.what for one in found)
    (asked,) = [one.todo for one in lacking if one.about == NAME and one.health is Health.FAIL]
    assert asked.split()[-3:] == [
        r"~\xac\xed\x00\x05t\x00\x06orders",
        r"~{\xac\xed\x00\x05t\x00\x06orders}:reclaim:g\x00\xff:*",
        r"~order\x00:*",
    ]


@pytest.mark.parametrize("stream", ['"orders"', "orders\\new", "or ders", "ördérs 😀", "a*b[c]?"])
async def test_names_of_every_kind_are_bytes_like_any_others(embedded: Endpoint, client: Client, stream: str) -> None:
    """Quotation marks, as Jackson writes them, and whatever else is text."""
    listed: list[dict[str, Any]] = [{"stream": stream, "group": stream, "hash_key": "{id}"}]
    client.execute_command("XGROUP", "CREATE", stream.encode(), stream.encode(), "0", "MKSTREAM")
    entry = client.execute_command("XADD", stream.encode(), "*", "id", '"1"')
    client.execute_command("XREADGROUP", "GROUP", stream.encode(), "w", "STREAMS", stream.encode(), ">")
    client.execute_command("XCLAIM", stream.encode(), stream.encode(), "w", 0, entry, "IDLE", 3_600_000, "JUSTID")
    app = App(Settings.from_env({"RECLAIM_TARGETS": json.dumps(listed)} | without_names(env_for(embedded))))
    (report,) = await app.reports()
    await app.aclose()

    assert (report.target, report.acknowledged) == (f"{stream}/{stream}", 1)
    assert client.execute_command("EXISTS", '"1"') == 1


def without_names(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith("STREAM_")}
