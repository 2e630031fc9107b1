"""The fan-out: which targets are passed on, and what a message does."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dev.proxy import Proxy
from dev.server import free_port
from reclaim.app import App
from reclaim.errors import RunFailed
from reclaim.fan_out import MOST_MESSAGES, Message
from reclaim.run.fan_out import FanOut, Shared
from reclaim.run.report import Outcome
from reclaim.settings import Target
from reclaim.state.connection import connect
from reclaim.state.waiting_mark import TTL_MS
from tests.support import (
    Client,
    Endpoint,
    HasPort,
    Held,
    State,
    a_target,
    given,
    held,
    pending_count,
    settings_for,
    state,
    stored,
    tweet,
)

OF_NO_USE = ("nonsense", '{"version": 9}', Message("gone/g", 0, "1").text, Message("x" * 9000, 0, "").text)


@asynccontextmanager
async def an_app(place: HasPort, *targets: Target, **changes: Any) -> AsyncIterator[App]:
    """The app for these targets."""
    app = App(settings_for(place, *targets, fan_out="queue", **changes))
    try:
        yield app
    finally:
        await app.aclose()


def named(texts: list[str]) -> list[str]:
    """The targets that the messages name."""
    return [Message.of(text).target for text in texts]


async def test_who_has_work_is_passed_on_the_oldest_first_and_who_is_at_work_is_left_alone(
    embedded: Endpoint, client: Client
) -> None:
    """All that a look can see, in one comparison."""
    names = ["old", "older", "idle", "missing", "leased", "waiting", "opened", "cooled", "asked", "foreign"]
    targets = {name: a_target(stream=name, missing_ok=name == "missing") for name in names}
    for name in names:
        if name not in {"idle", "missing"}:
            given(client, targets[name], Held(tweet(1), idle_ms=9_000_000 if name == "older" else 3_600_000))
    given(client, targets["idle"], Held(tweet(1), consumer=None))
    client.execute_command("SET", targets["leased"].keys.lease, "run 1")
    client.execute_command("SET", targets["waiting"].keys.waiting, "a message")
    client.execute_command("HSET", targets["opened"].keys.circuit, "state", "open", "by", "person", "until_ms", 0)
    client.execute_command("HSET", targets["cooled"].keys.circuit, "state", "open", "by", "failures", "until_ms", 1)
    seconds, _ = client.execute_command("TIME")
    client.execute_command("HSET", targets["asked"].keys.circuit, "wait_until_ms", 1000 * (int(seconds) + 600))
    client.execute_command("DEL", "foreign")
    client.execute_command("SET", "foreign", "no stream")
    link = connect(settings_for(embedded, *targets.values()))

    shared = await FanOut(link, list(targets.values())).share()
    await link.aclose()

    assert shared.work[0] == ("older/g", 0)
    assert {name for name, _ in shared.work} == {"older/g", "old/g", "cooled/g"}
    assert {name for name, _ in shared.own} == {"idle/g", "missing/g", "opened/g", "asked/g", "foreign/g"}


async def test_looking_at_250_targets_costs_three_round_trips(client: Client, embedded_proxy: Proxy) -> None:
    """A hundred to each."""
    targets = [a_target(stream=f"s{number}") for number in range(250)]
    given(client, targets[7], Held(tweet(1)))
    link = connect(settings_for(embedded_proxy, *targets))
    await link.call("PING")
    embedded_proxy.forget()
    embedded_proxy.reply_delay_sec = 0.01

    shared = await FanOut(link, targets).share()
    await link.aclose()

    assert (shared.work, len(shared.own)) == ((("s7/g", 0),), 249)
    assert embedded_proxy.round_trips == 3


async def test_a_target_is_enqueued_once_while_its_message_waits(embedded: Endpoint, client: Client) -> None:
    """By whichever instance; and the mark runs out by itself."""
    target = a_target()
    given(client, target, *held(range(3)))
    async with an_app(embedded, target) as one, an_app(embedded, target) as other:
        messages = [await app.fan_out() for app in (one, other, one)]
        fan = FanOut(one.server, [target])

        again = await fan.enqueue([("s/g", 0)])

    assert [named(some) for some in messages] == [["s/g"], [], []]
    assert again == []
    assert 0 < client.execute_command("PTTL", target.keys.waiting) <= TTL_MS
    assert pending_count(client, target) == 3


async def test_at_most_500_are_enqueued_and_the_others_at_the_next_tick(embedded: Endpoint, client: Client) -> None:
    """None is marked that has no message."""
    targets = [a_target(stream=f"s{number}") for number in range(MOST_MESSAGES + 3)]
    with client.pipeline(transaction=False) as pipeline:
        for target in targets:
            pipeline.execute_command("XGROUP", "CREATE", target.stream, "g", "0", "MKSTREAM")
            pipeline.execute_command("XADD", target.stream, "1-0", *tweet(1))
            pipeline.execute_command("XREADGROUP", "GROUP", "g", "worker", "STREAMS", target.stream, ">")
        pipeline.execute()
    async with an_app(embedded, *targets) as app:
        first, second = await app.fan_out(), await app.fan_out()

    assert (len(first), len(second)) == (MOST_MESSAGES, 3)
    assert sorted(named(first) + named(second)) == sorted(target.name for target in targets)


async def test_a_message_is_taken_up_and_its_mark_goes(embedded: Endpoint, client: Client) -> None:
    """The run is that of any other door."""
    target, entries = a_target(), held(range(5))
    given(client, target, *entries)
    async with an_app(embedded, target) as app:
        (message,) = await app.fan_out()

        (report,) = await app.take_up(message)

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 5)
    assert state(client, target) == State(hashes=stored(*entries), length=5)


async def test_an_old_message_leaves_the_mark_of_the_one_that_waits(embedded: Endpoint, client: Client) -> None:
    """It ran out, and another one was enqueued meanwhile."""
    target = a_target()
    given(client, target, *held(range(2)))
    client.execute_command("SET", target.keys.waiting, "newer")
    async with an_app(embedded, target) as app:
        (report,) = await app.take_up(Message("s/g", 0, "older").text)

    assert report.acknowledged == 2
    assert client.execute_command("GET", target.keys.waiting) == b"newer"


async def test_a_message_for_a_target_that_is_at_work_does_nothing(embedded: Endpoint, client: Client) -> None:
    """The lease decides."""
    target = a_target()
    given(client, target, *held(range(2)))
    client.execute_command("SET", target.keys.lease, "run 1")
    async with an_app(embedded, target) as app:
        (report,) = await app.take_up(Message("s/g", 0, "").text)

    assert report.outcome is Outcome.LEASE_HELD
    assert pending_count(client, target) == 2


@pytest.mark.parametrize("text", OF_NO_USE)
async def test_a_message_that_nobody_can_take_up_is_told_and_dropped(
    embedded: Endpoint, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """It would be no better the next time, so it must not come back as a poison message."""
    async with an_app(embedded, a_target()) as app:
        assert await app.take_up(text) == []

    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "a message of the queue reclaim-targets is dropped" in record.getMessage()
    assert len(record.getMessage()) < 1000


async def test_a_failed_run_does_not_raise_where_a_message_asked_for_it(embedded: Endpoint) -> None:
    """Its report and its alert say it."""
    target = a_target(stream="nowhere")
    async with an_app(embedded, target) as app:
        (report,) = await app.take_up(Message("nowhere/g", 0, "").text)

    assert report.outcome is Outcome.GROUP_MISSING


async def test_a_failed_run_of_the_timer_raises_only_where_nothing_is_enqueued(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """An invocation that fails enqueues nothing: one bad target would keep all others from their work (G4)."""
    good, bad = a_target(), a_target(stream="nowhere")
    given(client, good, *held(range(2)))
    async with an_app(embedded, good, bad) as app:
        enqueued = await app.fan_out()
        caplog.clear()
        with pytest.raises(RunFailed, match="nowhere/g"):
            await app.fan_out()

    assert named(enqueued) == ["s/g"]
    reports = [json.loads(one.getMessage().removeprefix("reclaim run ")) for one in caplog.records if one.args]
    assert [report["outcome"] for report in reports] == ["group_missing"]


async def test_where_redis_is_away_the_timers_own_runs_report_it(embedded: Endpoint) -> None:
    """As without the queue."""
    closed_port = free_port()
    targets = [a_target(stream=name, retry_attempts=1) for name in ("a", "b")]
    place = Endpoint(embedded.kind, closed_port, closed_port)
    link = connect(settings_for(place, *targets))

    shared = await FanOut(link, targets).share()
    await link.aclose()

    assert shared == Shared((), frozenset({("a/g", 0), ("b/g", 0)}))


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("seed", range(5))
async def test_messages_doubled_stale_and_out_of_order_do_no_harm(
    embedded: Endpoint, client: Client, seed: int, shards: int
) -> None:
    """Three instances, six targets: every entry is handled, and acknowledged once; the lease and the circuit decide."""
    rng = random.Random(seed)
    targets = [a_target(stream=f"s{number}", page_size=3, shards=shards) for number in range(6)]
    parts = [part for target in targets for part in target.parts]
    entries = {
        target.name: [Held(tweet(100 * at + number)) for number in range(20)] for at, target in enumerate(targets)
    }
    for target in targets:
        given(client, target, *entries[target.name])
    async with an_app(embedded, *targets) as a, an_app(embedded, *targets) as b, an_app(embedded, *targets) as c:
        apps = [a, b, c]
        messages = [text for app in apps for text in await app.fan_out()]
        messages += [Message(part.name, part.shard.index, "stale").text for part in parts] + rng.choices(messages, k=12)
        rng.shuffle(messages)
        reports = await asyncio.gather(*(rng.choice(apps).take_up(text) for text in messages))
        for part in parts:  # whose every message met the lease of another run
            await a.take_up(Message(part.name, part.shard.index, "last").text)

    outcomes = {report.outcome for (report,) in reports}
    assert outcomes <= {Outcome.COMPLETED, Outcome.LEASE_HELD, Outcome.NOTHING_PENDING}
    assert [pending_count(client, target) for target in targets] == [0] * 6
    assert sum(report.acknowledged for (report,) in reports) <= 120
    hash_keys = client.execute_command("KEYS", "tweet:*")
    assert len(hash_keys) == 120
    assert client.execute_command("EXISTS", *(part.keys.waiting for part in parts)) == 0
