"""HANDLER=requeue and HANDLER=forward: each entry is moved once, and never lost, whatever happens meanwhile.

A copy is compared field by field: the whole state is the pending list, the dead letters, and every copy in its order.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from dev.proxy import ErrorReply, Fault, Proxy, Rule
from dev.server import Server
from reclaim import handlers
from reclaim.app import App
from reclaim.entry import Entry
from reclaim.handlers.outcomes import MOVED, Handled, Handler, Keyed
from reclaim.handlers.requeue import REQUEUES
from reclaim.run.replay import Replay, ReplayReport
from reclaim.run.report import Outcome, RunReport
from reclaim.settings import Target
from reclaim.state.connection import connect
from reclaim.state.moves import _MOVE, _PENDING, _PENDING_AND_DELETED
from reclaim.state.refunds import _KEEP
from tests.faults import OOM, a_server, dead_letter, of_user, pending
from tests.faults import script as is_script
from tests.integration.run.test_replay import parked
from tests.promises.g9_settings.test_permissions import run_as
from tests.support import (
    Client,
    Endpoint,
    HasPort,
    Held,
    State,
    a_target,
    age_all,
    given,
    held,
    raw_client,
    run,
    settings_for,
    state,
    tweet,
)

pytestmark = pytest.mark.G2

GREATEST = b"18446744073709551615-18446744073709551615"
WIDE = [part for at in range(4_000) for part in (b"f%d" % at, b"")]  # more than a Lua script can pass on to a command
TWICE = [b"name", b"1", b"name", b"2", b"\xff", b"\x00"]
SPENT = "TooManyRequeues: it was requeued 3 times; MAX_REQUEUES is 3"
BOTH = pytest.mark.parametrize("handler", ["requeue", "forward"])
NARROW_AND_WIDE = pytest.mark.parametrize("fields", [tweet(1), WIDE], ids=["narrow", "wide"])
move = is_script(_PENDING + _MOVE)


def moving(handler: str, **changes: Any) -> Target:
    """A target whose entries are moved: forwarded to the stream ``f``, or requeued."""
    return a_target(handler=handler, forward_stream="f", **changes)


def copies(client: Client, handler: str, behind: int = 0) -> list[list[bytes]]:
    """The fields of each copy, in their order; with requeue they stand behind so many entries."""
    entries = client.execute_command("XRANGE", "s" if handler == "requeue" else "f", "-", "+")
    return [fields for _, fields in entries[behind if handler == "requeue" else 0 :]]


def copy(handler: str, number: int, fields: Sequence[bytes], deliveries: int = 2) -> list[bytes]:
    """What an entry of this ID is copied as, the first time."""
    if handler == "requeue":
        return [*fields, b"reclaim:requeues", b"1"]
    origin = [b"reclaim:stream", b"s", b"reclaim:group", b"g", b"reclaim:id", b"%d-0" % number]
    return [*fields, *origin, b"reclaim:deliveries", b"%d" % deliveries]


def counts(report: RunReport) -> tuple[int, int, int, int]:
    return report.acknowledged, report.moved, report.stored, report.parked


async def replay(place: HasPort, target: Target) -> ReplayReport:
    """A replay of all dead letters."""
    server = connect(settings_for(place, target), 0.5)
    try:
        return await Replay(target, server, handlers.make(server, target)).run()
    finally:
        await server.aclose()


def others(handler: str) -> list[bytes]:
    return [b"f"] if handler == "forward" else []


# --- what becomes of an entry ----------------------------------------------------------------------------------------


async def test_what_is_requeued_stands_at_the_end_of_its_stream_once(server: Endpoint, client: Client) -> None:
    """With all fields as they were. The count is replaced in its place, and what is no count begins one."""
    target = moving("requeue")
    counted, odd = [REQUEUES, b"2", b"a", b"1", REQUEUES, b"1"], [REQUEUES, b"many", b"a", b"1"]
    entries = [tweet(1), TWICE, counted, odd, [b"a", b"1", REQUEUES, b"3"], WIDE]
    given(client, target, *map(Held, entries), Held(tweet(9), consumer=None))

    report = await run(server, target)

    assert counts(report) == (5, 5, 0, 1)
    assert copies(client, "requeue", behind=7) == [
        copy("requeue", 1, tweet(1)),
        copy("requeue", 2, TWICE),
        [REQUEUES, b"2", b"a", b"1"],
        [REQUEUES, b"1", b"a", b"1"],
        copy("requeue", 6, WIDE),
    ]
    assert state(client, target) == State(length=12, dead=[dead_letter(5, entries[4], "max_requeues", SPENT)])


async def test_what_is_forwarded_says_where_it_comes_from(server: Endpoint, client: Client) -> None:
    """Behind all its fields as they were; what an earlier forwarding said there is left out."""
    target = moving("forward")
    before = [b"reclaim:id", b"9-9", b"a", b"1", b"reclaim:stream", b"another"]
    given(client, target, Held(tweet(1)), Held(TWICE, deliveries=3), Held(before), Held(WIDE))

    report = await run(server, target)

    assert counts(report) == (4, 4, 0, 0)
    assert copies(client, "forward") == [
        copy("forward", 1, tweet(1)),
        copy("forward", 2, TWICE, deliveries=4),
        copy("forward", 3, [b"a", b"1"]),
        copy("forward", 4, WIDE),
    ]
    assert state(client, target) == State(length=4, other_keys=[b"f"])


async def test_a_requeued_entry_comes_back_until_it_is_a_dead_letter(embedded: Endpoint, client: Client) -> None:
    """A consumer reads it each time, and drops it each time."""
    target = moving("requeue", max_requeues=2)
    given(client, target, Held(tweet(1)))
    outcomes = []
    for _ in range(3):
        outcomes.append(counts(await run(embedded, target)))
        client.execute_command("XREADGROUP", "GROUP", "g", "worker", "STREAMS", "s", ">")
        age_all(client, target)

    assert outcomes == [(1, 1, 0, 0), (1, 1, 0, 0), (0, 0, 0, 1)]
    (letter,) = state(client, target).dead
    assert letter[b"error"] == b"TooManyRequeues: it was requeued 2 times; MAX_REQUEUES is 2"
    assert state(client, target).pending == {}


async def test_the_stream_forwarded_to_keeps_about_so_many(embedded: Endpoint, client: Client) -> None:
    """Whole nodes are cut off, of some hundred entries each, and never the newest entries."""
    target = moving("forward", forward_maxlen=100)
    given(client, target, *held(range(2_000)))

    report = await run(embedded, target)

    assert report.moved == 2_000
    assert 100 <= client.execute_command("XLEN", "f") < 400


@BOTH
async def test_many_entries_of_few_order_keys_are_copied_in_their_order(
    embedded: Endpoint, client: Client, handler: str
) -> None:
    """Over pages and scripts (G3)."""
    target = moving(handler, order_key="{user}", page_size=300)
    given(client, target, *(of_user(number, "abc"[number % 3]) for number in range(1, 1_001)))

    report = await run(embedded, target)

    assert counts(report) == (1_000, 1_000, 0, 0)
    numbers = [int(fields[1]) for fields in copies(client, handler, behind=1_000)]
    assert [[n for n in numbers if n % 3 == key] for key in range(3)] == [
        [n for n in range(1, 1_001) if n % 3 == key] for key in range(3)
    ]


# --- with DELETE_ACKNOWLEDGED ----------------------------------------------------------------------------------------


@BOTH
async def test_what_is_moved_leaves_its_stream_unless_another_group_needs_it(
    server: Endpoint, client: Client, handler: str
) -> None:
    """The other group has finished the first, and holds the second; the third is wide."""
    target = moving(handler, delete_acknowledged=True)
    given(client, target, Held(tweet(1)), Held(tweet(2)), Held(WIDE))
    client.execute_command("XGROUP", "CREATE", "s", "other", "0")
    client.execute_command("XREADGROUP", "GROUP", "other", "someone", "COUNT", 3, "STREAMS", "s", ">")
    client.execute_command("XACK", "s", "other", "1-0", "3-0")

    report = await run(server, target)

    assert (*counts(report), report.not_deleted) == (3, 3, 0, 0, 1)
    made = [copy(handler, number, fields) for number, fields in ((1, tweet(1)), (2, tweet(2)), (3, WIDE))]
    assert copies(client, handler, behind=1) == made
    length = 4 if handler == "requeue" else 1
    assert client.execute_command("XRANGE", "s", "-", "+", "COUNT", 1)[0][0] == b"2-0"
    assert state(client, target) == State(length=length, other_keys=others(handler))


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.DROP_REPLY])
async def test_a_move_that_deletes_and_is_sent_again_counts_once_what_stays(
    client: Client, embedded_proxy: Proxy, fault: Fault
) -> None:
    target = moving("forward", delete_acknowledged=True)
    given(client, target, *held(range(1, 4)))
    client.execute_command("XGROUP", "CREATE", "s", "other", "2-0")
    embedded_proxy.when("EVAL", fault, args=is_script(_PENDING_AND_DELETED + _MOVE))

    report = await run(embedded_proxy, target, timeout_sec=0.5)

    assert (report.outcome, report.acknowledged, report.not_deleted) == (Outcome.COMPLETED, 3, 1)
    assert copies(client, "forward") == [copy("forward", number, tweet(number)) for number in range(1, 4)]
    assert state(client, target) == State(length=1, other_keys=[b"f"])


# --- what happens meanwhile ------------------------------------------------------------------------------------------


@BOTH
@NARROW_AND_WIDE
async def test_a_lost_reply_makes_no_second_copy(
    client: Client, proxy: Proxy, handler: str, fields: list[bytes]
) -> None:
    """The entry is pending no more when it is sent again: it was moved, or its consumer has acknowledged it."""
    await moved_once(client, proxy, handler, fields, Fault.CUT_AFTER)


@BOTH
@NARROW_AND_WIDE
@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.DROP_REPLY])
async def test_whatever_is_lost_there_is_one_copy(
    client: Client, embedded_proxy: Proxy, handler: str, fields: list[bytes], fault: Fault
) -> None:
    """The call itself, or its reply and the connection with it."""
    await moved_once(client, embedded_proxy, handler, fields, fault)


async def moved_once(client: Client, proxy: Proxy, handler: str, fields: list[bytes], fault: Fault) -> None:
    """A run with a fault at the first move: each entry has one copy after it."""
    target = moving(handler)
    given(client, target, Held(fields), Held(tweet(2)))
    rule = proxy.when("EXEC" if fields is WIDE else "EVAL", fault, args=lambda args: fields is WIDE or move(args))

    report = await run(proxy, target, timeout_sec=0.5)

    assert (rule.hits, report.outcome) == (1, Outcome.COMPLETED)
    assert (report.acknowledged, report.parked, report.taken) == (2, 0, 0)
    assert copies(client, handler, behind=2) == [copy(handler, 1, fields), copy(handler, 2, tweet(2))]
    assert state(client, target) == State(length=2 + 2 * (handler == "requeue"), other_keys=others(handler))


@BOTH
@pytest.mark.G3
@NARROW_AND_WIDE
async def test_what_somebody_else_has_taken_is_left_to_it_and_holds_back_its_key(
    client: Client, proxy: Proxy, handler: str, fields: list[bytes]
) -> None:
    """It is not counted as moved, and what is behind it in its order waits for a later run."""
    target = moving(handler, order_key="{user}")
    body = [*fields, b"user", b"a"]
    given(client, target, Held(body), of_user(2, "a"), of_user(3, "b"))
    name = "MULTI" if fields is WIDE else "EVAL"
    take = ("XCLAIM", "s", "g", "bob", 0, "1-0")
    proxy.when(name, lambda: client.execute_command(*take) and None, args=lambda args: name == "MULTI" or move(args))

    report = await run(proxy, target)

    assert (counts(report), report.held) == ((1, 1, 0, 0), 2)
    assert copies(client, handler, behind=3) == [copy(handler, 3, of_user(3, "b").fields)]
    after = state(client, target).pending
    assert after == pending(1, consumer="bob", deliveries=3, age="fresh") | pending(2, consumer="monitoring_app")


@BOTH
@NARROW_AND_WIDE
async def test_what_its_consumer_acknowledged_meanwhile_is_not_copied(
    client: Client, proxy: Proxy, handler: str, fields: list[bytes]
) -> None:
    target = moving(handler)
    given(client, target, Held(fields), Held(tweet(2)))
    name = "MULTI" if fields is WIDE else "EVAL"
    ack = ("XACK", "s", "g", "1-0")
    proxy.when(name, lambda: client.execute_command(*ack) and None, args=lambda args: name == "MULTI" or move(args))

    report = await run(proxy, target)

    assert (report.outcome, *counts(report)) == (Outcome.COMPLETED, 2, 1, 0, 0)
    assert copies(client, handler, behind=2) == [copy(handler, 2, tweet(2))]
    assert state(client, target).pending == {}


@BOTH
async def test_a_group_that_vanishes_meanwhile_is_told(client: Client, embedded_proxy: Proxy, handler: str) -> None:
    """Nothing is copied that is not pending in it, and nothing counts as acknowledged; what is gone is recorded."""
    target = moving(handler)
    given(client, target, *held(range(1, 4)))
    gone = ("XGROUP", "DESTROY", "s", "g")
    embedded_proxy.when("EVAL", lambda: client.execute_command(*gone) and None, args=move)

    report = await run(embedded_proxy, target)

    assert (report.outcome, *counts(report)) == (Outcome.GROUP_GONE, 0, 0, 0, 0)
    assert report.lost + report.lost_at_most == 3
    assert copies(client, handler, behind=3) == []


class Slow(Handler):
    """A handler that acknowledges its entries, and says so only when claims were renewed meanwhile."""

    at_once = True
    moves = True

    def __init__(self, client: Client, renewal: Rule) -> None:
        self._client = client
        self._renewal = renewal

    def order_key(self, entry: Entry) -> bytes:
        return entry.id

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        self._client.execute_command("XACK", "s", "g", *(entry.id for _, entry in entries))
        await asyncio.to_thread(self._renewal.reached.wait, 10)
        await asyncio.sleep(0.05)  # until its answer has come
        return [MOVED] * len(entries)


async def test_what_is_moved_while_claims_are_renewed_was_taken_by_nobody(
    client: Client, embedded_proxy: Proxy
) -> None:
    """The renewal finds it pending no more before its handler has said that it is moved."""
    target = a_target(min_idle_ms=300)
    given(client, target, *held(range(1, 4)))
    renewal = embedded_proxy.when("EVAL", lambda: None, args=is_script(_KEEP))

    report = await run(embedded_proxy, target, Slow(client, renewal))

    assert renewal.hits == 1
    assert (*counts(report), report.taken) == (3, 3, 0, 0, 0)


# --- when the stream takes none --------------------------------------------------------------------------------------


@BOTH
@pytest.mark.G3
async def test_an_outage_costs_nothing_and_keeps_the_order(client: Client, proxy: Proxy, handler: str) -> None:
    """The first script is refused once: its entries are moved by the next attempt, in their order (G5)."""
    target = moving(handler, order_key="{user}")
    given(client, target, *(of_user(number, "a") for number in range(1, 4)))
    proxy.when("EVAL", ErrorReply(OOM), args=move)

    report = await run(proxy, target)

    assert counts(report) == (3, 3, 0, 0)
    made = [copy(handler, number, of_user(number, "a").fields) for number in range(1, 4)]
    assert copies(client, handler, behind=3) == made


@BOTH
@pytest.mark.G3
async def test_nothing_overtakes_an_entry_that_cannot_become_a_dead_letter(
    embedded: Endpoint, client: Client, handler: str
) -> None:
    """It has used up its tries; what is before it in its order is moved, what is behind it waits."""
    target = moving(handler, order_key="{user}", dead_letter_maxlen=1, max_deliveries=3)
    last = Held(tweet(2, user=b"a"), deliveries=3, consumer="monitoring_app")
    given(client, target, of_user(1, "a"), last, of_user(3, "a"), of_user(4, "b"))
    parked(client, target, (9, tweet(9)))

    full = await run(embedded, target)
    client.execute_command("DEL", target.keys.dead)
    age_all(client, target)
    room = await run(embedded, target)

    assert (full.outcome, *counts(full)) == (Outcome.DEAD_LETTERS_FULL, 2, 2, 0, 0)
    assert (room.outcome, *counts(room)) == (Outcome.COMPLETED, 1, 1, 0, 1)
    assert [fields[1] for fields in copies(client, handler, behind=4)] == [b"1", b"4", b"3"]


async def test_failures_open_the_circuit_and_nothing_is_moved_then(client: Client, embedded_proxy: Proxy) -> None:
    target = moving("forward", circuit_failures=2, retry_attempts=1)
    given(client, target, *held(range(1, 4)))
    rule = embedded_proxy.when("EVAL", ErrorReply(OOM), args=move, times=None)

    reports = [await run(embedded_proxy, target) for _ in range(2)]

    assert [report.outcome for report in reports] == [Outcome.CIRCUIT_OPEN] * 2
    assert (rule.hits, reports[0].retried, reports[1].claimed) == (1, 3, 0)
    assert state(client, target).pending == pending(1, 2, 3, consumer="monitoring_app", deliveries=1)


@pytest.mark.G5
@NARROW_AND_WIDE
async def test_a_server_out_of_memory_costs_no_entry_a_delivery(fields: list[bytes]) -> None:
    """It says so inside of the script; nothing is copied, nothing acknowledged."""
    with a_server("redis-7.0", maxmemory_policy="noeviction") as own, raw_client(own.port) as client:
        target = moving("forward", retry_attempts=1)
        given(client, target, Held(fields), Held(tweet(2)))
        client.execute_command("SET", "ballast", b"x" * 20_000_000)

        def fill() -> None:
            client.execute_command("CONFIG", "SET", "maxmemory", "1mb")

        with Proxy(own.port) as proxy:
            proxy.when(
                "MULTI" if fields is WIDE else "EVAL", fill, args=lambda a: fields is WIDE or move(a), times=None
            )
            report = await run(proxy, target)
        client.execute_command("CONFIG", "SET", "maxmemory", "0")

        assert (report.acknowledged, report.parked, report.failed, report.retried) == (0, 0, 0, 2)
        after = state(client, target)
        assert after.pending == pending(1, 2, consumer="monitoring_app", deliveries=1)
        assert (after.dead, client.execute_command("EXISTS", "f")) == ([], 0)


@pytest.mark.G9
@NARROW_AND_WIDE
async def test_a_key_that_is_no_stream_fails_the_run_and_makes_no_dead_letter(
    server: Endpoint, client: Client, fields: list[bytes]
) -> None:
    """Run after run, and no entry is charged for it."""
    target = moving("forward", max_deliveries=2)
    given(client, target, Held(fields), Held(tweet(2)))
    client.execute_command("SET", "f", "no stream")

    reports = [await run(server, target) for _ in range(3)]

    assert {report.outcome for report in reports} == {Outcome.FAILED}
    assert "entries cannot be moved from s to f: WRONGTYPE" in reports[-1].reason
    assert state(client, target) == State(
        pending=pending(1, 2, consumer="monitoring_app", deliveries=1), length=2, other_keys=[b"f"]
    )


@pytest.mark.G9
@BOTH
@pytest.mark.parametrize("is_there", [True, False], ids=["there", "deleted"])
async def test_a_stream_whose_ids_are_used_up_fails_the_run(
    server: Endpoint, client: Client, handler: str, *, is_there: bool
) -> None:
    """XADD refuses every further entry, also where the one with the last ID is deleted; that is no entry's fault."""
    target = moving(handler)
    given(client, target, Held(tweet(1)), Held(WIDE))
    to = "s" if handler == "requeue" else "f"
    if not is_there:
        client.execute_command("XADD", to, "3-0", "somebody", "else's")
    client.execute_command("XADD", to, GREATEST, "the", "last")
    if not is_there:
        client.execute_command("XDEL", to, GREATEST)

    report = await run(server, target)

    assert (report.outcome, *counts(report)) == (Outcome.FAILED, 0, 0, 0, 0)
    assert f"entries cannot be moved from s to {to}" in report.reason
    after = state(client, target)
    assert after.pending == pending(1, 2, consumer="monitoring_app", deliveries=1)
    assert (after.dead, client.execute_command("XLEN", to)) == ([], 3 if handler == "requeue" else 1)


@pytest.mark.G9
@NARROW_AND_WIDE
async def test_without_permission_for_the_other_stream_nothing_is_acknowledged(
    own: Server, direct: Client, fields: list[bytes]
) -> None:
    """The error names the command and the key; nothing is half done."""
    target = moving("forward", max_deliveries=2)
    given(direct, target, Held(fields), Held(tweet(2)))
    direct.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", "~s", "~{s}*", "+@all")

    reports = [await run_as(own, target) for _ in range(3)]

    assert {report.outcome for report in reports} == {Outcome.FAILED}
    assert "does not let this user run" in reports[-1].reason
    after = state(direct, target)
    assert {row[1:] for row in after.pending.values()} == {(1, "idle")}
    assert (len(after.pending), after.dead, after.other_keys) == (2, [], [])


async def test_each_target_has_a_handler_of_its_own(embedded: Endpoint, client: Client) -> None:
    """One app requeues entries of one stream, forwards those of another, and stores those of a third."""
    handlers_of = {"a": {"handler": "requeue"}, "b": {"handler": "forward", "forward_stream": "a"}, "c": {}}
    targets = [a_target(stream=stream, **changes) for stream, changes in handlers_of.items()]
    for target in targets:
        given(client, target, *held(range(1, 3)))
    app = App(settings_for(embedded, *targets))
    try:
        reports = await app.run()
    finally:
        await app.aclose()

    assert [(report.moved, report.stored) for report in reports] == [(2, 0), (2, 0), (0, 2)]
    added = [fields[10:12] for _, fields in client.execute_command("XRANGE", "a", "(2-0", "+")]
    assert sorted(added) == [[b"reclaim:requeues", b"1"]] * 2 + [[b"reclaim:stream", b"b"]] * 2
    assert client.execute_command("XLEN", "c") == 2
    assert client.execute_command("EXISTS", "tweet:1", "tweet:2") == 2


# --- from the dead letters -------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("fault", [None, Fault.CUT_AFTER])
async def test_a_replay_moves_dead_letters_once(
    client: Client, proxy: Proxy, handler: str, fault: Fault | None
) -> None:
    """Each is added to the stream and is no dead letter any more, at one stroke; the count of requeues begins again."""
    await replayed_once(client, proxy, handler, fault)


@BOTH
@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.DROP_REPLY])
async def test_whatever_is_lost_a_replay_moves_dead_letters_once(
    client: Client, embedded_proxy: Proxy, handler: str, fault: Fault
) -> None:
    """The call itself, or its reply and the connection with it."""
    await replayed_once(client, embedded_proxy, handler, fault)


async def replayed_once(client: Client, proxy: Proxy, handler: str, fault: Fault | None) -> None:
    """A replay, perhaps with a fault at the first move: each dead letter has become one copy."""
    target = moving(handler)
    spent = [b"a", b"1", REQUEUES, b"3"]
    bodies = [tweet(1), spent, WIDE]
    parked(client, target, *enumerate(bodies, 1))
    if fault is not None:
        proxy.when("EVAL", fault, args=lambda args: args[0].endswith(_MOVE.encode()))

    report = await replay(proxy, target)

    again = fault in {Fault.CUT_AFTER, Fault.DROP_REPLY}
    assert (report.chosen, report.replayed, report.missing) == (3, 1 if again else 3, 2 if again else 0)
    made = [copy(handler, number, body, deliveries=5) for number, body in enumerate(bodies, 1)]
    if handler == "requeue":
        made[1] = [b"a", b"1", REQUEUES, b"1"]
    assert sorted(copies(client, handler)) == sorted(made)
    assert client.execute_command("XLEN", target.keys.dead) == 0


@BOTH
@NARROW_AND_WIDE
async def test_a_dead_letter_that_was_discarded_meanwhile_is_not_moved(
    client: Client, proxy: Proxy, handler: str, fields: list[bytes]
) -> None:
    target = moving(handler)
    parked(client, target, (1, fields), (2, tweet(2)))
    ((first, _), _) = client.execute_command("XRANGE", target.keys.dead, "-", "+")
    name = "MULTI" if fields is WIDE else "EVAL"

    def is_meant(args: list[bytes]) -> bool:
        return name == "MULTI" or args[0].endswith(_MOVE.encode())

    proxy.when(name, lambda: client.execute_command("XDEL", target.keys.dead, first) and None, args=is_meant)

    report = await replay(proxy, target)

    assert (report.replayed, report.missing) == (1, 1)
    assert copies(client, handler) == [copy(handler, 2, tweet(2), deliveries=5)]


# --- on a cluster ----------------------------------------------------------------------------------------------------


@pytest.mark.G1
@pytest.mark.parametrize(("to", "moved"), [("elsewhere", 0), ("{s}:next", 3)])
async def test_where_both_streams_share_no_slot_it_is_forwarded_first_and_then_acknowledged(
    to: str, moved: int
) -> None:
    """The server says so itself, of a script and of a transaction; a dead letter is removed in the same way."""
    with a_server("redis-7.0", cluster_enabled="yes") as own, raw_client(own.port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            pass
        target = a_target(handler="forward", forward_stream=to)
        given(client, target, Held(tweet(1)), Held(WIDE), Held(tweet(3)))
        parked(client, target, (8, tweet(8)))

        report = await run(own, target)
        replayed = await replay(own, target)

        assert counts(report) == (3, moved, 3 - moved, 0)
        assert replayed.replayed == 1
        made = [copy("forward", n, fields) for n, fields in ((1, tweet(1)), (2, WIDE), (3, tweet(3)))]
        made.append(copy("forward", 8, tweet(8), deliveries=5))
        assert [fields for _, fields in client.execute_command("XRANGE", to, "-", "+")] == made
        assert state(client, target) == State(length=3, other_keys=[to.encode()])
