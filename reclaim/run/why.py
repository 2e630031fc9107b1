"""Owns why entries were not stored: counts the reasons, and logs each distinct error once, with its traceback."""

import logging

from reclaim.bounded import NAME_CHARS, shortened
from reclaim.entry import Entry, readable
from reclaim.errors import describe
from reclaim.reasons import Reasons
from reclaim.run.decisions import Decision
from reclaim.tracebacks import of_user
from reclaim.verdicts import Verdict

logger = logging.getLogger("reclaim")


class Why:
    """Why entries of one run were not stored.

    Attributes:
        reasons: of all entries that were not stored.
        parked: of those that became dead letters.
    """

    def __init__(self, target: str) -> None:
        self.reasons = Reasons()
        self.parked = Reasons()
        self._target = shortened(target, NAME_CHARS)

    def add(self, decision: Decision) -> None:
        """Count an entry that is not done. Where the user's code raised, the first error of its kind is logged."""
        is_new = self.reasons.add(decision.reason)
        if decision.verdict is Verdict.PARK:
            self.parked.add(decision.reason)
        if is_new and decision.error is not None:
            self._log(decision.entry, decision.error)

    def _log(self, entry: Entry, error: Exception) -> None:
        frames = of_user(error)
        if frames is not None:
            exc_info = (type(error), error, frames)
            logger.warning(
                "reclaim %s: entry %s: %s", self._target, readable(entry.id), describe(error), exc_info=exc_info
            )
