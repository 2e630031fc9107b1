"""The longest time between two ticks of a schedule, for those who do not have croniter."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from croniter import croniter

from reclaim.schedule import WEEK_SEC, longest_gap_sec

DAY = datetime(2026, 11, 22, tzinfo=UTC)


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
    "schedule",
    ["0 0 9 * * MON-FRI", "0 0 0 1 * *", "0 0 0 * JAN *", "61 a * * * *", "0 0 25-24 * * *", "", "*/0 * * * * *"],
)
def test_what_chooses_days_or_is_not_understood_is_taken_for_a_week(schedule: str) -> None:
    """A bound that is too long only warns later; it must not cry wolf, and not raise."""
    assert longest_gap_sec(schedule) == WEEK_SEC
