"""Owns the attempts: has a handler store a lane's entries, again while an error may pass and there is time."""

import asyncio
import logging
from collections.abc import Sequence

from reclaim.errors import HandlerTimeout, OutOfTime
from reclaim.handlers import Handler, Keyed, Stored
from reclaim.lanes import again
from reclaim.retry import Deadline, Retries

logger = logging.getLogger("reclaim")


class Storing:
    """Stores lanes for one run (or one replay), until its deadline."""

    def __init__(self, handler: Handler, retries: Retries, until: Deadline, budget_sec: float) -> None:
        self._handler = handler
        self._retries = retries
        self._until = until
        self._budget_sec = budget_sec

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
        """Call the handler once. An entry that takes half of the whole time hangs; others are only begun too late."""
        left_sec, hangs_sec = self._until.remaining_sec(), self._budget_sec / 2
        error: Exception
        try:
            async with asyncio.timeout(min(left_sec, hangs_sec)) as limit:
                return await self._handler.store(entries)
        except TimeoutError as exc:
            if not limit.expired():
                error = exc
            elif hangs_sec <= left_sec:
                error = HandlerTimeout(f"the handler had not finished after {hangs_sec:g} s, half of the run's budget")
            else:
                error = OutOfTime(f"the run's time was up {left_sec:.1f} s after the entry was begun")
        except Exception as exc:
            error = exc
        return [error] * len(entries)
