"""Owns how many entries one script handles: fewer where the server is slow, so that it does not block for long (G7)."""

import math
from collections import deque

SCRIPT_SEC = (
    0.005  # what a script may take; half of what is promised, as the server's own time cannot be seen from here
)
LOOKS = 4  # the quickest of so many counts: what our loop or the network adds differs from time to time
WORTH_A_LOOK = 100  # entries; fewer tell nothing of what each one takes


class ScriptSize:
    """How many entries the next script may handle, learnt from how long exchanges of scripts took.

    The quickest exchange ever seen shows what the way there and back takes. What a larger one takes beyond that, it
    takes for its entries.

    Attributes:
        count: how many.
    """

    def __init__(self, most: int, least: int = 25) -> None:
        """Make it.

        Args:
            most: how many at most.
            least: how many at least, however slow the server is: a script of its own takes time too.
        """
        self.count = most
        self._most = most
        self._least = least
        self._quickest = (math.inf, 0)  # seconds, and entries
        self._lately: deque[float] = deque(maxlen=LOOKS)  # seconds for each entry

    @property
    def quickest_sec(self) -> float:
        """How long the quickest exchange took; infinite before the first one."""
        return self._quickest[0]

    def learn(self, entries: int, seconds: float) -> None:
        """Learn from an exchange whose scripts handled so many entries in all."""
        self._quickest = min(self._quickest, (seconds, entries))
        beyond_sec, more = seconds - self._quickest[0], entries - self._quickest[1]
        if more < WORTH_A_LOOK:
            return
        self._lately.append(beyond_sec / more)
        if len(self._lately) == LOOKS:
            fit = int(SCRIPT_SEC / max(min(self._lately), 1e-9))
            self.count = max(self._least, min(self._most, fit))
