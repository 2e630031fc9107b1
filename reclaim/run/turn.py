"""Owns a page's turn: which of its entries it may begin while earlier pages come to their end."""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Self

from reclaim.handlers.outcomes import Keyed


class Turn:
    """A page's place behind the pages claimed before it.

    A page begins when the earlier pages have no entry left to begin; so no lane is idle. There are two exceptions. An
    entry whose order key an earlier page has too waits until that page is settled (G3). And while an earlier page has
    failures and is not settled, this page begins nothing, because the failures may open the circuit.

    Attributes:
        keys: the order keys of the page.
        has_failures: whether an entry of the page could not simply be stored.
        drained: set when nothing of the page is left to begin.
        ended: set when the page is settled.
    """

    def __init__(self, keyed: Sequence[Keyed], before: Sequence[Self]) -> None:
        self.keys = {key for key, _ in keyed}
        self.has_failures = False
        self.drained = asyncio.Event()
        self.ended = asyncio.Event()
        self._before = [turn for turn in before if not turn.ended.is_set()]
        self._left = len(keyed)
        self.begin(0)

    def shared_keys(self) -> AbstractSet[bytes]:
        """The order keys that pages before have too."""
        return set().union(*(self.keys & turn.keys for turn in self._before))

    def begin(self, count: int) -> None:
        """Note that so many of the page's entries are begun, or decided without being handled."""
        self._left -= count
        if not self._left:
            self.drained.set()

    async def comes(self) -> None:
        """Wait until the pages before have nothing left to begin."""
        for turn in self._before:
            await turn.drained.wait()

    @property
    def is_blocked(self) -> bool:
        """Whether a page before has failures, and the pages before are not settled yet."""
        is_behind = bool(self._before) and not self._before[-1].ended.is_set()
        return is_behind and any(turn.has_failures for turn in self._before)

    async def unblocked(self) -> None:
        """Wait until the pages before are settled."""
        if self._before:
            await self._before[-1].ended.wait()

    async def is_first(self) -> None:
        """Wait until the pages before are settled, and forget them: from now on nothing blocks this page."""
        await self.unblocked()
        self._before.clear()
