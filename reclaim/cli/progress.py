"""Owns the progress of a replay: shows a person, on standard error, how far it is."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from reclaim.cli.logs import is_for_a_program
from reclaim.cli.output import is_terminal, say
from reclaim.run.replay import ReplayReport

LINE_EVERY_SEC = 1.0  # in a pipe

logger = logging.getLogger("reclaim")

Report = Callable[[ReplayReport], None]


class ReplayProgress:
    """Shows each report of a replay, as a bar or as lines. It keeps the last one, in case the replay is interrupted."""

    def __init__(self, show: Report) -> None:
        self._show = show
        self.last: ReplayReport | None = None

    def __call__(self, report: ReplayReport) -> None:
        """Show how far the replay is."""
        self.last = report
        self._show(report)


@contextmanager
def replay_progress(upto: str | None) -> Iterator[ReplayProgress]:
    """Give the progress that the replay reports to. If the replay is interrupted, say how far it came.

    `upto` is the last dead letter that the replay means; None if it means those with certain IDs.
    """
    shown: AbstractContextManager[Report] = _bar() if is_terminal(sys.stderr) else nullcontext(_Lines())
    progress = None
    try:
        with shown as show:
            progress = ReplayProgress(show)
            yield progress
    except asyncio.CancelledError:
        _tell(f"interrupted{_how_far_at_least(None if progress is None else progress.last)}")
        if upto is not None:
            _tell(f"To go on, give the same command with --upto {upto}")
        raise


def _tell(text: str) -> None:
    """Say it to a person, or where the log is for a program, in the log: who reads JSON reads nothing else."""
    if is_for_a_program():
        logger.info("reclaim replay: %s", text)
    else:
        say(text)


def _how_far_at_least(report: ReplayReport | None) -> str:
    if report is None:
        return " before the first page was done"
    return f": {_how_far(report)}, not counting the dead letters in work; the rest are still dead letters"


class _Rate(ProgressColumn):
    """How many are done in a second, of late."""

    def render(self, task: Task) -> Text:
        """It, or nothing as long as nobody knows."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@contextmanager
def _bar() -> Iterator[Report]:
    """Shows a person how far a replay is."""
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=None)
        yield lambda report: progress.update(task, total=report.chosen, completed=_done(report))


@contextmanager
def looking_progress() -> Iterator[Callable[[int, int, int], None]]:
    """Give what is told at how many of how many dead letters a command has looked, and how many fit.

    It shows it to a person at a terminal only, where one answer was not enough, and takes it away at the end.
    """
    columns = (TextColumn("looking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[fit]:,} fit"))
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None, fit=0)
    answers = 0

    def tell(looked: int, count: int, fit: int) -> None:
        nonlocal answers
        answers += 1
        if answers > 1 and is_terminal(sys.stderr):
            bar.start()  # which does nothing where it is shown already
        bar.update(task, total=count, completed=looked, fit=fit)

    try:
        yield tell
    finally:
        if bar.live.is_started:
            bar.stop()


class _Lines:
    """Says how far a replay is, as lines for a pipe, at most once a second."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    def __call__(self, report: ReplayReport) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + LINE_EVERY_SEC
            _tell(_how_far(report))


def _how_far(report: ReplayReport) -> str:
    return f"{_done(report):,} of {report.chosen:,} done, {report.replayed:,} replayed"


def _done(report: ReplayReport) -> int:
    return report.replayed + report.failed + report.retried + report.held
