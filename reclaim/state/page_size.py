"""Owns the page size: how many entries the next page has, learnt from how large and how slow the last page was."""

from reclaim.state.bodies import PAGE_BYTES

PAGE_SEC = 2.0  # the most that handling one page is to take, if the idle time after which others claim allows so much
LEAST_PAGE_SEC = 0.05
FIRST_PAGE = 20  # the size of a first page, while we know nothing about how long entries take
GROWTH = 25  # if one call stores many entries: then most of a short page's time is round trips, and waiting for others
SHORT = 0.1  # of the time that a page may take: a longer one may be long for its entries' sake


class PageSize:
    """How many entries the next page may have.

    The first page is small, because nothing is known yet. Each page after it has as many entries as would come to
    PAGE_BYTES, and take no longer than a page may, if they were like the entries of the last page.

    Attributes:
        count: how many entries the next page may have.
        is_quick: whether the last page was handled in the time that a page may take; False before the first one.
    """

    def __init__(self, most: int, first: int, min_idle_ms: int, growth: int = 1) -> None:
        """Make it.

        Args:
            most: the most entries that a page may have.
            first: how many the first page may have.
            min_idle_ms: the idle time after which others may claim the entries of a page; handling it takes a quarter
                of that at most.
            growth: after a page that took a tenth of that, or less, the next one may have `growth` times as many
                entries, even if its time says fewer.
        """
        self._most = most
        self._growth = growth
        self._page_sec = min(PAGE_SEC, max(min_idle_ms / 4000, LEAST_PAGE_SEC))
        self.count = min(most, first)
        self.is_quick = False

    def learn(self, count: int, weight: float, seconds: float) -> None:
        """Learn from a page of so many entries, of so many bytes each on average, that took so many seconds."""
        if not count:
            return
        by_size = int(PAGE_BYTES / max(weight, 1))
        by_time = int(self._page_sec * count / max(seconds, 1e-6))
        self.is_quick = seconds <= self._page_sec
        if seconds <= SHORT * self._page_sec:
            by_time = max(by_time, self._growth * count)
        self.count = max(1, min(self._most, by_size, by_time))
