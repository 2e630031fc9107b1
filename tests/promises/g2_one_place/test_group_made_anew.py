"""Pending entries that vanish with their stream or group are noticed, and counted as lost (G2)."""

import logging
from collections.abc import Callable

import pytest

from dev.proxy import ErrorReply, Proxy
from reclaim.app import App
from reclaim.entry import Entry
from reclaim.handlers.function import FunctionHandler
from reclaim.handlers.loading import examined
from reclaim.keys import Template
from reclaim.ops.status import status
from reclaim.run.report import Outcome, RunReport
from reclaim.settings import Target
from tests.faults import before_claim, lost_line
from tests.support import (
    Client,
    Endpoint,
    HasPort,
    Held,
    a_runner,
    a_target,
    age_all,
    given,
    held,
    pending_count,
    run,
    settings_for,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G2

Act = Callable[[Client, Target], object]


def at_most(count: int, first: int = 1) -> dict[bytes, bytes]:
    """A line of the ledger for entries that cannot be named."""
    return {b"id": b"%d-0" % first, b"consumer": b"", b"deliveries": b"0", b"at_most": b"%d" % count}


def delete_stream(client: Client, target: Target) -> None:
    client.execute_command("DEL", target.stream)


def destroy_group(client: Client, target: Target) -> None:
    client.execute_command("XGROUP", "DESTROY", target.stream, target.group)


def rename_stream(client: Client, target: Target) -> None:
    client.execute_command("RENAME", target.stream, "elsewhere")


def expire_stream(client: Client, target: Target) -> None:
    client.execute_command("PEXPIRE", target.stream, 0)


def make_both_anew(client: Client, target: Target) -> None:
    """The IDs begin again, and fewer entries are pending."""
    delete_stream(client, target)
    given(client, target, Held(tweet(9), consumer="worker", idle_ms=0))


def make_group_anew(client: Client, target: Target) -> None:
    """As after its creation with ``$``: it reads on from where the stream is."""
    destroy_group(client, target)
    client.execute_command("XGROUP", "CREATE", target.stream, target.group, "$")


async def a_first_run(place: HasPort, client: Client, target: Target) -> None:
    """A run that sees four entries, of which it finishes one; three are too fresh and stay pending."""
    given(client, target, Held(tweet(1)), *held(range(2, 5), idle_ms=0))
    report = await run(place, target)
    assert (report.acknowledged, pending_count(client, target)) == (1, 3)


@pytest.mark.parametrize("vanish", [delete_stream, destroy_group, rename_stream, expire_stream])
async def test_what_was_pending_in_a_group_that_is_gone_is_lost(server: Endpoint, client: Client, vanish: Act) -> None:
    """At most so many as the last run saw; they are counted once, run after run."""
    target = a_target()
    await a_first_run(server, client, target)
    vanish(client, target)

    first, second = await run(server, target), await run(server, target)

    assert (first.outcome, first.lost, first.lost_at_most) == (Outcome.GROUP_MISSING, 0, 3)
    assert "lost with it: at most 3 that were pending" in first.reason
    assert (second.outcome, second.lost, second.lost_at_most) == (Outcome.GROUP_MISSING, 0, 0)
    assert ledger(client, target) == [at_most(3, first=2)]


@pytest.mark.parametrize("renew", [make_both_anew, make_group_anew])
async def test_what_was_pending_in_a_group_that_was_made_anew_is_lost(
    server: Endpoint, client: Client, renew: Act
) -> None:
    """The run goes on with the new group; the next run finds nothing amiss."""
    target = a_target()
    await a_first_run(server, client, target)
    renew(client, target)

    first, second = await run(server, target), await run(server, target)

    assert first.outcome in {Outcome.COMPLETED, Outcome.NOTHING_PENDING}
    assert ((first.lost, first.lost_at_most), (second.lost, second.lost_at_most)) == ((0, 3), (0, 0))
    assert ledger(client, target) == [at_most(3, first=2)]


@pytest.mark.parametrize(("vanish", "by_id"), [(delete_stream, [1, 2]), (make_both_anew, [1])])
async def test_what_we_have_tried_is_lost_by_id(
    server: Endpoint, client: Client, vanish: Act, by_id: list[int]
) -> None:
    """Its records go, so that they are not held against entries that have the same IDs again.

    An entry is not named where the group that was made anew has not come to its ID: it may be delivered once more.
    """
    target = a_target(retry_attempts=1)

    async def fail(_: Entry) -> None:
        raise ValueError("no")

    failing = FunctionHandler(examined(fail), Template("{id}"))
    given(client, target, *held(range(1, 3)), *held(range(3, 6), idle_ms=0))
    await run(server, target, failing)
    vanish(client, target)

    report = await run(server, target, failing)

    assert (report.lost, report.lost_at_most) == (len(by_id), 5 - len(by_id))
    assert ledger(client, target) == [
        *(lost_line(one, "monitoring_app", 2) for one in by_id),
        at_most(5 - len(by_id)),
    ]
    assert client.execute_command("EXISTS", target.keys.tries) == 0


@pytest.mark.parametrize(
    ("command", "words"), [("XPENDING", []), ("XINFO", [b"GROUPS"]), ("EXEC", [])], ids=["count", "look", "record"]
)
async def test_a_run_that_cannot_compare_leaves_it_to_the_next(
    client: Client, proxy: Proxy, command: str, words: list[bytes]
) -> None:
    """What the last run saw is not written over as long as nobody has compared it, and recorded what is lost."""
    target = a_target(retry_attempts=1)
    await a_first_run(proxy, client, target)
    make_both_anew(client, target)
    proxy.when(command, ErrorReply("ERR odd"), args=lambda args: args[: len(words)] == words)

    first, second = await run(proxy, target), await run(proxy, target)

    assert (first.lost_at_most, second.lost_at_most) == (0, 3)
    assert ledger(client, target) == [at_most(3, first=2)]


async def test_a_group_that_we_never_claimed_in_and_that_was_made_anew_is_noticed_by_its_ids(
    server: Endpoint, client: Client
) -> None:
    """Nothing was idle, so our consumer is in neither group; the last-delivered ID went back."""
    target = a_target()
    given(client, target, *held(range(1, 4), idle_ms=0))
    await run(server, target)
    make_both_anew(client, target)

    report = await run(server, target)

    assert report.lost_at_most == 3


def xgroup_setid(client: Client, target: Target) -> None:
    client.execute_command("XGROUP", "SETID", target.stream, target.group, "0")


def remove_a_consumer(client: Client, target: Target) -> None:
    client.execute_command("XGROUP", "DELCONSUMER", target.stream, target.group, "monitoring_app")


def acknowledge_all(client: Client, target: Target) -> None:
    client.execute_command("XACK", target.stream, target.group, "2-0", "3-0", "4-0")


def trim_all(client: Client, target: Target) -> None:
    client.execute_command("XTRIM", target.stream, "MAXLEN", 0)


@pytest.mark.parametrize("act", [xgroup_setid, remove_a_consumer, acknowledge_all, trim_all])
async def test_what_people_do_to_a_group_that_stays_loses_nothing(server: Endpoint, client: Client, act: Act) -> None:
    """A group read anew from its start, a consumer removed, entries acknowledged or trimmed: it is the same group."""
    target = a_target()
    await a_first_run(server, client, target)
    act(client, target)

    report = await run(server, target)

    assert (report.outcome, report.lost_at_most) == (
        Outcome.NOTHING_PENDING if act is acknowledge_all else Outcome.COMPLETED,
        0,
    )


async def test_after_a_flushall_the_process_that_has_seen_the_group_tells_it(server: Endpoint, client: Client) -> None:
    """Redis has forgotten all; only a process that was there before knows."""
    target = a_target(missing_ok=True)
    given(client, target, *held(range(1, 4), idle_ms=0))
    async with a_runner(server, target) as runner:
        await runner.run(30)
        client.execute_command("FLUSHALL")

        warm = await runner.run(30)
    cold = await run(server, a_target(stream="other", missing_ok=True))

    assert (warm.outcome, warm.lost_at_most) == (Outcome.GROUP_MISSING, 3)
    assert (cold.outcome, cold.lost_at_most) == (Outcome.NOTHING_PENDING, 0)


# --- while a run is under way ---


async def run_while(place: HasPort, client: Client, target: Target, act: Act) -> RunReport:
    """A run during whose first entry this is done, and none of whose entries can be stored."""
    done = []

    async def handle(_: Entry) -> None:
        if not done:
            done.append(act(client, target))
        raise ConnectionError("the store is down")

    return await run(place, target, FunctionHandler(examined(handle), Template("{id}")))


@pytest.mark.parametrize("vanish", [delete_stream, destroy_group, make_both_anew, make_group_anew])
async def test_entries_that_vanish_under_a_run_are_lost_by_id(server: Endpoint, client: Client, vanish: Act) -> None:
    """They are not taken by somebody. Of what was not claimed, the number is known."""
    target = a_target(retry_attempts=1)
    given(client, target, *held(range(1, 5)), *held(range(5, 8), idle_ms=0))

    report = await run_while(server, client, target, vanish)

    assert (report.outcome, report.lost, report.lost_at_most, report.taken) == (Outcome.GROUP_GONE, 4, 3, 0)
    assert "lost with it: 4 entries and at most 3 that were pending" in report.reason
    by_id = [lost_line(number, deliveries=2) for number in (1, 2, 3, 4)]
    assert ledger(client, target) == [*by_id, at_most(3)]


async def test_what_was_stored_as_the_group_vanished_is_not_lost(client: Client, proxy: Proxy) -> None:
    """XACK answers 0, as there is nothing to acknowledge."""
    target = a_target()
    given(client, target, *held(range(1, 4)))
    proxy.when("XACK", lambda: delete_stream(client, target))

    report = await run(proxy, target)

    assert (report.outcome, report.acknowledged, report.lost, report.lost_at_most) == (Outcome.GROUP_GONE, 3, 0, 0)
    assert state(client, target).hashes == stored(*held(range(1, 4)))


async def test_a_group_that_cannot_be_asked_for_is_not_gone(client: Client, proxy: Proxy) -> None:
    """A consumer acknowledges what we claimed; from then on the server refuses to say what groups there are."""
    target = a_target(retry_attempts=1)
    given(client, target, *held(range(1, 5)))
    proxy.when("XINFO", ErrorReply("NOPERM"), args=lambda words: words[0] == b"GROUPS", skip=1, times=None)

    report = await run_while(proxy, client, target, acknowledge_all)

    assert (report.outcome, report.lost, report.lost_at_most, report.taken) == (Outcome.COMPLETED, 0, 0, 0)
    assert (ledger(client, target), pending_count(client, target)) == ([], 1)


async def test_a_group_that_vanishes_between_a_look_and_a_claim_is_gone(client: Client, proxy: Proxy) -> None:
    """NOGROUP is no failure of Redis."""
    target = a_target()
    given(client, target, *held(range(1, 4)))
    before_claim(proxy, lambda: delete_stream(client, target))

    report = await run(proxy, target)

    assert (report.outcome, report.lost_at_most) == (Outcome.GROUP_GONE, 3)


async def test_what_the_last_run_saw_costs_an_idle_run_no_round_trip(embedded_proxy: Proxy, client: Client) -> None:
    """It goes with what the run asks anyway; a wrong type there harms nothing."""
    target = a_target()
    given(client, target, Held(tweet(1), consumer=None))
    client.execute_command("SET", target.keys.seen, "somebody else's")

    report = await run(embedded_proxy, target)

    assert report.outcome is Outcome.NOTHING_PENDING
    assert client.execute_command("GET", target.keys.seen) == b"somebody else's"


async def test_a_newer_format_is_neither_read_nor_overwritten(embedded: Endpoint, client: Client) -> None:
    target = a_target()
    given(client, target, Held(tweet(1)))
    newer = [b"format", b"2", b"pending", b"9", b"last_delivered", b"99-0"]
    client.execute_command("HSET", target.keys.seen, *newer)

    report = await run(embedded, target)

    assert report.lost_at_most == 0
    assert client.execute_command("HMGET", target.keys.seen, "format", "pending", "server_ms") == [b"2", b"9", None]


# --- the clock ---


async def test_a_server_clock_that_went_back_is_told_once(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """An hour: so much longer entries that were delivered before seem fresh. The status says it until it is over."""
    caplog.set_level(logging.WARNING)
    target = a_target()
    given(client, target, *held(range(1, 4), idle_ms=0))
    app = App(settings_for(embedded, target))
    try:
        await app.run()
        seconds, _ = client.execute_command("TIME")
        client.execute_command("HSET", target.keys.seen, "server_ms", 1000 * (int(seconds) + 3600))
        (first,), (second,) = await app.run(), await app.run()
        (told,) = (await status(app)).found["targets"]
        client.execute_command("HSET", target.keys.seen, "clock_until_ms", 1)
        await app.run()
        (over,) = (await status(app)).found["targets"]
    finally:
        await app.aclose()

    assert (round(first.clock_went_back_ms, -5), second.clock_went_back_ms) == (3_600_000, 0)
    assert sum("reclaim.clock.went_back" in line for line in caplog.messages) == 1
    assert sum("the server's clock went back by 3" in line for line in caplog.messages) >= 1
    assert "server's clock went back, so entries delivered before seem fresh for 59 min longer" in told["sentence"]
    assert "clock" not in over["sentence"]


def ledger(client: Client, target: Target) -> list[dict[bytes, bytes]]:
    """The ledger of lost entries, without times."""
    entries = client.execute_command("XRANGE", target.keys.lost, "-", "+")
    flat = (dict(zip(one[::2], one[1::2], strict=True)) for _, one in entries)
    return [{name: value for name, value in one.items() if name not in {b"at", b"idle_ms"}} for one in flat]


async def test_what_is_in_the_ledger_already_is_not_named_again(server: Endpoint, client: Client) -> None:
    """Its record of tries had outlived it; then the stream was deleted."""
    target = a_target()
    given(client, target, *held(range(3), idle_ms=0))
    await run(server, target)
    client.execute_command("HSET", target.keys.tries, "1-0", "1 1 1 1 2 fail - why", "2-0", "1 1 1 1 2 fail - why")
    client.execute_command("XADD", target.keys.lost, "*", *lost_row(b"1-0"))
    delete_stream(client, target)

    report = await run(server, target)

    assert (report.lost, report.lost_at_most) == (1, 2)
    lost = state(client, target).lost
    assert [(line[b"id"], line.get(b"at_most")) for line in lost] == [(b"1-0", None), (b"2-0", None), (b"1-0", b"2")]


def lost_row(entry_id: bytes) -> list[bytes]:
    """A line of the ledger, as names and values."""
    return [b"id", entry_id, b"consumer", b"worker", b"idle_ms", b"1", b"deliveries", b"1", b"at", b"1"]


@pytest.mark.parametrize("name", ["server_ms", "last_delivered", "consumers", "pending", "first_pending"])
async def test_what_somebody_else_has_put_where_the_last_run_wrote_is_passed_over(
    embedded: Endpoint, client: Client, name: str
) -> None:
    """No run fails for it, and it is written anew."""
    target = a_target()
    given(client, target, Held(tweet(1)))
    await run(embedded, target)
    client.execute_command("HSET", target.keys.seen, name, "nonsense")
    client.execute_command("XGROUP", "DELCONSUMER", "s", "g", "worker")  # so that the next run compares more
    client.execute_command("XGROUP", "SETID", "s", "g", "0")
    client.execute_command("XREADGROUP", "GROUP", "g", target.consumer, "STREAMS", "s", ">")
    age_all(client, target)

    report = await run(embedded, target)

    assert (report.outcome, report.acknowledged, report.lost_at_most) == (Outcome.COMPLETED, 1, 0)
    assert client.execute_command("HGET", target.keys.seen, name) != b"nonsense"
