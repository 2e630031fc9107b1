"""Owns the choice of the runs that telemetry is told of: all of them, but of quiet ones only one in ten minutes.

A run is quiet if it found nothing pending and has nothing else to tell. An idle target has one every 20 s, and each
would cost as much as a run that worked. Alerts look back 15 minutes, so one in ten minutes is enough for them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from reclaim.run.report import Outcome, RunReport

TELL_EVERY_SEC = 600.0


@dataclass(frozen=True, slots=True)
class Told:
    """A run that telemetry is told of.

    Attributes:
        report: of the run.
        runs: how many runs it stands for: itself, and the quiet ones before it that were kept back.
        is_late: it was kept back, and is told because of what came after it. How its target stood then nobody knows.
    """

    report: RunReport
    runs: int = 1
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class _Streak:
    """Quiet runs of one target, one after another.

    Attributes:
        told_at: when telemetry was last told of one.
        last_at: when the last one was.
        kept: the last one that was kept back, and how many were; None if telemetry was told of the last one.
    """

    told_at: float
    last_at: float
    kept: Told | None = None


class QuietRuns:
    """Chooses the runs to tell. It keeps one report for each target."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Make it; `clock` tells monotonic seconds."""
        self._clock = clock
        self._streaks: dict[str, _Streak] = {}

    def told_of(self, report: RunReport) -> tuple[Told, ...]:
        """What to tell now that a run has ended: nothing, the run, or before it the last one that was kept back."""
        streak = self._streaks.pop(report.target, None)
        if not _is_quiet(report):
            kept = streak.kept if streak else None
            return (replace(kept, is_late=True), Told(report)) if kept else (Told(report),)
        now = self._clock()
        runs = 1 + (streak.kept.runs if streak and streak.kept else 0)
        if streak and _can_wait(streak, now):
            self._streaks[report.target] = replace(streak, last_at=now, kept=Told(report, runs))
            return ()
        self._streaks[report.target] = _Streak(told_at=now, last_at=now)
        return (Told(report, runs),)

    def tell_next(self) -> None:
        """Tell of the next run of each target, quiet or not: what was told did not arrive."""
        for target, streak in self._streaks.items():
            self._streaks[target] = replace(streak, told_at=float("-inf"))


def _can_wait(streak: _Streak, now: float) -> bool:
    """Whether the run after this one, if it comes as soon as this one came, is still in time."""
    return now + (now - streak.last_at) - streak.told_at <= TELL_EVERY_SEC


def _is_quiet(report: RunReport) -> bool:
    has_changed = report.circuit_changes or report.consumers_removed or report.clock_went_back_ms
    return report.outcome is Outcome.NOTHING_PENDING and not has_changed and not any(report.numbers().values())
