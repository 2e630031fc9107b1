"""Owns the pace: how many entries a page has, by how large and how slow those before were."""

from collections.abc import Sequence
from itertools import chain

from reclaim.entry import Entry

PAGE_BYTES = 4 * 2**20  # what the bodies of one page may come to
PAGE_SEC = 2.0  # what handling one page may take, if that is well below the idle time after which others claim
LEAST_PAGE_SEC = 0.05
FIRST_PAGE = 20  # entries claimed while nothing is known of them
GROWTH = 25  # of entries stored at once: a quick page's time is mostly that of round trips and of other runs


class Pace:
    """How many entries the next page may have: few while nothing is known, then as many as are light and quick."""

    def __init__(self, page_size: int, first: int, min_idle_ms: int, growth: int = 1) -> None:
        """Make it.

        Args:
            page_size: the most entries that a page may have.
            first: how many the first may have.
            min_idle_ms: after which others may claim what a page holds.
            growth: after a quick page the next may have so many times as many, whatever its time says of each entry.
        """
        self._page_size = page_size
        self._growth = growth
        self._page_sec = min(PAGE_SEC, max(min_idle_ms / 4000, LEAST_PAGE_SEC))
        self.count = min(page_size, first)
        self.is_quick = False  # until a page was handled in the time it may take

    def saw(self, entries: Sequence[Entry], seconds: float) -> None:
        """Learn from a page that was handled."""
        if not entries:
            return
        size = sum(map(len, chain.from_iterable(entry.fields for entry in entries)))
        by_size = PAGE_BYTES * len(entries) // max(size, 1)
        by_time = int(self._page_sec * len(entries) / max(seconds, 1e-6))
        self.is_quick = seconds <= self._page_sec
        if self.is_quick:
            by_time = max(by_time, self._growth * len(entries))
        self.count = max(1, min(self._page_size, by_size, by_time))
