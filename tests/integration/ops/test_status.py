"""The status of an app, as whole values, on every server; and what it costs."""

import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dev.proxy import ErrorReply, Fault, Proxy
from dev.server import Server
from reclaim import __version__
from reclaim.app import App
from reclaim.cli import views
from reclaim.ops.checks import Check
from reclaim.ops.doctor import BAD_KEPT_SEC, KEPT_SEC, Checkup
from reclaim.ops.health import Health
from reclaim.ops.operations import list_lost
from reclaim.ops.status import status
from reclaim.settings import Settings, Target
from reclaim.state.circuit import Circuit
from reclaim.state.lost import LOST_MAXLEN
from tests.support import (
    Client,
    Endpoint,
    HasPort,
    Held,
    a_target,
    given,
    held,
    lived_in,
    raw_client,
    settings_for,
    tweet,
)

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")


@asynccontextmanager
async def an_app(place: HasPort, *targets: Target, **changes: Any) -> AsyncIterator[App]:
    app = App(settings_for(place, *targets, **changes))
    try:
        yield app
    finally:
        await app.aclose()


async def status_of(settings: Settings) -> dict[str, Any]:
    app = App(settings)
    try:
        return (await status(app)).found
    finally:
        await app.aclose()


def steady(value: Any) -> Any:
    """The status without what differs from time to time: moments are ``now``, what idles is rounded to the hour."""
    if isinstance(value, dict):
        return {name: round(one, -6) if name == "idle_ms" else steady(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [steady(one) for one in value]
    return "now" if isinstance(value, str) and MOMENT.fullmatch(value) else value


CLOSED = {
    "state": "closed",
    "since": None,
    "seconds_left": None,
    "by": "",
    "who": "",
    "reason": "",
    "failures": 0,
    "failed_probes": 0,
    "probe": None,
    "limit": 100,
    "window_sec": 30.0,
    "wait_sec": 0.0,
    "wait_reason": "",
}
NOTHING = {
    "target": "s/g",
    "stream": "s",
    "group": "g",
    "consumer": "monitoring_app",
    "min_idle_ms": 10_000,
    "tick_sec": 20,
    "group_missing": False,
    "missing_ok": False,
    "clock_behind_ms": 0,
    "pending": {"total": 0, "consumers": 0, "by_consumer": [], "oldest": None},
    "circuit": CLOSED,
    "lease": None,
    "runs": [],
    "last_tick_at": None,
    "dead_letters": 0,
    "dead_letter_maxlen": 100_000,
    "lost": {"count": 0, "latest": [], "full": False},
    "error": None,
    "health": "warn",
    "sentence": "No run is on record yet.",
}


async def test_before_the_first_run(server: Endpoint, client: Client) -> None:
    """A stream with a group and nothing else."""
    given(client, a_target())
    kind, version = server.kind.split("-") if server.proxy is None else ("redis", "7.0")

    found = await status_of(settings_for(server))

    assert found["server"].pop("version").startswith(version)
    assert {one["health"] for one in found["doctor"].pop("findings")} == {"ok"}
    assert steady(found) == {
        "version": __version__,
        "now": "now",
        "health": "warn",
        "error": None,
        "server": {"address": f"127.0.0.1:{server.port}", "kind": kind, "tls": False},
        "doctor": {"at": "now"},
        "targets": [NOTHING],
    }
    json.dumps(found, allow_nan=False)


async def test_everything_that_there_is_to_tell(server: Endpoint, client: Client) -> None:
    """Entries of two consumers, one lost, one dead letter, one run, a circuit that a person opened, a lease."""
    target = a_target(max_deliveries=1, dead_letter_maxlen=7)
    given(
        client,
        target,
        Held(tweet(1), "gone", deliveries=5),
        Held(tweet(2), "gone"),
        Held(tweet(3), "b", idle_ms=0),
        Held(tweet(4), "a", idle_ms=0, deliveries=3),
        Held(tweet(5), "b", idle_ms=0),
    )
    client.execute_command("XDEL", target.stream, "2-0")
    async with an_app(server, target) as app:
        (report,) = await app.run()
        await Circuit(app.server, target).open("the database is being moved", "ann")
        client.execute_command("SET", target.keys.lease, b"run 1 on host\xff", "PX", 60_000)
        found = (await status(app)).found["targets"]

    (run,) = found[0].pop("runs")
    run_id = run.pop("id")
    assert run == json.loads(report.to_json()) | {name: run[name] for name in ("seconds", "pending_after")}
    assert client.execute_command("XRANGE", target.keys.runs, run_id, run_id)
    sentence = found[0].pop("sentence")
    assert sentence.startswith("The circuit has been open for 0")
    assert "(ann opened it: the database is being moved)" in sentence
    assert "1 dead letter waits for somebody to replay or discard; also, 1 entry trimmed or deleted" in sentence
    assert steady(found) == [
        {name: value for name, value in NOTHING.items() if name not in {"runs", "sentence"}}
        | {
            "pending": {
                "total": 3,
                "consumers": 2,
                "by_consumer": [
                    {"consumer": "b", "pending": 2, "idle_ms": 0},
                    {"consumer": "a", "pending": 1, "idle_ms": 0},
                ],
                "oldest": {"id": "3-0", "consumer": "b", "idle_ms": 0, "deliveries": 1},
            },
            "circuit": CLOSED
            | {"state": "open", "since": "now", "by": "person", "who": "ann", "reason": "the database is being moved"},
            "lease": "run 1 on host\\xff",
            "last_tick_at": "now",
            "dead_letters": 1,
            "dead_letter_maxlen": 7,
            "lost": {
                "count": 1,
                "latest": [
                    {
                        "id": "2-0",
                        "consumer": "gone",
                        "deliveries": 1,
                        "idle_ms": 4_000_000,
                        "at": "now",
                        "at_most": None,
                    }
                ],
                "full": False,
            },
            "health": "fail",
        }
    ]


async def test_of_many_consumers_those_that_hold_most_are_named(server: Endpoint, client: Client) -> None:
    """And it says how many there are."""
    for number in range(60):
        given(client, a_target(), *held(range(1 if number < 10 else 3), consumer=f"w{number}"))

    pending = (await status_of(settings_for(server)))["targets"][0]["pending"]

    assert (pending["total"], pending["consumers"]) == (160, 60)
    assert {one["consumer"]: one["pending"] for one in pending["by_consumer"]} == {f"w{n}": 3 for n in range(10, 60)}


async def test_the_oldest_is_the_one_idle_longest_among_the_first(server: Endpoint, client: Client) -> None:
    """The entry with the smallest ID may have been read again only now."""
    given(client, a_target(), Held(tweet(1), idle_ms=0), Held(tweet(2), "w2", deliveries=4), Held(tweet(3), idle_ms=9))

    found = await status_of(settings_for(server))

    oldest = found["targets"][0]["pending"]["oldest"]
    assert (oldest["id"], oldest["consumer"], oldest["deliveries"]) == ("2-0", "w2", 4)
    assert 3_600_000 <= oldest["idle_ms"] < 3_700_000


@pytest.mark.parametrize("count", [0, 10, 20_000])
async def test_one_round_trip_for_the_server_and_three_at_most_for_each_target(
    client: Client, embedded_proxy: Proxy, count: int
) -> None:
    """Whatever the backlog: one if nothing is pending, else two more to learn how long its consumers have been idle."""
    targets = [a_target(), a_target(stream="s2"), a_target(stream="s3")]
    for target in targets:
        given(client, target, *held(range(count)))
    embedded_proxy.reply_delay_sec = 0.005
    async with an_app(embedded_proxy, *targets) as app:
        await status(app)  # the doctor looks, and has connections closed
        await status(app)  # makes the connections
        embedded_proxy.forget()

        await status(app)

    more = 2 if count else 0
    assert embedded_proxy.round_trips == 1 + (1 + more) * len(targets)
    assert len(embedded_proxy.commands) == 1 + (9 + more) * len(targets)


async def test_the_doctor_asks_the_same_whatever_the_backlog(client: Client, embedded_proxy: Proxy) -> None:
    """As many round trips and commands for twenty thousand pending entries as for one."""
    target = a_target()
    lived_in(client, target)
    asked: list[Counter[bytes]] = []
    for numbers in (range(1), range(1, 20_000)):
        given(client, target, *held(numbers))
        embedded_proxy.forget()
        async with an_app(embedded_proxy) as app:
            await Checkup(app.server, app.settings).findings({})
        asked.append(Counter(command[0] for command in embedded_proxy.commands))

    assert asked[0] == asked[1]
    assert asked[0][b"DISCARD"] == 1


async def test_findings_are_kept_for_a_while_and_shorter_if_something_fails(client: Client, embedded: Endpoint) -> None:
    """A group that is made is seen after ten seconds; that all is well is looked at again after a minute."""
    target = a_target()
    clock = [0.0]
    async with an_app(embedded) as app:
        checkup = Checkup(app.server, app.settings, lambda: clock[0])
        failed = wrong(await checkup.findings({}))
        given(client, target)
        clock[0] = BAD_KEPT_SEC
        well = wrong(await checkup.findings({}))
        client.execute_command("XGROUP", "DESTROY", target.stream, target.group)
        kept = wrong(await checkup.findings({}))
        clock[0] += KEPT_SEC
        looked_again = wrong(await checkup.findings({}))

    assert failed == ["the stream s is not there"]
    assert well == kept == []
    assert looked_again == ["the stream is there, but not its group g"]


def wrong(findings: list[Check]) -> list[str]:
    """What is not well."""
    return [one.what for one in findings if one.health is not Health.OK]


async def test_it_changes_nothing(server: Endpoint, client: Client) -> None:
    """Not a key more, no delivery counted, nobody's idle time reset."""
    target = a_target()
    given(client, target, *held(range(5)))
    before = client.execute_command("XPENDING", target.stream, target.group, "-", "+", 10)

    await status_of(settings_for(server))

    after = client.execute_command("XPENDING", target.stream, target.group, "-", "+", 10)
    assert [row[:2] + row[3:] for row in after] == [row[:2] + row[3:] for row in before]
    assert all(now[2] >= was[2] for now, was in zip(after, before, strict=True))
    assert client.execute_command("KEYS", "*") == [b"s"]


async def test_what_is_wrong_with_one_target_is_said_there(server: Endpoint, client: Client) -> None:
    """No stream, no group, a key of another type: the other target is shown all the same."""
    well, no_group = a_target(), a_target(group="late")
    no_stream, no_such_type = a_target(stream="none"), a_target(stream="a-string")
    given(client, well)
    client.execute_command("SET", "a-string", "x")
    async with an_app(server, well, no_group, no_stream, no_such_type) as app:
        found = (await status(app)).found["targets"]

    assert [(one["target"], one["health"], one["group_missing"]) for one in found] == [
        ("s/g", "warn", False),
        ("s/late", "fail", True),
        ("none/g", "fail", True),
        ("a-string/g", "fail", False),
    ]
    assert [one["error"] is None for one in found] == [True, True, True, False]
    assert "WRONGTYPE" in found[3]["error"] or "wrong kind of value" in found[3]["error"]
    assert found[2]["sentence"] == "The stream none or its group g is not there, so nothing can be taken over."


async def test_records_of_the_wrong_type_leave_the_rest_readable(server: Endpoint, client: Client) -> None:
    """Somebody has put strings where our records are, and other things among the reports."""
    target = a_target()
    given(client, target, *held(range(3)))
    for key in (target.keys.dead, target.keys.lost, target.keys.circuit):
        client.execute_command("SET", key, "x")
    for report in (b"\xff{", b"[1]", b"null", b'{"outcome": "completed", "seconds": "long"}'):
        client.execute_command("XADD", target.keys.runs, "*", "report", report)

    (found,) = (await status_of(settings_for(server)))["targets"]

    assert found["pending"]["total"] == 3
    assert (found["circuit"], found["dead_letters"], found["lost"]) == (None, None, None)
    assert [run["outcome"] for run in found["runs"]] == ["completed"]
    assert found["error"]
    assert found["health"] == "fail"


async def test_a_full_ledger_says_that_earlier_entries_are_no_longer_on_it(embedded: Endpoint, client: Client) -> None:
    target = a_target()
    with client.pipeline(transaction=False) as pipeline:
        for number in range(1, LOST_MAXLEN + 1):
            about = ("id", b"%d-0" % number, "consumer", "worker", "idle_ms", 1, "deliveries", 1, "at", 0)
            pipeline.execute_command("XADD", target.keys.lost, "*", *about)
        pipeline.execute()

    async with an_app(embedded, target) as app:
        (found,) = (await status(app)).found["targets"]
        listed = await list_lost(app)
        client.execute_command(
            "XDEL", target.keys.lost, client.execute_command("XRANGE", target.keys.lost, "-", "+")[0][0]
        )
        (then,) = (await status(app)).found["targets"]

    assert (found["lost"]["count"], found["lost"]["full"], listed.full) == (LOST_MAXLEN, True, True)
    assert "(the record is full: earlier ones are no longer on it)" in dict(views._facts(found))["lost"]
    assert (then["lost"]["count"], then["lost"]["full"]) == (LOST_MAXLEN - 1, False)


async def test_bytes_that_are_no_text_are_shown_by_their_numbers(server: Endpoint, client: Client) -> None:
    """A consumer may be called anything."""
    target = a_target()
    given(client, target, Held(tweet(1), consumer=None))
    name = b"\x00\x1b[31m\xff\xe2\x82"
    client.execute_command("XREADGROUP", "GROUP", target.group, name, "STREAMS", target.stream, ">")

    (found,) = (await status_of(settings_for(server)))["targets"]

    assert [one["consumer"] for one in found["pending"]["by_consumer"]] == [r"\x00\x1b[31m\xff\xe2\x82"]
    assert found["pending"]["oldest"]["consumer"] == r"\x00\x1b[31m\xff\xe2\x82"
    json.dumps(found)


async def test_a_server_that_is_away(embedded_proxy: Proxy) -> None:
    """It is said at the top and for every target; nothing is raised."""
    embedded_proxy.refuse()

    found = await status_of(settings_for(embedded_proxy, a_target(), a_target(group="h")))

    assert found["error"].startswith(f"no connection to 127.0.0.1:{embedded_proxy.port}")
    assert (found["health"], found["server"]["version"]) == ("fail", None)
    assert [(one["health"], one["about"]) for one in found["doctor"]["findings"]] == [
        ("ok", "settings"),
        ("fail", "connection"),
    ]
    assert [one["error"] for one in found["targets"]] == [found["error"]] * 2
    assert [one["sentence"].startswith("No connection to 127.0.0.1") for one in found["targets"]] == [True, True]
    assert found["targets"][0]["pending"] is None


async def test_a_connection_that_has_died_is_replaced(client: Client, embedded_proxy: Proxy) -> None:
    """A server that was restarted is not reported as away because old connections are gone."""
    given(client, a_target())
    async with an_app(embedded_proxy) as app:
        await status(app)
        embedded_proxy.cut()

        found = (await status(app)).found

    assert found["error"] is None
    assert found["targets"][0]["error"] is None


async def test_one_answer_lost_is_asked_for_again(client: Client, embedded_proxy: Proxy) -> None:
    """Nothing is changed by asking twice."""
    given(client, a_target())
    embedded_proxy.when("XINFO", Fault.CUT_AFTER)
    async with an_app(embedded_proxy) as app:
        found = (await status(app)).found

    assert found["targets"][0]["error"] is None


async def test_what_the_user_may_not_ask_is_left_out(client: Client, embedded_proxy: Proxy) -> None:
    """Without INFO and XINFO: no version, no idle times of consumers; all else is there."""
    given(client, a_target(), *held(range(2)))
    for name in ("INFO", "XINFO"):
        embedded_proxy.when(
            name, ErrorReply(f"NOPERM this user has no permissions to run the '{name}' command"), times=None
        )
    async with an_app(embedded_proxy) as app:
        found = (await status(app)).found

    assert (found["server"]["kind"], found["server"]["version"], found["error"]) == (None, None, None)
    assert found["targets"][0]["pending"]["by_consumer"] == [{"consumer": "worker", "pending": 2, "idle_ms": None}]


async def test_a_server_that_hangs_is_given_up_in_time(client: Client, embedded_proxy: Proxy) -> None:
    """The sentence says that it has not answered."""
    given(client, a_target())
    async with an_app(embedded_proxy) as app:
        app.server._link._timeout_sec = 0.2
        embedded_proxy.when("XPENDING", Fault.HANG, times=None)
        found = (await status(app)).found

    assert found["error"] is None
    assert "did not answer within" in found["targets"][0]["error"]


def wait_for_copy(replica: Server) -> None:
    with raw_client(replica.port) as client:
        while b"master_link_status:up" not in client.execute_command("INFO", "replication"):
            time.sleep(0.01)


async def test_on_a_replica_that_takes_no_writes(client: Client, embedded: Endpoint) -> None:
    """Asking writes nothing, so a replica can be asked."""
    given(client, a_target(), *held(range(2)))
    with Server("valkey-9", replicaof=f"127.0.0.1 {embedded.server_port}") as replica:
        wait_for_copy(replica)
        async with an_app(replica) as app:
            found = (await status(app)).found

    assert found["targets"][0]["pending"]["total"] == 2
