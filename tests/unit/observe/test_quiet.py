"""Which runs telemetry is told of: all, but of quiet ones one in ten minutes, at whatever pace they come."""

import time
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from reclaim.observe.quiet import TELL_EVERY_SEC, QuietRuns, Told
from reclaim.run.report import Outcome, RunReport
from reclaim.run.tally import Tally
from reclaim.state.circuit import Change, Effect

QUIET = Tally("0123456789ab", "s/g", time.monotonic).report(Outcome.NOTHING_PENDING)
ALERTS_LOOK_BACK_SEC = timedelta(minutes=15).total_seconds()


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told_at(ticks: list[float], report: RunReport = QUIET) -> dict[float, int]:
    """When telemetry is told of a run that ends at each of these moments, and how many runs it stands for."""
    clock = Clock()
    quiet = QuietRuns(clock)
    told = {}
    for clock.now in ticks:
        for one in quiet.told_of(report):
            told[clock.now] = one.runs
    return told


@pytest.mark.parametrize("every_sec", [1, 20, 60, 300, 599, 601, 900])
def test_of_quiet_runs_one_in_ten_minutes_is_told(every_sec: int) -> None:
    """The first at once; each next one in ten minutes, or with the next run if that is later. Every run is counted."""
    ticks = [float(tick) for tick in range(0, 36_000, every_sec)]

    told = told_at(ticks)

    moments = list(told)
    gaps = [after - before for before, after in pairwise(moments)]
    assert moments[0] == 0
    assert max(gaps) == max(TELL_EVERY_SEC // every_sec * every_sec, every_sec)
    assert sum(told.values()) == ticks.index(moments[-1]) + 1
    assert max(gaps) <= max(TELL_EVERY_SEC, every_sec)
    assert TELL_EVERY_SEC + 4 * 60 <= ALERTS_LOOK_BACK_SEC, "with minutes to arrive in"


def test_ticks_that_are_a_little_late_bring_no_report_after_more_than_ten_minutes() -> None:
    """Ticks of five minutes: the second one would be too late by its own lateness."""
    assert list(told_at([0, 300.1, 600.3, 900.4])) == [0, 300.1, 600.3, 900.4]


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": Outcome.COMPLETED},
        {"outcome": Outcome.CIRCUIT_OPEN},
        {"outcome": Outcome.LEASE_HELD},
        {"outcome": Outcome.FAILED},
        {"circuit_changes": (Change(Effect.CLOSED),)},
        {"clock_went_back_ms": 5_000},
        {"consumers_removed": ("old",)},
        {"lost": 1},
        {"lost_at_most": 1},
    ],
    ids=str,
)
def test_a_run_with_something_to_tell_is_told_at_once(changes: dict[str, Any]) -> None:
    """With how many quiet runs there were before, told for themselves; and the next quiet run is told at once too."""
    clock = Clock()
    quiet = QuietRuns(clock)
    report = replace(QUIET, run_id="b", **changes)
    for _ in range(4):
        quiet.told_of(QUIET)
        clock.now += 20

    assert quiet.told_of(report) == (Told(QUIET, 3, is_late=True), Told(report))
    assert quiet.told_of(report) == (Told(report),)
    assert quiet.told_of(QUIET) == (Told(QUIET),)


def test_each_target_is_told_for_itself() -> None:
    quiet = QuietRuns(Clock())
    other = replace(QUIET, target="s2/g")

    assert [quiet.told_of(one) for one in (QUIET, QUIET, other, other)] == [(Told(QUIET),), (), (Told(other),), ()]


def test_what_did_not_arrive_is_told_by_the_next_run() -> None:
    """The runs that were kept back are not forgotten."""
    quiet = QuietRuns(Clock())
    for _ in range(3):
        quiet.told_of(QUIET)

    quiet.tell_next()

    assert quiet.told_of(QUIET) == (Told(QUIET, 3),)
    assert quiet.told_of(QUIET) == ()
