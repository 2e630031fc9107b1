"""What a schedule means: the same to Azure, to croniter, and to those who do not have croniter."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from croniter import croniter

from reclaim.cli import loop as watch
from reclaim.errors import SettingsError
from reclaim.schedule import chosen, in_numbers, longest_gap_sec

DAY = datetime(2026, 11, 22, tzinfo=UTC)  # a Sunday


def next_tick(schedule: str) -> datetime:
    """When `run --watch` would begin the first run after the day has begun."""
    tick: datetime = watch._ticks(schedule, DAY).get_next(datetime)
    return tick


@pytest.mark.parametrize(
    "schedule",
    [
        "*/20 * * * * *",
        "* * * * * *",
        "5 * * * * *",
        "0,7,31 * * * * *",
        "*/7 * * * * *",
        "0 */5 * * * *",
        "30 2-58/8 * * * *",
        "0 10/15 * * * *",
        "0 0 * * * *",
        "0 */5 9-17 * * *",
        "0 0 3,15 * * *",
        "0 30 4 * * *",
    ],
)
def test_it_is_the_longest_gap_that_croniter_finds_in_two_days(schedule: str) -> None:
    """The two agree on every form that this function takes apart."""
    ticks = croniter(schedule, DAY - timedelta(seconds=1), second_at_beginning=True)
    times = []
    while not times or times[-1] <= DAY + timedelta(days=2):
        times.append(ticks.get_next(datetime))

    assert longest_gap_sec(schedule) == max((later - earlier).total_seconds() for earlier, later in pairwise(times))


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        ("0 0 9 * * MON-FRI", 3),
        ("0 0 0 1 * *", 31),
        ("0 0 0 29 2 *", 4 * 365 + 1),
        ("0 0 0 29 2 MON", 28 * 365 + 7),
        ("0 0 0 * JAN *", 336),
    ],
)
def test_it_is_the_longest_gap_where_days_are_chosen_too(schedule: str, days: int) -> None:
    """Leap years and all."""
    assert longest_gap_sec(schedule) == days * 86_400


def test_hours_of_chosen_days_count_from_the_last_to_the_first() -> None:
    assert longest_gap_sec("0 0 9-17 * * MON-FRI") == 3 * 86_400 - 8 * 3600


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

    assert chosen(" ".join(fields))[at] == values


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ("", "it has 0 fields"),
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
def test_what_azure_or_croniter_would_refuse_or_never_do_is_refused_in_words(schedule: str, told: str) -> None:
    """Whatever both would not take for the same; `run --watch` says the same in the form of a bad setting."""
    with pytest.raises(ValueError, match=r".") as caught:
        chosen(schedule)
    with pytest.raises(SettingsError) as refused:
        watch._ticks(schedule, DAY)

    assert str(caught.value) == told
    (problem,) = refused.value.problems
    assert problem.startswith(f"RECLAIM_SCHEDULE is {schedule!r}; allowed: six NCRONTAB fields")
    assert problem.endswith(f"({told})")


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
def test_watching_makes_of_a_schedule_what_azure_does(schedule: str, tick: datetime) -> None:
    """With names written out, which croniter does not know, and with a rare day, which does come."""
    assert next_tick(schedule) == tick


def test_croniter_is_given_numbers() -> None:
    """And asterisks where a field chooses everything."""
    assert in_numbers("*/20 0-59 8-10 1/15 JANUARY,mar sun-sat") == "0,20,40 * 8,9,10 1,16,31 1,3 *"
