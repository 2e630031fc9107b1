"""Owns the schedule: which moments six NCRONTAB fields choose, and the longest time between two of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TWO_YEARS = 731  # days, with a 29 February among them


@cache
def longest_gap_sec(schedule: str) -> int:
    """The longest time between two ticks of a schedule, in UTC. If a timer is silent for much longer, it does not run.

    A schedule that chooses fewer than two days in two years counts as one that ticks every two years.

    Raises:
        ValueError: as `Schedule.of` does.
    """
    chosen = Schedule.of(schedule)
    times = [hour * 3600 + minute * 60 + second for hour in chosen.hours for minute in chosen.minutes
             for second in chosen.seconds]  # fmt: skip
    longest_within_a_day = max((later - earlier for earlier, later in pairwise(times)), default=0)
    two_years = (date(2024, 1, 1) + at * DAY for at in range(TWO_YEARS))
    days = [day for day in two_years if chosen.has(day)]
    longest_between_days = max((later - earlier for earlier, later in pairwise(days)), default=TWO_YEARS * DAY)
    over_night = times[0] + round(longest_between_days.total_seconds()) - times[-1]  # from a last tick to a first one
    return max(longest_within_a_day, over_night)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The values that each of the six fields chooses, in ascending order.

    The schedule ticks on a day if its three fields (day, month, weekday) all choose that day.

    Azure Functions reads schedules with NCrontab, so we take fields, ranges and names as NCrontab does: spaces
    separate the fields, Sunday is 0 and never 7, and a name may be cut to its first letters. See
    https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions, and
    CrontabSchedule.cs, CrontabFieldImpl.cs and CrontabField.cs in https://github.com/atifaziz/NCrontab.

    NCrontab also accepts some texts that do not mean what they seem to: it reverses a descending range, takes a step
    of 0 for 1, and ``j`` for January. We refuse such texts.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> "Schedule":
        """The schedule that six fields describe.

        Raises:
            ValueError: the text is no such schedule, or its day never comes; the message says what is wrong.
        """
        fields = [field for field in text.split(" ") if field]
        if len(fields) != len(_FIELDS):
            raise ValueError(f"it has {len(fields)} fields")
        schedule = cls(*(field.values(part) for field, part in zip(_FIELDS, fields, strict=True)))
        if all(schedule.days[0] > _DAYS[month - 1] for month in schedule.months):
            raise ValueError(f"it never comes: no month that is chosen has a day {schedule.days[0]}")
        return schedule

    def has(self, day: date) -> bool:
        """Whether the schedule ticks on this day."""
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def next_after(self, moment: datetime) -> datetime:
        """The first tick after a moment in UTC."""
        tick = moment.replace(microsecond=0) + SECOND
        while True:
            if not self.has(tick):
                tick = tick.replace(hour=0, minute=0, second=0) + DAY
            elif tick.hour not in self.hours:
                tick = tick.replace(minute=0, second=0) + HOUR
            elif tick.minute not in self.minutes:
                tick = tick.replace(second=0) + MINUTE
            elif tick.second not in self.seconds:
                tick += SECOND
            else:
                return tick


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the six fields: its name, its least and greatest value, and the values' own names, from the least on."""

    name: str
    least: int
    most: int
    names: Sequence[str] = ()

    def values(self, text: str) -> tuple[int, ...]:
        """The values that a field chooses. It may be ``*``, ``a`` or ``a-b``, each also with ``/step``, or a list."""
        return tuple(sorted({value for part in text.split(",") for value in self._part(part)}))

    def _part(self, part: str) -> range:
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = self.least, self.most
        else:
            low = self._value(first)
            high_if_alone = self.most if slash else low
            high = self._value(last) if dash else high_if_alone
        if low > high:
            raise ValueError(f"{self.name} range {span!r} descends")
        return range(low, high + 1, self._step(step) if slash else 1)

    def _value(self, text: str) -> int:
        value = int(text) if _is_number(text) else self._named(text)
        if not self.least <= value <= self.most:
            raise ValueError(f"{self.name} {text!r} is not from {self.least} to {self.most}")
        return value

    def _named(self, text: str) -> int:
        """The value whose name begins with this text, of three letters at least: two could mean several names."""
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
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # the most days that each month may have
_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS.split()),
    _Field("weekday", 0, 6, _WEEKDAYS.split()),
)
