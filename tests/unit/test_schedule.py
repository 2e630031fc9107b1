"""What a schedule means: which moments it chooses, the same as croniter's and Azure's, and how far apart they are."""

from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from croniter import croniter
from hypothesis import example, given
from hypothesis import strategies as st

from reclaim.errors import SettingsError
from reclaim.schedule import Schedule, longest_gap_sec
from reclaim.settings import Settings

DAY = datetime(2026, 11, 22, tzinfo=UTC)  # a Sunday
LEAST = {"REDIS_HOST": "cache.example.net", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}


# --- the longest gap -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        ("*/20 * * * * *", 2),
        ("* * * * * *", 1),
        ("5 * * * * *", 2),
        ("0,7,31 * * * * *", 2),
        ("*/7 * * * * *", 2),
        ("0 */5 * * * *", 2),
        ("30 2-58/8 * * * *", 2),
        ("0 10/15 * * * *", 2),
        ("0 0 * * * *", 48),
        ("0 */5 9-17 * * *", 48),
        ("0 0 3,15 * * *", 48),
        ("0 30 4 * * *", 72),
    ],
)
def test_it_is_the_longest_gap_between_croniters_ticks(schedule: str, hours: int) -> None:
    """After so many hours every one of these schedules begins again."""
    ticks = croniter(schedule, DAY - timedelta(seconds=1), second_at_beginning=True)
    times = []
    while not times or times[-1] <= DAY + timedelta(hours=hours):
        times.append(ticks.get_next(datetime))

    assert longest_gap_sec(schedule) == max((later - earlier).total_seconds() for earlier, later in pairwise(times))


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        ("0 0 9 * * MON-FRI", 3),
        ("0 0 0 1 * *", 31),
        ("0 0 0 31 * *", 61),
        ("0 0 0 * JAN *", 336),
        ("0 0 0 1 1 *", 366),
        ("0 0 0 29 2 *", 731),
        ("0 0 0 29 2 MON", 731),
    ],
)
def test_it_is_the_longest_gap_where_days_are_chosen_too(schedule: str, days: int) -> None:
    """A schedule that does not come twice in two years counts as one that comes every two years."""
    assert longest_gap_sec(schedule) == days * 86_400


def test_hours_of_chosen_days_count_from_the_last_to_the_first() -> None:
    assert longest_gap_sec("0 0 9-17 * * MON-FRI") == 3 * 86_400 - 8 * 3600


# --- the next tick ---------------------------------------------------------------------------------------------------


def some(least: int, most: int) -> st.SearchStrategy[str]:
    """A field that chooses everything, or up to four values."""
    values = st.lists(st.integers(least, most), min_size=2, max_size=4, unique=True)
    return st.just("*") | values.map(lambda chosen: ",".join(map(str, chosen)))


@given(
    st.tuples(some(0, 59), some(0, 59), some(0, 23), some(1, 28), some(1, 12), some(0, 6)).map(" ".join),
    st.integers(0, 8 * 366 * 86_400_000).map(lambda ms: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)),
)
@example("0 5 4 * * *", DAY + timedelta(hours=3, minutes=30))
@example("7 5 4 13 * 5", DAY + timedelta(hours=4, minutes=5, seconds=7))
def test_the_next_ticks_are_croniters(schedule: str, moment: datetime) -> None:
    """Whatever the moment, and with days that the month's field and the weekday's must both choose."""
    ticks = croniter(schedule, moment, second_at_beginning=True, day_or=False)

    for _ in range(3):
        moment = Schedule.of(schedule).next_after(moment)
        assert moment == ticks.get_next(datetime)


@pytest.mark.parametrize(
    ("moment", "tick"),
    [
        (DAY - timedelta(microseconds=1), DAY),
        (DAY, DAY + timedelta(seconds=20)),
        (DAY + timedelta(seconds=20, microseconds=1), DAY + timedelta(seconds=40)),
        (DAY + timedelta(hours=23, minutes=59, seconds=40), DAY + timedelta(days=1)),
    ],
)
def test_the_next_tick_is_after_the_moment(moment: datetime, tick: datetime) -> None:
    """Never the moment itself: a run would begin twice."""
    assert Schedule.of("*/20 * * * * *").next_after(moment) == tick


# --- what is a schedule ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "at", "values"),
    [
        ("*", 2, list(range(24))),
        ("5", 0, [5]),
        ("07", 0, [7]),
        ("5-5", 0, [5]),
        ("50/4", 1, [50, 54, 58]),
        ("*/99", 1, [0]),
        ("*/10", 3, [1, 11, 21, 31]),
        ("2-9/3,0,8", 0, [0, 2, 5, 8]),
        ("jan,FEBRUARY,Sept", 4, [1, 2, 9]),
        ("dec", 4, [12]),
        ("sun-sat", 5, list(range(7))),
        ("Mon-Friday/2", 5, [1, 3, 5]),
        ("wed/2", 5, [3, 5]),
    ],
)
def test_a_field_chooses_what_it_does_on_azure(field: str, at: int, values: list[int]) -> None:
    """By NCrontab's own code: a step without a range goes on to the field's end, and names may be written out."""
    fields = ["*"] * 6
    fields[at] = field

    assert astuple(Schedule.of(" ".join(fields)))[at] == tuple(values)


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ("*/20 * * * *", "it has 5 fields"),
        ("*/20 * * * *\t*", "it has 5 fields"),
        ("99 * * * * *", "second '99' is not from 0 to 59"),
        ("60 * * * * *", "second '60' is not from 0 to 59"),
        ("0 60 * * * *", "minute '60' is not from 0 to 59"),
        ("0 0 24 * * *", "hour '24' is not from 0 to 23"),
        ("0 0 0 0 * *", "day '0' is not from 1 to 31"),
        ("0 0 0 32 * *", "day '32' is not from 1 to 31"),
        ("0 0 0 * 0 *", "month '0' is not from 1 to 12"),
        ("0 0 0 * 13 *", "month '13' is not from 1 to 12"),
        ("0 0 0 * * 7", "weekday '7' is not from 0 to 6"),
        ("*/0 * * * * *", "second step '0' is not a number from 1 to 99"),
        ("*/ * * * * *", "second step '' is not a number from 1 to 99"),
        ("*/100 * * * * *", "second step '100' is not a number from 1 to 99"),
        ("30-10 * * * * *", "second range '30-10' descends"),
        ("0 0 0 * * sat-sun", "weekday range 'sat-sun' descends"),
        ("1,,2 * * * * *", "second '' is not a number from 0 to 59"),
        ("*-5 * * * * *", "second '*' is not a number from 0 to 59"),
        ("\u0665 * * * * *", "second '\u0665' is not a number from 0 to 59"),  # a five, in Arabic
        ("mon * * * * *", "second 'mon' is not a number from 0 to 59"),
        ("0 0 0 * * ja", "weekday 'ja' is not a number from 0 to 6 or a name as sun, sunday"),
        ("0 0 0 * ju *", "month 'ju' is not a number from 1 to 12 or a name as jan, january"),
        ("0 0 0 * * monkey", "weekday 'monkey' is not a number from 0 to 6 or a name as sun, sunday"),
        ("0 0 0 30 2 *", "it never comes: no month that is chosen has a day 30"),
        ("0 0 0 31 feb,april,jun,sep,nov *", "it never comes: no month that is chosen has a day 31"),
    ],
)
def test_a_schedule_that_azure_refuses_or_that_never_comes_is_refused_in_words(schedule: str, told: str) -> None:
    """Of the schedule itself, and of the setting."""
    with pytest.raises(ValueError, match=r".") as caught:
        Schedule.of(schedule)
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(LEAST | {"RECLAIM_SCHEDULE": schedule})

    assert str(caught.value) == told
    (problem,) = refused.value.problems
    assert problem.startswith(f"RECLAIM_SCHEDULE is {schedule!r}; allowed: six NCRONTAB fields")
    assert problem.endswith(f"({told})")


def test_an_empty_text_is_no_schedule() -> None:
    """Whoever reads settings takes the default instead."""
    with pytest.raises(ValueError, match=r"^it has 0 fields$"):
        Schedule.of("")


@pytest.mark.parametrize(
    ("schedule", "tick"),
    [
        ("0 30 9 * * monday", datetime(2026, 11, 23, 9, 30, tzinfo=UTC)),
        ("0 0 0 * January Thursday-Saturday", datetime(2027, 1, 1, tzinfo=UTC)),
        ("5-5 * * * * *", datetime(2026, 11, 22, 0, 0, 5, tzinfo=UTC)),
        ("0 0 0 31 * *", datetime(2026, 12, 31, tzinfo=UTC)),
        ("0 0 0 13 * fri", datetime(2027, 8, 13, tzinfo=UTC)),
        ("0 0 0 29 feb mon", datetime(2044, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_schedule_ticks_when_it_does_on_azure(schedule: str, tick: datetime) -> None:
    """With names written out, and with a rare day, which does come."""
    assert Schedule.of(schedule).next_after(DAY) == tick
