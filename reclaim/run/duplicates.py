"""Owns the line of the log that says which name a stored entry has more than once; one line for each run or replay."""

import logging
from collections.abc import Sequence

from reclaim.names import written

logger = logging.getLogger("reclaim")


class Duplicates:
    """Says for one run or replay that a hash has lost a value, because it has each name once."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._is_told = False

    def tell(self, names: Sequence[bytes]) -> None:
        """Log the first of these names, unless a name was logged before."""
        if names and not self._is_told:
            self._is_told = True
            logger.warning(
                "reclaim %s: entries have the field %.200s more than once; a hash keeps its last value only",
                self._target,
                written(names[0]),
            )
