"""Targets that patterns find: how they are found, looked at and run."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import pytest

from dev.cluster import Cluster
from dev.proxy import Fault, Proxy
from reclaim.app import App
from reclaim.errors import RunFailed, SettingsError
from reclaim.ops.doctor import doctor
from reclaim.ops.health import Health
from reclaim.ops.targets import named_units
from reclaim.run.discovery import MOST_AT_ONCE
from reclaim.run.report import Outcome, RunReport
from reclaim.settings import Settings, Target
from reclaim.state import streams
from tests.cluster_support import given_on
from tests.integration.observe.collector import a_collector, values
from tests.support import (
    Client,
    Endpoint,
    HasPort,
    Held,
    a_target,
    env_for,
    given,
    held,
    lived_in,
    pending_count,
    tweet,
)

NOW = "0"  # DISCOVER_SEC's least is a second: tests say that the last pass was long ago


def settings_of(place: HasPort, *listed: dict[str, Any], **more: str) -> Settings:
    """Settings with these objects in RECLAIM_TARGETS."""
    return Settings.from_env(env_for(place, RECLAIM_TARGETS=json.dumps(listed), **more))


@asynccontextmanager
async def an_app(place: HasPort, *listed: dict[str, Any], **more: str) -> AsyncIterator[App]:
    """The app with these objects in RECLAIM_TARGETS."""
    app = App(settings_of(place, *listed, **more))
    try:
        yield app
    finally:
        await app.aclose()


def pattern(stream: str, group: str = "*", **more: Any) -> dict[str, Any]:
    """One object of RECLAIM_TARGETS."""
    return {"stream": stream, "group": group, "min_idle_time_sec": 10, **more}


def a_pass_is_due(client: Client) -> None:
    """Let the last pass have ended long ago."""
    client.execute_command("HSET", streams.KEY, "ended_ms", 0)


def outcomes(reports: list[RunReport]) -> dict[str, Outcome]:
    """How each target's run ended."""
    return {report.target: report.outcome for report in reports}


async def test_what_a_pattern_finds_is_reclaimed(server: Endpoint, client: Client) -> None:
    """In the first tick; what is idle has no run."""
    busy, also, idle, other = (a_target(stream=name) for name in ("orders:a", "orders:b", "orders:c", "payments"))
    for target in (busy, also, other):
        given(client, target, *held(range(3)))
    given(client, idle, Held(tweet(1), consumer=None))
    async with an_app(server, pattern("orders:*")) as app:
        reports = await app.run()

    assert outcomes(reports) == {"orders:a/g": Outcome.COMPLETED, "orders:b/g": Outcome.COMPLETED}
    assert [pending_count(client, target) for target in (busy, also, idle, other)] == [0, 0, 0, 3]


async def test_new_ones_appear_and_what_vanishes_is_told_once(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """After the next pass; another instance knows at once."""
    caplog.set_level(logging.INFO, "reclaim")
    given(client, a_target(stream="a:1"), Held(tweet(1), consumer=None))
    async with an_app(embedded, pattern("a:*")) as app, an_app(embedded, pattern("a:*")) as other:
        await app.run()
        given(client, a_target(stream="a:2"), *held(range(2)))
        before = await app.run()
        a_pass_is_due(client)
        after = await app.run()
        given(client, a_target(stream="a:2"), Held(tweet(9)))
        elsewhere = await other.run()
        client.execute_command("DEL", "a:1")
        client.execute_command("DEL", "a:2")
        caplog.clear()
        for _ in range(3):
            await app.run()

    assert [outcomes(some) for some in (before, after, elsewhere)] == [
        {},
        {"a:2/g": Outcome.COMPLETED},
        {"a:2/g": Outcome.COMPLETED},
    ]
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line for line in told if "no more" in line] == [
        "reclaim: 2 targets are there no more that patterns had found: a:1/g, a:2/g"
    ]
    assert [name for name in client.execute_command("HKEYS", streams.KEY) if name.startswith(b"p:")] == []


async def test_entries_that_vanish_with_their_stream_are_counted_and_that_fails_once(
    embedded: Endpoint, client: Client
) -> None:
    """They were pending at the last run (G2)."""
    target = a_target(stream="a:1")
    given(client, target, *held(range(3), idle_ms=0))
    async with an_app(embedded, pattern("a:*")) as app:
        await app.run()
        client.execute_command("DEL", "a:1")
        with pytest.raises(RunFailed, match=r"a:1/g: group missing.*at most 3"):
            await app.run()
        assert await app.run() == []


async def test_the_most_specific_pattern_gives_the_settings(embedded: Endpoint, client: Client) -> None:
    """A name is more specific than any pattern; what no pattern of streams and groups matches has no target."""
    names = ("orders:eu:1", "orders:us:1", "orders:named")
    for name in names:
        lived_in(client, a_target(stream=name, hash_key="x:{id}"))
        given(client, a_target(stream=name), *held(range(1)))
    listed = (
        pattern("orders:*", hash_key="all:{@stream}:{id}"),
        pattern("orders:eu:*", "g", hash_key="eu:{@stream}:{id}"),
        pattern("orders:*", "other", hash_key="other:{@stream}:{id}"),
        {"stream": "orders:named", "group": "g", "hash_key": "named:{id}"},
    )
    async with an_app(embedded, *listed) as app:
        reports = await app.run()

    assert len(reports) == 3
    assert sorted(client.execute_command("KEYS", "*:0")) == [b"all:orders:us:1:0", b"eu:orders:eu:1:0", b"named:0"]


async def test_our_own_streams_and_those_forwarded_to_are_left_out(embedded: Endpoint, client: Client) -> None:
    """Dead letters, lost entries and runs are streams too; forwarding in a ring would never end."""
    source = a_target(stream="s")
    given(client, source, *held(range(2)), Held([b"no", b"id"]))
    lived_in(client, source)
    given(client, a_target(stream="to"), *held(range(1)))
    async with an_app(embedded, pattern("s"), pattern("*", handler="forward", forward_stream="to")) as app:
        await app.run()
        for key in (source.keys.dead, source.keys.runs):
            client.execute_command("XGROUP", "CREATE", key, "g", "0", "MKSTREAM")
            client.execute_command("XREADGROUP", "GROUP", "g", "c", "STREAMS", key, ">")
        a_pass_is_due(client)
        reports = await app.run()

    assert outcomes(reports) == {}
    assert [key for key in client.execute_command("HKEYS", streams.KEY) if key.startswith(b"p:")] == [b"p:1:sg"]


async def test_a_pattern_that_matches_nothing_is_a_warning(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, at the end of a pass; and again if it had matched something meanwhile."""
    given(client, a_target(stream="a"), Held(tweet(1), consumer=None))
    async with an_app(embedded, pattern("a*"), pattern("nothing:*")) as app:
        for _ in range(2):
            a_pass_is_due(client)
            await app.run()

    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert told == ["reclaim: the pattern 'nothing:*/*' in RECLAIM_TARGETS matches nothing"]


async def test_a_pass_goes_on_where_the_last_tick_stopped(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whichever instance; what it has found so far is served already, and nothing vanishes before its end."""
    monkeypatch.setattr(streams, "KEYS_AT_ONCE", 1_000)
    with client.pipeline(transaction=False) as pipeline:
        for number in range(4_500):
            pipeline.execute_command("SET", f"key:{number}", 1)
        for number in range(60):
            pipeline.execute_command("XGROUP", "CREATE", f"s:{number}", "g", "0", "MKSTREAM")
        pipeline.execute()
    counts: list[int] = []
    for _ in range(10):
        async with an_app(embedded, pattern("s:*")) as app:
            await app.run()
        counts.append(sum(name.startswith(b"p:") for name in client.execute_command("HKEYS", streams.KEY)))
        if not client.execute_command("HEXISTS", streams.KEY, "cursors"):
            break

    assert counts == sorted(counts)
    assert (counts[0] < 60, counts[-1]) == (True, 60)
    assert 3 <= len(counts) <= 6


async def test_names_that_are_not_text_are_found(embedded: Endpoint, client: Client) -> None:
    """As Spring with Java serialisation writes them."""
    stream = b"\xac\xed\x00\x05t\x00\x06orders"
    client.execute_command("XGROUP", "CREATE", stream, b"\xff", "0", "MKSTREAM")
    client.execute_command("XADD", stream, "1-0", *tweet(1))
    client.execute_command("XREADGROUP", "GROUP", b"\xff", "c", "STREAMS", stream, ">")
    client.execute_command("XCLAIM", stream, b"\xff", "c", 0, "1-0", "IDLE", 3_600_000, "JUSTID")
    async with an_app(embedded, pattern(r"\xac\xed*")) as app:
        (report,) = await app.run()

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 1)


async def test_a_stream_whose_keys_would_be_anothers_is_left_alone(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """``a`` and ``{a}`` would share their dead letters; ``}{`` could have none in its slot."""
    for name in ("{a}", "a", "}{"):
        given(client, a_target(stream="s") if name == "}{" else a_target(stream=name), Held(tweet(1)))
    client.execute_command("RENAME", "s", "}{")
    async with an_app(embedded, {"stream": "a", "group": "g"}, pattern("*")) as app:
        reports = await app.run()

    assert outcomes(reports) == {"a/g": Outcome.COMPLETED}
    assert "reclaim {a}/g: another target has the same keys, so it is left alone" in caplog.text


async def test_a_found_target_can_be_named(embedded: Endpoint, client: Client) -> None:
    """To run it, to see its dead letters, and in a message of the queue; a slash may be in either name."""
    target = a_target(stream="a/b", group="g/h")
    given(client, target, *held(range(2)))
    async with an_app(embedded, pattern("a/*")) as app:
        (unit,) = named_units(app, "a/b/g/h")
        (report,) = await app.reports(only="a/b/g/h")

    assert (unit.target.stream, unit.target.group, report.acknowledged) == ("a/b", "g/h", 2)
    assert app.unit_of("elsewhere/g") is None


async def test_an_open_circuit_of_a_found_target_is_closed_though_nothing_is_pending(
    embedded: Endpoint, client: Client
) -> None:
    """By a run, when its cool-down is over."""
    target = a_target(stream="a:1")
    given(client, target, Held(tweet(1), consumer=None))
    client.execute_command("HSET", target.keys.circuit, "state", "open", "by", "failures", "until_ms", 1)
    async with an_app(embedded, pattern("a:*")) as app:
        (report,) = await app.run()

    assert report.outcome is Outcome.NOTHING_PENDING
    assert client.execute_command("HGET", target.keys.circuit, "state") == b"closed"


async def test_telemetry_has_one_set_of_metrics_for_all_that_was_found(embedded: Endpoint, client: Client) -> None:
    """With the runs of a tick; a tick without runs says it in ten minutes at the latest."""
    import_module("reclaim.observe.app_insights")  # on a busy machine that may take longer than a run waits
    for number in range(4):
        given(client, a_target(stream=f"a:{number}"), Held(tweet(number), consumer=None if number else "worker"))
    with a_collector() as collector:
        more = {"APPLICATIONINSIGHTS_CONNECTION_STRING": collector.connection_string}
        async with an_app(embedded, pattern("a:*"), **more) as app:
            await app.run()
            sent = values(collector.envelopes)
            collector.batches.clear()
            await app.run()

    found = {name: value for name, value in sent.items() if name.startswith("reclaim.found_")}
    assert found.pop("reclaim.found_oldest_idle_ms") >= 3_600_000
    assert found == {"reclaim.found_idle": 3, "reclaim.found_with_work": 1, "reclaim.found_run": 1}
    assert collector.envelopes == []


async def test_at_most_500_are_run_in_a_tick_the_oldest_first(embedded: Endpoint, client: Client) -> None:
    """The others come with the next one."""
    with client.pipeline(transaction=False) as pipeline:
        for number in range(MOST_AT_ONCE + 2):
            name, idle_ms = f"s:{number}", 3_600_000 - (1000 if number < 2 else 0)
            pipeline.execute_command("XGROUP", "CREATE", name, "g", "0", "MKSTREAM")
            pipeline.execute_command("XADD", name, "1-0", *tweet(number))
            pipeline.execute_command("XREADGROUP", "GROUP", "g", "c", "STREAMS", name, ">")
            pipeline.execute_command("XCLAIM", name, "g", "c", 0, "1-0", "IDLE", idle_ms, "JUSTID")
        pipeline.execute()
    async with an_app(embedded, pattern("s:*")) as app:
        first, second = await app.run(), await app.run()

    assert (len(first), sorted(report.target for report in second)) == (MOST_AT_ONCE, ["s:0/g", "s:1/g"])


async def test_where_redis_is_away_nothing_is_forgotten(
    client: Client, embedded_proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so; the next tick looks again."""
    given(client, a_target(stream="a:1"), *held(range(2)))
    async with an_app(embedded_proxy, pattern("a:*")) as app:
        embedded_proxy.when("HMGET", Fault.CUT_BEFORE, times=None)
        away = await app.run()
        embedded_proxy.clear()
        again = await app.run()

    assert away == []
    assert "the targets that patterns find could not be looked at" in caplog.text
    assert outcomes(again) == {"a:1/g": Outcome.COMPLETED}


async def test_what_a_newer_release_has_found_is_left_as_it_is(embedded: Endpoint, client: Client) -> None:
    """And said."""
    client.execute_command("HSET", streams.KEY, "format", 2, "version", "x")
    given(client, a_target(stream="a:1"), *held(range(2)))
    async with an_app(embedded, pattern("a:*")) as app:
        assert await app.run() == []

    assert client.execute_command("HGETALL", streams.KEY) == [b"format", b"2", b"version", b"x"]


async def test_what_somebody_else_has_put_there_stops_no_target(embedded: Endpoint, client: Client) -> None:
    """Nor does it stop those that the settings name: they are run in the same tick."""
    given(client, a_target(), Held(tweet(1)))
    given(client, a_target(stream="found"), Held(tweet(2)))
    for name in ("p:5:foundg", "p:1:xg", "pass", "p:nonsense"):
        client.execute_command("HSET", streams.KEY, name, "nonsense")

    async with an_app(embedded, pattern("f*"), {"stream": "s", "group": "g"}, DISCOVER_SEC="1") as app:
        reports = await app.reports()

    assert {report.target: report.acknowledged for report in reports} == {"s/g": 1, "found/g": 1}


async def test_a_cluster_is_searched_on_every_node(cluster: Cluster) -> None:
    """Streams in different slots are on different nodes."""
    targets: list[Target] = [a_target(stream=f"s:{number}") for number in range(12)]
    for target in targets:
        given_on(cluster, target, *held(range(2)))
    listed = json.dumps([pattern("s:*")])
    env = env_for(cluster, RECLAIM_TARGETS=listed, REDIS_CLUSTER="true")
    app = App(Settings.from_env(env))
    try:
        reports = await app.run()
    finally:
        await app.aclose()

    assert outcomes(reports) == dict.fromkeys((target.name for target in targets), Outcome.COMPLETED)


def test_a_pattern_is_checked_when_the_settings_are_read(embedded: Endpoint) -> None:
    """Like any target; each pattern once; a star that is escaped is a plain one."""
    with pytest.raises(SettingsError) as caught:
        settings_of(embedded, pattern("a*", lanes=0), pattern("b*"), pattern("b*"), pattern(r"c\xz*"))
    plain = settings_of(embedded, pattern(r"a\*", r"g\*"))

    assert [problem.partition(";")[0] for problem in caught.value.problems] == [
        "RECLAIM_TARGETS[0].lanes is '0'",
        r"RECLAIM_TARGETS[3].stream is 'c\\xz*'",
        "RECLAIM_TARGETS is 'b*/*'",
    ]
    assert (plain.patterns, [(one.stream, one.group) for one in plain.targets]) == ((), [("a*", "g*")])


async def test_the_doctor_says_what_each_pattern_has_found(embedded: Endpoint, client: Client) -> None:
    """Without searching itself: it changes nothing."""
    given(client, a_target(stream="a:1"), Held(tweet(1), consumer=None))
    listed = json.dumps([pattern("a:*"), pattern("b:*")])
    env = env_for(embedded, RECLAIM_TARGETS=listed)

    before = [str(one.what) for one in await doctor(env) if one.about == "patterns"]
    assert client.execute_command("EXISTS", streams.KEY) == 0
    async with an_app(embedded, pattern("a:*"), pattern("b:*")) as app:
        await app.run()
    after = [(one.health, one.what) for one in await doctor(env) if one.about == "patterns"]

    assert before == ["not searched for yet: the first run does that, or goes on with it"]
    assert after == [(Health.OK, "a:*/* has found 1"), (Health.WARN, "b:*/* matches nothing")]
