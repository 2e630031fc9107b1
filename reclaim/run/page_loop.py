"""Owns the loop of a run: it claims page after page, the next one while others are in work."""

import asyncio
from collections import deque

from reclaim.run.claims import Page
from reclaim.run.limits import Ending, Halt
from reclaim.run.pages import Pages
from reclaim.run.report import Outcome
from reclaim.run.source import PageSource


class PageLoop:
    """Works through the pending list of one run."""

    def __init__(self, source: PageSource, pages: Pages, halt: Halt, most_beside: int) -> None:
        """Make it.

        Args:
            source: claims pages.
            pages: handles them.
            halt: says why nothing more is begun.
            most_beside: how many pages may be in work while the next one is claimed.
        """
        self._source = source
        self._pages = pages
        self._halt = halt
        self._most_beside = most_beside
        self._in_work: deque[asyncio.Task[None]] = deque()

    async def work_through(self, total: int) -> Ending:
        """Handle page after page, up to the end of the list or of the run; `total` entries are pending, about.

        Raises:
            Exception: the run is to fail; pages in work are cancelled, and what they had is to be given back.
        """
        try:
            while True:
                page = await self._next(total)
                beside = 0
                if page is not None and self._halt.ending() is None:
                    self._in_work.append(asyncio.create_task(self._pages.handle(page)))
                    beside = self._most_beside if self._source.may_claim_ahead_of(page) else 0
                await self._until_left(beside)
                ending = self._halt.ending()
                if ending is not None:
                    await self._until_left(0)
                    return ending
                if page is None and self._source.is_exhausted:
                    return Ending(Outcome.COMPLETED)
        finally:
            for task in self._in_work:
                task.cancel()
            await asyncio.gather(*self._in_work, return_exceptions=True)
            await self._source.close()

    async def _next(self, total: int) -> Page | None:
        """Claim the next page while other pages are in work. If the claim fails, these pages still come to their end.

        The result is None also if the run may begin nothing more and the claim is not done when these pages are.
        """
        if not self._in_work:
            return await self._source.next(total, ahead=False)
        claim = asyncio.create_task(self._source.next(total, ahead=True))
        try:
            await self._work_beside(claim)
            if not claim.done() and self._halt.ending() is not None:
                return None
            await asyncio.wait({claim})
        finally:
            claim.cancel()  # what it may have claimed is given back
            await asyncio.wait({claim})
        if claim.exception() is not None:
            await self._until_left(0)
            if self._halt.ending() is not None:
                return None
        return claim.result()

    async def _work_beside(self, claim: asyncio.Task[Page | None]) -> None:
        """Let pages come to their end until the claim is done or no page is left."""
        while self._in_work and not claim.done():
            await asyncio.wait({claim, self._in_work[0]}, return_when=asyncio.FIRST_COMPLETED)
            if self._in_work[0].done():
                await self._in_work.popleft()

    async def _until_left(self, most: int) -> None:
        """Let pages come to their end, one after another, until no more than so many are left."""
        while len(self._in_work) > most:
            await self._in_work.popleft()
