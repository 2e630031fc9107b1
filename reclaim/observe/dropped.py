"""Owns the account of telemetry that did not arrive."""

import logging

logger = logging.getLogger("reclaim")


class Dropped:
    """The count of items that did not arrive. The log says when this begins, and when telemetry arrives again.

    Attributes:
        count: items dropped since the last export that arrived whole; that export reported the earlier ones.
    """

    def __init__(self) -> None:
        self.count = 0
        self._in_trouble = False

    def add_one(self) -> None:
        """An item had to make room for a later one."""
        self.count += 1

    def add(self, count: int, why: str) -> None:
        """Items did not arrive."""
        self.count += count
        if not self._in_trouble:
            self._in_trouble = True
            logger.warning("reclaim: telemetry does not arrive, %d items are dropped: %s", count, why)

    def reported(self, count: int) -> None:
        """An export arrived whole, and has reported so many dropped items."""
        self.count -= count
        if self._in_trouble:
            self._in_trouble = False
            logger.info("reclaim: telemetry arrives again; %d items have been dropped", count)
