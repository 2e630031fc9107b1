"""Owns times: deadlines on a monotonic clock, and moments as ISO 8601 text."""

from collections.abc import Callable
from datetime import UTC, datetime


class Deadline:
    """A moment on a monotonic clock by which something must have ended."""

    def __init__(self, budget_sec: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.at = clock() + budget_sec

    def remaining_sec(self) -> float:
        """Seconds left; never below zero."""
        return max(0.0, self.at - self._clock())

    def passed(self) -> bool:
        """Whether the moment has come."""
        return self._clock() >= self.at


def moment(unix_ms: int) -> str:
    """A time in milliseconds since 1970 as ISO 8601, UTC."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds")
