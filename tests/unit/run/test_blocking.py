"""A handler's steps are timed without a difference to what it sees: values, errors, cancelling and closing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from reclaim.entry import Entry
from reclaim.run.blocking import Blocking

ENTRY = Entry(b"7-0", ())


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


def watched(work: Callable[[], Coroutine[Any, Any, Any]]) -> Awaitable[Any]:
    return Blocking("s/g", "app:handle").watched(work, ENTRY)


async def test_what_the_handler_returns_and_raises_comes_through() -> None:
    async def returns() -> str:
        await asyncio.sleep(0)
        return await asyncio.wait_for(asyncio.sleep(0, "told"), 5)

    async def raises() -> None:
        await asyncio.sleep(0)
        raise KeyError("sku")

    assert await watched(returns) == "told"
    with pytest.raises(KeyError, match="sku"):
        await watched(raises)


async def test_a_handler_that_is_cancelled_sees_it_and_may_clean_up() -> None:
    seen: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("cleaned up")
            raise

    task = asyncio.ensure_future(watched(waits))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert (task.cancelled(), seen) == (True, ["cleaned up"])


async def test_a_handler_whose_time_is_up_may_answer_all_the_same() -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "all the same"

    task = asyncio.ensure_future(watched(stubborn))
    await asyncio.sleep(0)
    task.cancel()

    assert await task == "all the same"


async def test_one_that_is_cancelled_before_its_first_step_is_never_begun() -> None:
    begun = count()

    async def work() -> None:
        next(begun)

    task = asyncio.ensure_future(watched(work))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert next(begun) == 0


def test_one_that_is_closed_is_closed_within() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await Suspended()
        finally:
            seen.append("closed")

    steps: Iterator[Any] = iter(watched(work).__await__())
    next(steps)
    assert isinstance(steps, Generator)
    steps.close()

    assert seen == ["closed"]


class Suspended:
    def __await__(self) -> Generator[str, None, None]:
        yield "waiting"


async def test_the_longest_step_is_told_and_the_first_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    blocking = Blocking("s/g", "app:handle", clock)
    assert str(blocking) == ""

    async def handle(*seconds: float) -> None:
        for some in seconds:
            clock.forward(some)
            await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING):
        await blocking.watched(lambda: handle(1.0, 0.9, 1.0), ENTRY)
        assert str(blocking) == ""
        await blocking.watched(lambda: handle(1.5), ENTRY)
        assert str(blocking) == "HANDLER app:handle blocked the event loop for 1.5 s"
        await blocking.watched(lambda: handle(0.1, 4.25, 2.0), ENTRY)

    assert str(blocking) == "HANDLER app:handle blocked the event loop 3 times, for up to 4.2 s"
    (record,) = caplog.records
    assert record.getMessage() == (
        "reclaim s/g: HANDLER app:handle blocked the event loop for 1.5 s with entry 7-0, and nothing else went on"
        " meanwhile: await what takes long, or give it to asyncio.to_thread"
    )
