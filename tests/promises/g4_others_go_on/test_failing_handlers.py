"""User handlers that hang, are slow, lose entries to other consumers, or raise unexpected errors (G4, G6)."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from reclaim.entry import Entry
from reclaim.errors import RejectEntry
from reclaim.run.report import Outcome
from reclaim.state import lease
from tests.conftest import on_newest_and_oldest
from tests.faults import Recorder, by_function, of_user, pending
from tests.support import Client, Endpoint, State, a_target, age_all, given, run, state

pytestmark = pytest.mark.G4

OURS = "monitoring_app"


def by_users(*numbers: int) -> list:
    return [of_user(number, f"user_{number}") for number in numbers]


async def test_as_many_entries_are_handled_at_once_as_there_are_lanes(server: Endpoint, client: Client) -> None:
    """LANES is reached and never exceeded."""
    target = a_target(lanes=3)
    given(client, target, *by_users(*range(1, 13)))
    at_work, most = 0, 0

    async def handle(_: Entry) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.02)
        at_work -= 1

    report = await run(server, target, by_function(handle))

    assert (report.acknowledged, most) == (12, 3)
    assert state(client, target) == State(length=12)


async def test_a_handler_that_hangs_is_stopped_in_time_and_charged(embedded: Endpoint, client: Client) -> None:
    """It has half of the run's budget, and uses up a delivery; all others are done, those of later pages too."""
    target = a_target(lanes=2)
    given(client, target, *by_users(1, 2, 3))

    async def handle(entry: Entry) -> None:
        if entry.id == b"1-0":
            await asyncio.Event().wait()

    report = await run(embedded, target, by_function(handle), budget_sec=2)

    assert (report.outcome, report.failed, report.acknowledged) == (Outcome.COMPLETED, 1, 2)
    assert state(client, target) == State(pending=pending(1, consumer=OURS, deliveries=2, age="fresh"), length=3)


async def test_an_entry_begun_late_is_stopped_and_not_charged(embedded: Endpoint, client: Client) -> None:
    """It had less than half of the budget: it may well be fine, and begins early another time."""
    target = a_target(lanes=1)
    given(client, target, *(of_user(number, "a") for number in (1, 2, 3)))

    async def handle(entry: Entry) -> None:
        await (asyncio.sleep(1.3) if entry.id == b"1-0" else asyncio.Event().wait())

    report = await run(embedded, target, by_function(handle), budget_sec=3)

    assert (report.outcome, report.acknowledged, report.failed) == (Outcome.OUT_OF_TIME, 1, 0)
    after = state(client, target)
    assert (after.pending.keys(), {row[1:] for row in after.pending.values()}) == ({b"2-0", b"3-0"}, {(1, "idle")})


@on_newest_and_oldest
async def test_a_slow_handler_keeps_what_it_holds(server: Endpoint, client: Client) -> None:
    """For more than twice the least idle time nobody can claim its entry, nor the one that waits behind it."""
    target = a_target(lanes=2, min_idle_ms=600)
    given(client, target, of_user(1, "a"), of_user(2, "a"), of_user(3, "b"))
    taken: list = []

    async def handle(_: Entry) -> None:
        for _ in range(7):
            await asyncio.sleep(0.2)
            ids = ("1-0", "2-0", "3-0")
            rows = {row[0]: row for row in client.execute_command("XPENDING", "s", "g", "-", "+", 10)}
            mine = [one for one in ids if rows.get(one.encode(), [b"", b""])[1] == b"monitoring_app"]
            if mine:
                taken.extend(client.execute_command("XCLAIM", "s", "g", "other", 600, *mine, "JUSTID"))

    report = await run(server, target, by_function(handle))

    assert (taken, report.taken, report.acknowledged) == ([], 0, 3)
    assert state(client, target) == State(length=3)


async def test_a_slow_handler_keeps_what_it_holds_from_xautoclaim(embedded: Endpoint, client: Client) -> None:
    """XAUTOCLAIM, which other reclaimers use, finds nothing either."""
    target = a_target(lanes=1, min_idle_ms=600)
    given(client, target, of_user(1, "a"))
    taken: list = []

    async def handle(_: Entry) -> None:
        for _ in range(7):
            await asyncio.sleep(0.2)
            taken.extend(client.execute_command("XAUTOCLAIM", "s", "g", "other", 600, "0", "JUSTID")[1])

    await run(embedded, target, by_function(handle))

    assert taken == []


@on_newest_and_oldest
async def test_no_page_is_claimed_only_to_wait_behind_a_slow_handler(server: Endpoint, client: Client) -> None:
    """While the handler is slow, entries that are not in work stay with their consumer, and others can claim them."""
    target = a_target(lanes=2, min_idle_ms=400)
    given(client, target, *by_users(*range(1, 9)))
    most_held = 0

    async def handle(_: Entry) -> None:
        nonlocal most_held
        await asyncio.sleep(0.15)
        rows = client.execute_command("XPENDING", "s", "g", "-", "+", 10, "monitoring_app")
        most_held = max(most_held, len(rows))

    report = await run(server, target, by_function(handle))

    assert (report.acknowledged, most_held) == (8, 2)


@on_newest_and_oldest
async def test_an_entry_taken_all_the_same_is_reported_and_left_to_the_taker(server: Endpoint, client: Client) -> None:
    """Somebody claims it, whatever its idle time, while it waits behind another entry: the run does not handle it."""
    target = a_target(lanes=2, min_idle_ms=300)
    given(client, target, of_user(1, "a"), of_user(2, "a"), of_user(3, "b"))
    seen: list[bytes] = []

    async def handle(entry: Entry) -> None:
        seen.append(entry.id)
        if entry.id == b"1-0":
            client.execute_command("XCLAIM", "s", "g", "other", 0, "2-0")
            await asyncio.sleep(0.8)

    report = await run(server, target, by_function(handle))

    assert report.taken == 1
    assert b"2-0" not in seen
    after = state(client, target)
    assert (after.pending.keys(), after.pending[b"2-0"][0]) == ({b"2-0"}, b"other")


@on_newest_and_oldest
async def test_an_entry_taken_while_it_is_being_handled_is_reported(server: Endpoint, client: Client) -> None:
    """It is too late to stop the handler, but the report says it."""
    target = a_target(min_idle_ms=300)
    given(client, target, of_user(1, "a"))

    async def handle(_: Entry) -> None:
        client.execute_command("XCLAIM", "s", "g", "other", 0, "1-0")
        await asyncio.sleep(0.8)

    report = await run(server, target, by_function(handle))

    assert report.taken == 1
    assert state(client, target).dead == []


class Unspeakable(Exception):
    """An error that cannot even be put into words."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("\udcff lone surrogate"),
        KeyError(),
        ValueError("x" * 2_000_000),
        StopAsyncIteration(),
        StopIteration(),
        AssertionError(),
        RecursionError(),
        MemoryError(),
        ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
        asyncio.CancelledError(),
        asyncio.InvalidStateError(),
        Unspeakable(),
    ],
    ids=lambda error: type(error).__name__ + ("_long" if len((error.args and str(error.args[0])) or "") > 99 else ""),
)
async def test_whatever_a_handler_raises_it_is_that_entrys_own_trouble(
    embedded: Endpoint, client: Client, error: BaseException
) -> None:
    """One entry fails and is parked at its last delivery; all the others are done."""
    target = a_target(lanes=2, max_deliveries=2)
    given(client, target, *by_users(*range(1, 6)))

    async def handle(entry: Entry) -> None:
        if entry.id == b"2-0":
            raise error

    report = await run(embedded, target, by_function(handle))

    after = state(client, target)
    assert (report.outcome, report.acknowledged, report.parked) == (Outcome.COMPLETED, 4, 1)
    assert ([letter[b"id"] for letter in after.dead], after.pending) == ([b"2-0"], {})


async def test_a_rejection_in_strange_words_is_parked_with_the_others(embedded: Endpoint, client: Client) -> None:
    """Words that are no UTF-8 do not keep the rest of the page from being parked."""
    target = a_target()
    given(client, target, *by_users(1, 2, 3))
    record = Recorder(_1=RejectEntry("plain"), _2=RejectEntry("\udcff"), _3=RejectEntry(b"bytes"))

    report = await run(embedded, target, by_function(record))

    assert report.parked == 3
    assert len(state(client, target).dead) == 3


async def test_a_handler_waiting_for_something_that_was_cancelled_fails_alone(
    embedded: Endpoint, client: Client
) -> None:
    """A CancelledError from the handler's own await does not end the run."""
    target = a_target(lanes=2)
    given(client, target, *by_users(1, 2, 3))

    async def handle(entry: Entry) -> None:
        if entry.id == b"1-0":
            gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone

    report = await run(embedded, target, by_function(handle))

    assert (report.outcome, report.acknowledged, report.failed) == (Outcome.COMPLETED, 2, 1)


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_exception_that_is_returned_is_one_that_is_raised(
    embedded: Endpoint, client: Client, *, is_async: bool
) -> None:
    """What failed is not acknowledged (G1). asyncio.gather(…, return_exceptions=True) returns a list; so do people."""
    target = a_target(retry_attempts=1)
    given(client, target, *by_users(*range(1, 10)))
    answers = {
        b"1-0": ValueError("no"),
        b"2-0": RejectEntry("bad"),
        b"3-0": ConnectionError("away"),
        b"4-0": asyncio.CancelledError("gone"),
        b"5-0": False,
        b"6-0": [None, RejectEntry("bad")],
        b"7-0": [ConnectionError("away"), None, ConnectionError("away")],
        b"8-0": (ConnectionError("away"), ValueError("no")),
        b"9-0": [None, 1, []],
    }

    def handle(entry: Entry) -> Any:
        return answers[entry.id]

    async def handle_async(entry: Entry) -> Any:
        return answers[entry.id]

    report = await run(embedded, target, by_function(handle_async if is_async else handle))

    assert (report.acknowledged, report.failed, report.parked, report.retried) == (2, 3, 2, 2)
    assert state(client, target).pending.keys() == {b"1-0", b"3-0", b"4-0", b"7-0", b"8-0"}


@contextmanager
def opened() -> Iterator[None]:
    yield


@asynccontextmanager
async def opened_later() -> AsyncIterator[None]:
    yield


async def fails() -> None:
    raise ValueError("no")


def unstarted() -> Coroutine[Any, Any, None]:
    """A coroutine that nobody awaits; Python warns of one that is not closed, whenever it collects it."""
    work = fails()
    work.close()
    return work


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda pool: pool.submit(by_itself), "ValueError: no"),
        (lambda _: fails(), "ValueError: no"),
        (lambda pool: [pool.submit(by_itself)], "returned a list with a Future, for which nobody has waited"),
        (lambda _: (unstarted(), None), "returned a tuple with a coroutine, for which nobody has waited"),
        (lambda _: map(print, "ab"), "returned a map, so that none of its code was run"),
        (lambda _: (one for one in "ab"), "returned a generator, so that none of its code was run"),
        (lambda _: opened(), "returned a context manager, so that none of its code was run"),
        (lambda _: opened_later(), "returned a context manager, so that none of its code was run"),
    ],
    ids=["a future", "a coroutine", "futures", "coroutines", "a map", "a generator", "a manager", "an async manager"],
)
@pytest.mark.G1
async def test_work_that_a_function_has_only_begun_is_not_done(
    embedded: Endpoint, client: Client, answer: Any, says: str, *, is_async: bool
) -> None:
    """It is waited for if it can be; else the entry fails, and the error says why."""
    target = a_target()
    given(client, target, *by_users(1, 2))

    with ThreadPoolExecutor(2) as pool:

        def handle(entry: Entry) -> Any:
            return answer(pool) if entry.id == b"1-0" else pool.submit(int)

        async def handle_async(entry: Entry) -> Any:
            return handle(entry)

        report = await run(embedded, target, by_function(handle_async if is_async else handle))

    assert (report.acknowledged, report.failed) == (1, 1)
    assert says in str(report.reasons)
    assert state(client, target).pending.keys() == {b"1-0"}


def by_itself() -> None:
    raise ValueError("no")


class NotToBeAsked(Exception):
    """An error whose own code fails whatever one asks it."""

    @property
    def __cause__(self) -> BaseException | None:
        raise RuntimeError("do not ask")

    @property
    def after_sec(self) -> float:
        raise RuntimeError("do not ask")

    def __str__(self) -> str:
        raise RuntimeError("do not ask")


async def test_an_error_that_cannot_be_asked_is_a_failure_of_its_entry(embedded: Endpoint, client: Client) -> None:
    """Nobody knows what it was caused by; the others are done all the same."""
    target = a_target(max_deliveries=3)
    given(client, target, *by_users(1, 2, 3))

    report = await run(embedded, target, by_function(Recorder(_2=NotToBeAsked())))

    assert (report.outcome, report.acknowledged, report.failed) == (Outcome.COMPLETED, 2, 1)
    assert state(client, target).pending.keys() == {b"2-0"}


class Unusual(BaseException):
    """A BaseException that is no Exception."""


def of_its_own() -> None:
    """Cancel the task that this runs in."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def leaving(error: BaseException) -> Any:
    """What raises this."""

    def leave() -> None:
        raise error

    return leave


@pytest.mark.parametrize(
    ("leave", "says"),
    [
        (leaving(Unusual("x")), "HandlerExited: the handler raised Unusual: x"),
        (leaving(BaseExceptionGroup("g", [Unusual("y")])), "HandlerExited: the handler raised BaseExceptionGroup: g"),
        (leaving(SystemExit(3)), "HandlerExited: the handler raised SystemExit: 3"),
        (leaving(GeneratorExit("z")), "HandlerExited: the handler raised GeneratorExit: z"),
        (of_its_own, "HandlerCancelled: the handler cancelled its own task"),
    ],
    ids=["a BaseException", "a group", "sys.exit()", "GeneratorExit", "cancelling itself"],
)
async def test_a_handler_that_leaves_by_another_door_fails_like_any(
    embedded: Endpoint, client: Client, leave: Any, says: str
) -> None:
    """The others are done, the run ends well, and in the end it is a dead letter (G4)."""
    target = a_target(lanes=2, max_deliveries=3)
    given(client, target, *(of_user(number, f"u{number}") for number in range(1, 6)))

    async def handle(entry: Entry) -> None:
        if entry.id == b"2-0":
            leave()
            await asyncio.sleep(0)

    reports = []
    for _ in range(2):
        reports.append(await run(embedded, target, by_function(handle)))
        age_all(client, target)

    after = state(client, target)
    assert [(one.outcome, one.stored, one.failed, one.parked) for one in reports] == [
        (Outcome.COMPLETED, 4, 1, 0),
        (Outcome.COMPLETED, 0, 0, 1),
    ]
    assert (after.pending, [letter[b"error"].decode().partition(" (")[0] for letter in after.dead]) == ({}, [says])


async def test_a_run_told_to_stop_ends_after_what_is_in_work(server: Endpoint, client: Client) -> None:
    """What was begun is done and acknowledged, what was not is given back."""
    target = a_target(lanes=1)
    given(client, target, *(of_user(number, "a") for number in (1, 2, 3)))
    stop = asyncio.Event()

    async def handle(_: Entry) -> None:
        stop.set()

    report = await run(server, target, by_function(handle), stop=stop)

    assert (report.outcome, report.acknowledged) == (Outcome.STOPPED, 1)
    after = state(client, target)
    assert (after.pending.keys(), {row[1:] for row in after.pending.values()}) == ({b"2-0", b"3-0"}, {(1, "idle")})
    assert after.other_keys == []


@pytest.mark.G6
async def test_a_run_that_loses_its_lease_begins_nothing_more(
    server: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run could take over: what is in work is finished, the rest given back, the other's lease left alone."""
    monkeypatch.setattr(lease, "RENEW_EVERY_SEC", 0.05)
    target = a_target(lanes=1)
    given(client, target, *(of_user(number, "a") for number in (1, 2, 3)))

    async def handle(_: Entry) -> None:
        client.execute_command("SET", target.keys.lease, "another run")
        await asyncio.sleep(0.3)

    report = await run(server, target, by_function(handle))

    assert (report.outcome, report.acknowledged) == (Outcome.LEASE_LOST, 1)
    after = state(client, target)
    assert (after.pending.keys(), {row[1:] for row in after.pending.values()}) == ({b"2-0", b"3-0"}, {(1, "idle")})
    assert client.execute_command("GET", target.keys.lease) == b"another run"


class NoErrors(Exception):
    """A collection of errors, this one empty: Python takes it for false."""

    def __len__(self) -> int:
        return 0


class Untrue(Exception):
    """An error whose truth value is false."""

    def __bool__(self) -> bool:
        return False


@pytest.mark.G1
@pytest.mark.parametrize("error", [NoErrors, Untrue])
async def test_an_error_that_python_takes_for_false_is_a_failure(
    error: type[Exception], embedded: Endpoint, client: Client
) -> None:
    """G1: the entry was not stored, so it is not acknowledged, however the error answers when asked for its truth."""
    target = a_target()
    given(client, target, *by_users(1, 2))

    async def handle(entry: Entry) -> None:
        if entry.id == b"1-0":
            raise error("not stored at all")

    report = await run(embedded, target, by_function(handle))

    assert (report.stored, report.acknowledged, report.failed) == (1, 1, 1)
    assert report.reasons == {f"{error.__name__}: not stored at all": 1}
    assert state(client, target) == State(pending=pending(1, consumer=OURS, deliveries=2, age="fresh"), length=2)


async def test_an_error_that_python_takes_for_false_is_tried_again_where_its_class_may_pass(
    embedded: Endpoint, client: Client
) -> None:
    """Its class decides, as of any other error: a connection's passes, and the entry is stored in the end."""
    target = a_target()
    given(client, target, *by_users(1))
    tries = 0

    class NoConnections(ConnectionError):
        def __len__(self) -> int:
            return 0

    async def handle(_: Entry) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise NoConnections("away")

    report = await run(embedded, target, by_function(handle))

    assert (tries, report.stored, report.acknowledged) == (2, 1, 1)
    assert state(client, target) == State(length=1)
