"""Owns times: deadlines on a monotonic clock, and moments as ISO 8601 text."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_DAY = (
    r"[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|[12][0-9]))"
)
_ZONE = r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?"
_TIME = rf"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{{1,3}})?)?{_ZONE}"
# What a person may say for a moment, between ^ and $: a day, a time of a day, or how long ago.
MOMENT = rf"({_DAY}(T{_TIME})?|[0-9]{{1,5}}[smhd])"
MOMENT_ALLOWED = "a moment as 2026-01-31T09:30:00Z (UTC if no zone is said), a day as 2026-01-31, or 90m, 2h or 3d ago"
_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


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


def said_moment(text: str, now_ms: int) -> int:
    """A moment that a person has said (`MOMENT`), in Unix ms.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(MOMENT, text):
        raise ValueError(f"{text[:40]!r} is no moment; allowed: {MOMENT_ALLOWED}")
    if text[-1] in _UNITS:
        return now_ms - int(text[:-1]) * _UNITS[text[-1]]
    day, _, time = text.partition("T")
    year, month, of_month = map(int, day.split("-"))
    clock = re.sub(r"[Z+-].*", "", time)
    zone = time.removeprefix(clock)
    hours, minutes, seconds = (*map(float, clock.split(":")), 0.0, 0.0)[:3] if clock else (0.0, 0.0, 0.0)
    whole = datetime(year, month, 1, tzinfo=UTC) + timedelta(of_month - 1, seconds, hours=hours, minutes=minutes)
    if zone not in {"", "Z"}:
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
        whole += offset if zone[0] == "-" else -offset
    return round(whole.timestamp() * 1000)
