"""Owns the attempts: has a handler store a lane's entries, again while an error may pass and there is time."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from reclaim.errors import HandlerTimeout, OutOfTime
from reclaim.handlers import Handler, Keyed, Stored
from reclaim.lanes import again
from reclaim.retry import Deadline, Retries

logger = logging.getLogger("reclaim")


class Storing:
    """Stores lanes for one run (or one replay), until its deadline."""

    def __init__(
        self, handler: Handler, retries: Retries, until: Deadline, budget_sec: float, clock: Callable[[], float]
    ) -> None:
        self._handler = handler
        self._retries = retries
        self._until = until
        self._budget_sec = budget_sec
        self._clock = clock

    async def store(self, lane: Sequence[Keyed]) -> list[Stored]:
        """What came of each entry, after as many attempts as are allowed.

        A further attempt takes in everything of a key from its first entry that is not stored: what came after it may
        have been stored before it, and must be again (G3).
        """
        stored: list[Stored] = [OutOfTime("not tried")] * len(lane)
        left: Sequence[int] = range(len(lane))
        try:
            async for attempt in self._retries.until(self._until):
                with attempt:
                    outcomes = await self._attempt([lane[at] for at in left])
                    for at, outcome in zip(left, outcomes, strict=True):
                        stored[at] = outcome
                    left = again(lane, stored)
                    if left and isinstance(error := stored[left[0]], Exception):
                        raise error
        except Exception as exc:  # no attempts are left; `stored` says where each entry stands
            logger.debug("reclaim: gave up on %d entries: %s", len(left), exc)
        return stored

    async def _attempt(self, entries: Sequence[Keyed]) -> Sequence[Stored]:
        """Call the handler once, until the time is up at the latest."""
        began = self._clock()
        error: Exception
        try:
            async with asyncio.timeout(self._until.remaining_sec()) as limit:
                return await self._handler.store(entries)
        except TimeoutError as exc:
            error = self._timed_out(self._clock() - began) if limit.expired() else exc
        except Exception as exc:
            error = exc
        return [error] * len(entries)

    def _timed_out(self, seconds: float) -> Exception:
        """An entry that had half of the time to itself hangs; a shorter one was only begun too late."""
        if seconds >= self._budget_sec / 2:
            return HandlerTimeout(f"the handler had not finished after {seconds:.1f} s")
        return OutOfTime(f"the run's time was up {seconds:.1f} s after the entry was begun")
