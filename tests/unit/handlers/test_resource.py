"""A handler's resource is entered once, left once by the task that entered it, and fails nothing when it is left."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from reclaim.errors import HandlerCancelled, HandlerExited, NotEntered
from reclaim.handlers.resource import Resource
from reclaim.trace import _run, run_under_way


class Manager:
    """A context manager that records what happens to it.

    Attributes:
        seen: ``entered`` and ``left``, in their order.
    """

    def __init__(self, entering: BaseException | None = None, leaving: BaseException | None = None) -> None:
        self.entering = entering
        self.leaving = leaving
        self.seen: list[str] = []

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[int]:
        if self.entering is not None:
            raise self.entering
        self.seen.append("entered")
        async with asyncio.TaskGroup():  # which can only end in the task that it began in
            yield len(self.seen)
        self.seen.append("left")
        if self.leaving is not None:
            raise self.leaving


async def test_it_is_entered_once_and_left_once() -> None:
    manager = Manager()
    resource = Resource("HANDLER a:b", manager)

    await asyncio.gather(*(asyncio.create_task(resource.enter(5)) for _ in range(3)))
    value = resource.value
    await asyncio.create_task(resource.leave())
    await resource.leave()

    assert (value, manager.seen) == (1, ["entered", "left"])


async def test_what_was_left_is_entered_anew() -> None:
    manager = Manager()
    resource = Resource("HANDLER a:b", manager)

    for _ in range(2):
        await resource.enter(5)
        await resource.leave()

    assert manager.seen == ["entered", "left", "entered", "left"]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionRefusedError("no"), ConnectionRefusedError),
        (SystemExit(1), HandlerExited),
        (asyncio.CancelledError(), HandlerCancelled),
    ],
)
async def test_what_cannot_be_entered_says_why_and_is_tried_anew(error: BaseException, cause: type[Exception]) -> None:
    """SystemExit does not end the loop, and CancelledError does not cancel the run."""
    manager = Manager(entering=error)
    resource = Resource("HANDLER a:b", manager)

    with pytest.raises(NotEntered, match="HANDLER a:b could not be entered: ") as caught:
        await resource.enter(5)
    manager.entering = None
    await resource.enter(5)

    assert type(caught.value.__cause__) is cause
    assert manager.seen == ["entered"]
    await resource.leave()


async def test_a_late_waiter_does_not_end_what_another_one_has_begun_anew() -> None:
    """Several targets wait for the same resource: each learns that it could not be entered, and tries again at once."""
    manager = Manager(entering=ConnectionRefusedError("no"))
    resource = Resource("HANDLER a:b", manager)

    async def enter_again() -> None:
        with pytest.raises(NotEntered):
            await resource.enter(5)
        manager.entering = None
        await resource.enter(5)

    await asyncio.gather(*(asyncio.create_task(enter_again()) for _ in range(3)))
    await resource.leave()

    assert manager.seen == ["entered", "left"]


async def test_whoever_has_less_time_does_not_end_what_another_one_waits_for() -> None:
    may_enter = asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[str]:
        await may_enter.wait()
        yield "entered"

    resource = Resource("HANDLER a:b", slow)
    patient = asyncio.create_task(resource.enter(30))
    await asyncio.sleep(0)

    with pytest.raises(NotEntered, match="it took more than"):
        await resource.enter(0.01)
    may_enter.set()
    await patient

    assert resource.value == "entered"
    await resource.leave()


async def test_one_that_hangs_is_given_up_in_time() -> None:
    ended: list[str] = []

    @asynccontextmanager
    async def hanging() -> AsyncIterator[None]:
        try:
            await asyncio.Event().wait()
            yield
        finally:
            ended.append("cancelled")

    resource = Resource("HANDLER a:b", hanging)

    with pytest.raises(NotEntered, match=r"it took more than 0\.0 s"):
        await resource.enter(0.01)
    await asyncio.sleep(0)

    assert ended == ["cancelled"]


async def test_one_that_ends_by_itself_is_entered_anew(caplog: pytest.LogCaptureFixture) -> None:
    """A task group inside that a task of its own has brought down is over; the next run opens another one."""
    entered: list[int] = []

    @asynccontextmanager
    async def brittle() -> AsyncIterator[None]:
        async def breaks() -> None:
            raise ConnectionError("the pool is gone")

        async with asyncio.TaskGroup() as group:
            entered.append(len(entered))
            group.create_task(breaks()) if len(entered) == 1 else None
            yield

    resource = Resource("HANDLER a:b", brittle)
    await resource.enter(5)
    for _ in range(5):  # the group ends
        await asyncio.sleep(0)
    await resource.enter(5)
    await resource.leave()

    assert entered == [0, 1]
    ((_, _, text),) = caplog.record_tuples
    assert text.startswith("reclaim: HANDLER a:b ended by itself, and is entered anew: ExceptionGroup: ")


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
async def test_an_error_while_it_is_left_is_logged(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    resource = Resource("HANDLER a:b", Manager(leaving=error))
    await resource.enter(5)

    await resource.leave()

    ((_, level, text),) = caplog.record_tuples
    assert level == logging.WARNING
    assert text.startswith("reclaim: HANDLER a:b raised an error when it was left: ")


async def test_one_that_hangs_while_it_is_left_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def hanging() -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    resource = Resource("HANDLER a:b", hanging)
    await resource.enter(5)

    await resource.leave(0.01)

    assert caplog.messages == ["reclaim: HANDLER a:b was not left within 0.01 s"]


async def test_what_it_starts_does_not_log_in_the_name_of_the_run_that_entered_it() -> None:
    names: list[object] = []

    @asynccontextmanager
    async def naming() -> AsyncIterator[None]:
        names.append(_run.get())
        yield

    resource = Resource("HANDLER a:b", naming)
    with run_under_way("s/g", "0123"):
        await resource.enter(5)
    await resource.leave()

    assert names == [None]
