"""Owns what a schedule means where croniter is not: which moments its six NCRONTAB fields choose, and how far apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from itertools import pairwise

FORM = "six NCRONTAB fields (second minute hour day month weekday), as in */20 * * * * *"
DAY_SEC = 86_400


@cache
def longest_gap_sec(schedule: str) -> int:
    """The longest time between two ticks of six NCRONTAB fields, in UTC: what waits for much longer has been forgotten.

    (https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions)

    Raises:
        ValueError: as `chosen` does.
    """
    seconds, minutes, hours, days, months, weekdays = chosen(schedule)
    times = [hour * 3600 + minute * 60 + second for hour in hours for minute in minutes for second in seconds]
    some_years = (date(2024, 1, 1) + timedelta(at) for at in range(60 * 366))  # two 29 February of each weekday
    chosen_days = [
        one for one in some_years if one.month in months and one.day in days and one.isoweekday() % 7 in weekdays
    ]
    from_day_to_day = max(later - earlier for earlier, later in pairwise(chosen_days)).days * DAY_SEC
    within_days = [later - earlier for earlier, later in pairwise(times)]
    return max(*within_days, times[0] + from_day_to_day - times[-1], 0)


def chosen(schedule: str) -> list[list[int]]:
    """The values that each of the six fields chooses, in ascending order.

    Fields, ranges and names are NCrontab's, which Azure Functions reads schedules with (CrontabSchedule.cs,
    CrontabFieldImpl.cs and CrontabField.cs in https://github.com/atifaziz/NCrontab): fields are parted by spaces,
    Sunday is 0 and never 7, and a name is the beginning of an English one. What it reads otherwise than one would
    guess is refused: it turns a descending range round, takes a step of 0 for 1, and ``j`` for January.

    Raises:
        ValueError: it is no such schedule, or one that never comes; the message says what is wrong.
    """
    fields = [field for field in schedule.split(" ") if field]
    if len(fields) != len(_KINDS):
        raise ValueError(f"it has {len(fields)} fields")
    values = [kind.values(field) for kind, field in zip(_KINDS, fields, strict=True)]
    _, _, _, days, months, _ = values
    if all(days[0] > _DAYS[month - 1] for month in months):
        raise ValueError(f"it never comes: no month that is chosen has a day {days[0]}")
    return values


def in_numbers(schedule: str) -> str:
    """The same schedule for croniter, which knows no full names and takes the range ``5-5`` for ``*``.

    Raises:
        ValueError: as `chosen` does.
    """
    fields = zip(_KINDS, chosen(schedule), strict=True)
    return " ".join("*" if values == kind.all else ",".join(map(str, values)) for kind, values in fields)


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the six fields: its name, its least and greatest value, and the names of the values from the least on."""

    name: str
    least: int
    most: int
    names: Sequence[str] = ()

    @property
    def all(self) -> list[int]:
        return list(range(self.least, self.most + 1))

    def values(self, field: str) -> list[int]:
        """What a field chooses: ``*``, ``a``, ``a-b``, each also with ``/step``, and lists of them."""
        return sorted({value for part in field.split(",") for value in self._part(part)})

    def _part(self, part: str) -> range:
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = self.least, self.most
        else:
            low = self._value(first)
            high = self._value(last) if dash else self.most if slash else low
        if low > high:
            raise ValueError(f"{self.name} range {span!r} descends")
        return range(low, high + 1, self._step(step) if slash else 1)

    def _value(self, text: str) -> int:
        value = int(text) if _is_number(text) else self._named(text)
        if not self.least <= value <= self.most:
            raise ValueError(f"{self.name} {text!r} is not from {self.least} to {self.most}")
        return value

    def _named(self, text: str) -> int:
        """The value with a name that begins so; three letters are enough for every one, and fewer are not."""
        for value, name in enumerate(self.names, self.least):
            if len(text) >= 3 and name.startswith(text.lower()):
                return value
        names = f" or a name as {self.names[0][:3]}, {self.names[0]}" if self.names else ""
        raise ValueError(f"{self.name} {text!r} is not a number from {self.least} to {self.most}{names}")

    def _step(self, text: str) -> int:
        if not _is_number(text) or not int(text):
            raise ValueError(f"{self.name} step {text!r} is not a number from 1 to 99")
        return int(text)


def _is_number(text: str) -> bool:
    return len(text) <= 2 and text.isascii() and text.isdecimal()


_MONTHS = "january february march april may june july august september october november december"
_WEEKDAYS = "sunday monday tuesday wednesday thursday friday saturday"
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # that a month may have
_KINDS = (
    _Kind("second", 0, 59),
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day", 1, 31),
    _Kind("month", 1, 12, _MONTHS.split()),
    _Kind("weekday", 0, 6, _WEEKDAYS.split()),
)
