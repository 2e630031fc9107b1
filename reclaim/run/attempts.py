"""Owns the attempts: has a handler store a lane's entries, again while an error may pass and there is time."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial
from typing import Any

from reclaim import left_behind
from reclaim.counted import many
from reclaim.entry import Entry
from reclaim.errors import HandlerCancelled, OutOfTime, describe
from reclaim.handlers.outcomes import STORED, Failed, Handled, Handler, Keyed
from reclaim.retry import Retries
from reclaim.run.blocking import Blocking
from reclaim.run.decisions import again
from reclaim.run.rules import Rules
from reclaim.times import Deadline
from reclaim.verdicts import Verdict

logger = logging.getLogger("reclaim")

STOP_SEC = 1.0  # how long a handler may take to be cancelled


Taken = Callable[[], Awaitable[AbstractSet[bytes]]]  # the IDs of entries that somebody else has taken meanwhile


class _TakenMeanwhile(Exception):  # it ends the attempts, and nobody sees it
    """Somebody else has taken entries that were to be tried again."""


async def _none() -> AbstractSet[bytes]:
    return frozenset()


class Storing:
    """Stores lanes for one run (or one replay), until its deadline."""

    def __init__(
        self,
        handler: Handler,
        retries: Retries,
        rules: Rules,
        until: Deadline,
        hangs_sec: float,
        blocking: Blocking,
        stop_sec: float = STOP_SEC,
        of: tuple[str, str] = ("", ""),
    ) -> None:
        """Make it.

        Args:
            handler: stores the entries.
            retries: how often and how patiently.
            rules: say whether an error may pass.
            until: nothing is begun or waited for after it.
            hangs_sec: a function that has taken so long hangs; what is sent to Redis has a time limit of its own.
            blocking: is told where it blocks the event loop.
            stop_sec: how long it may take to be cancelled.
            of: the stream and the group that the entries are of.
        """
        self._handler = handler
        self._retries = replace(retries, own=rules.own)
        self._rules = rules
        self._until = until
        self._hangs_sec = math.inf if handler.at_once else hangs_sec
        self._blocking = blocking
        self._stop_sec = stop_sec
        self._of = of

    async def store(self, lane: Sequence[Keyed], taken: Taken = _none) -> list[Handled]:
        """What came of each entry, after as many attempts as are allowed.

        A further attempt takes in everything of a key from its first entry that is not stored: what came after it may
        have been stored before it, and must be again (G3). None is made once somebody else has `taken` any of them: it
        could store an old entry over a new one.
        """
        stored = await self._tried(lane, taken)
        left = again(lane, stored, self._rules)

        async def attempt() -> None:
            nonlocal left
            if not (await taken()).isdisjoint(lane[at][1].id for at in left):
                raise _TakenMeanwhile
            outcomes = await self._tried([lane[at] for at in left], taken)
            for at, outcome in zip(left, outcomes, strict=True):
                stored[at] = outcome
            left = again(lane, stored, self._rules)
            if left and isinstance(first := stored[left[0]], Failed):
                raise first.error

        if left and isinstance(first := stored[left[0]], Failed):
            try:
                await self._retries.again(self._until, first.error, attempt)
            except Exception as exc:  # noqa: BLE001  # no attempts are left; `stored` says where each entry stands
                logger.debug("reclaim: gave up on %s: %s", many(len(left), "entry"), describe(exc))
        return stored

    async def _tried(self, entries: Sequence[Keyed], taken: Taken) -> list[Handled]:
        """One attempt. If a batch fails as a whole, and not for an outage, each of its entries is tried alone (G4)."""
        if self._ends_by_itself(len(entries)):  # nothing has to watch it, which costs a task and a timer
            return await self._unwatched(entries)
        outcomes = list(await self._attempt(entries))
        if outcomes.count(STORED) == len(outcomes):  # nearly always
            return outcomes
        for at, outcome in enumerate(outcomes):
            if self._is_shared(outcome) and entries[at][1].id not in await taken():
                (outcomes[at],) = await self._attempt([entries[at]])
        return outcomes

    async def _unwatched(self, entries: Sequence[Keyed]) -> list[Handled]:
        try:
            return await self._handler.store(entries)
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            error = HandlerCancelled(f"the handler was cancelled by something it waited for: {exc!r}")
            return [Failed(error.with_traceback(exc.__traceback__))] * len(entries)

    def _ends_by_itself(self, count: int) -> bool:
        """Whether the handler sees to it that it ends in time."""
        longest_sec = count * self._handler.longest_sec
        return longest_sec <= self._hangs_sec and longest_sec <= self._until.remaining_sec()

    def _is_shared(self, outcome: Handled) -> bool:
        if not isinstance(outcome, Failed) or not outcome.is_shared:
            return False
        return self._rules.verdict(outcome.error) in {Verdict.FAIL, Verdict.PARK}

    async def _attempt(self, entries: Sequence[Keyed]) -> Sequence[Handled]:
        """Call the handler once. If it does not end in time, either it hangs, or it was begun too late."""
        left_sec = self._until.remaining_sec()
        is_shared = len(entries) > 1 and not self._handler.at_once
        hangs_sec = (
            self._hangs_sec / 2 if is_shared else self._hangs_sec
        )  # then there is time to try each of them alone
        if left_sec <= 0:
            return [Failed(OutOfTime("the run's time was up before the entry was begun"))] * len(entries)
        task = asyncio.ensure_future(self._storing(entries))
        try:
            if await _ends_within(min(left_sec, hangs_sec), task):
                if task.cancelled():  # not by us
                    return [Failed(HandlerCancelled("the handler cancelled its own task"), is_shared)] * len(entries)
                return task.result()
        except Exception as exc:  # noqa: BLE001  # a handler may raise anything; classify() gives the verdict
            return [Failed(exc)] * len(entries)
        finally:
            if task.done():
                _asked_for(task)  # it may have failed at the very moment when we were cancelled
            else:
                await _stop(task, self._stop_sec)
        if hangs_sec <= left_sec:
            return [Failed(self._handler.hung(hangs_sec), is_shared)] * len(entries)
        return [Failed(OutOfTime(f"the run's time was up {left_sec:.1f} s after the entry was begun"))] * len(entries)

    def _storing(self, entries: Sequence[Keyed]) -> Awaitable[Sequence[Handled]]:
        """The handler's work. What is sent to Redis at once does not block the loop, and is not worth a watch."""
        if self._handler.at_once or not entries:
            return self._handler.store(entries)
        entries = [(key, self._as_given(entry)) for key, entry in entries]
        return self._blocking.watched(partial(self._handler.store, entries), entries[0][1])

    def _as_given(self, entry: Entry) -> Entry:
        """The entry as a handler of the user's gets it."""
        return Entry(*entry[:5], *self._of, self._rules.is_last(entry))


async def _ends_within(seconds: float, task: "asyncio.Future[Any]") -> bool:
    """Whether a task ends in time: what asyncio.wait says of one task, at half the cost. It is left alone if not."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    timer = loop.call_later(seconds, wake)
    task.add_done_callback(wake)
    try:
        await over
    finally:
        timer.cancel()
        task.remove_done_callback(wake)
    return task.done()


async def _stop(task: "asyncio.Future[Any]", seconds: float) -> None:
    """Cancel a task and wait for its end, but not longer than `seconds`: then the run goes on without it."""
    left_behind.note()  # what it waits for may go on, such as a thread
    task.add_done_callback(_asked_for)
    task.cancel()
    await asyncio.wait({task}, timeout=seconds)


def _asked_for(task: "asyncio.Future[Any]") -> None:
    """Ask for the error of a task that has ended, as nobody else does: or asyncio would log it as never retrieved."""
    if not task.cancelled():
        task.exception()
