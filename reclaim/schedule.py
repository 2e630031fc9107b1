"""Owns what has to be known of a schedule where croniter is not: the longest time between two of its ticks."""

from functools import cache
from itertools import pairwise

DAY_SEC, WEEK_SEC = 86_400, 604_800


@cache
def longest_gap_sec(schedule: str) -> int:
    """The longest time between two ticks of six NCRONTAB fields; a week where days, months or weekdays are chosen.

    It is an upper bound: what waits for longer than a few of these has been forgotten.
    (https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions)
    """
    fields = schedule.split()
    try:
        seconds, minutes, hours = (_values(field, size) for field, size in zip(fields, (60, 60, 24), strict=False))
        if any(field not in {"*", "?"} for field in fields[3:]):
            return WEEK_SEC
        times = [hour * 3600 + minute * 60 + second for hour in hours for minute in minutes for second in seconds]
        return max(later - earlier for earlier, later in pairwise([*times, times[0] + DAY_SEC]))
    except (ValueError, IndexError):  # a form that is not known here
        return WEEK_SEC


def _values(field: str, size: int) -> list[int]:
    """The values that a field stands for: ``*``, ``a``, ``a-b``, each also with ``/step``, and lists of them."""
    values: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            bounds = range(size)
        elif last or not step:
            bounds = range(int(first), int(last or first) + 1)
        else:
            bounds = range(int(first), size)
        values.update(bounds[:: int(step or 1)])
    return sorted(values)
