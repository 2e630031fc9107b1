"""An attempt ends with an outcome for each entry, and leaves no error behind that nobody has asked for."""

import asyncio
import gc
import math
import time
from collections.abc import Sequence
from typing import Any

from reclaim.entry import Entry
from reclaim.errors import HandlerCancelled, Unreachable
from reclaim.handlers.outcomes import Failed, Handled, Handler, Keyed
from reclaim.retry import Retries
from reclaim.run.attempts import Storing
from reclaim.run.blocking import Blocking
from reclaim.run.rules import Rules
from reclaim.times import Deadline


async def _given_up_as_it_fails() -> bool:
    """A store that fails at the very moment when it is given up; say whether it was given up."""

    class Broken(Handler):
        at_once = True

        async def store(self, _: Sequence[Keyed]) -> list[Handled]:
            storing.cancel()
            raise Unreachable("no connection")

    until, retries = Deadline(60, time.monotonic), Retries(1, 0)
    attempts = Storing(Broken(), retries, Rules(3), until, math.inf, Blocking("s/g", "hash"))
    storing = asyncio.ensure_future(attempts.store([(b"a", Entry.of({"id": "1"}))]))
    await asyncio.wait({storing})
    return storing.cancelled()


async def test_a_store_may_fail_at_the_very_moment_when_it_is_given_up() -> None:
    """As it does when a network goes away under several pages: the first to fail has the others given up."""
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    assert await _given_up_as_it_fails()

    gc.collect()
    assert told == []


class _Short(Handler):
    """A handler that ends by itself, but for a cancellation from something that it waits for."""

    longest_sec = 1.0

    async def store(self, _: Sequence[Keyed]) -> list[Handled]:
        gone: asyncio.Future[list[Handled]] = asyncio.get_running_loop().create_future()
        gone.cancel()
        return await gone


async def test_a_cancellation_that_leaks_from_a_handler_which_ends_by_itself_fails_its_entry_alone() -> None:
    """Nobody has cancelled the run: without a task of its own the cancellation would reach the lanes, and end it."""
    until, retries = Deadline(60, time.monotonic), Retries(1, 0)
    attempts = Storing(_Short(), retries, Rules(3), until, 30, Blocking("s/g", "http"))

    (outcome,) = await attempts.store([(b"a", Entry.of({"id": "1"}))])

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, HandlerCancelled)
