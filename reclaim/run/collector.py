"""Owns how often Python looks for garbage in cycles while runs are under way (docs/why.md)."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

OBJECTS_BEFORE_A_LOOK = 10_000


class _Threshold:
    """The collector's first threshold. Runs in several threads share it, as the process has one collector."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs = 0
        self._before = 0

    def begin(self) -> None:
        """Raise it for the first run. What somebody has set higher, or switched off with 0, stays."""
        with self._lock:
            if self._runs == 0:
                self._before, *others = gc.get_threshold()
                if 0 < self._before < OBJECTS_BEFORE_A_LOOK:
                    gc.set_threshold(OBJECTS_BEFORE_A_LOOK, *others)
            self._runs += 1

    def end(self) -> None:
        """Set it back after the last run, unless somebody has set another one meanwhile."""
        with self._lock:
            self._runs -= 1
            first, *others = gc.get_threshold()
            if self._runs == 0 and first == OBJECTS_BEFORE_A_LOOK:
                gc.set_threshold(self._before, *others)


_threshold = _Threshold()


@contextmanager
def collecting_less_often() -> Iterator[None]:
    """Let Python look for garbage after 10,000 new objects instead of 700, in the block.

    An entry in work is some fifty objects, and many are in work at once: all those that wait for an answer would be
    looked through again and again, though hardly any are in cycles.
    """
    _threshold.begin()
    try:
        yield
    finally:
        _threshold.end()
