"""Owns the measuring: processes that are measured, contenders in turn, medians and their spread."""

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.bed import CheckFailed
from reclaim.run.report import Outcome

ROOT = Path(__file__).parents[1]
TIME_LIMIT_SEC = 300
APP = "ours"  # of the contenders, the one that makes reports

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured several times."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)

    def per(self, count: float) -> "Sample":
        """How many a second, if each value is the seconds that `count` of them took."""
        return Sample([count / value for value in self.values])

    def times(self, factor: float) -> "Sample":
        """The same in another unit."""
        return Sample([factor * value for value in self.values])

    def over(self, other: "Sample") -> "Sample":
        """The ratio of each value to the other's of the same round."""
        return Sample([one / two for one, two in zip(self.values, other.values, strict=True)])

    def minus(self, other: "Sample") -> "Sample":
        """How much more each value is than the other's of the same round."""
        return Sample([one - two for one, two in zip(self.values, other.values, strict=True)])

    def show(self, form: str = ",.0f") -> str:
        """The median, and in brackets the least and the most."""
        return f"{self.median:{form}} ({self.least:{form}}–{self.most:{form}})"


@dataclass(frozen=True, slots=True)
class Taken:
    """What one measured process took.

    Attributes:
        seconds: by the clock, for each run.
        cpu_sec: of the processor, in the process itself, for each run.
        peak_mb: the most memory the process has had.
        outcomes: of each report, in order; empty for what makes none.
        stored: entries that all the reports say were handled.
        server_sec: of the processor, in the server, from before the process to its end; nan where it was not measured.
    """

    seconds: Sequence[float]
    cpu_sec: Sequence[float]
    peak_mb: float
    outcomes: Sequence[str]
    stored: int
    server_sec: float = math.nan


def measure(
    env: Mapping[str, str], name: str = APP, *, runs: int | None = None, expected: Outcome | None = Outcome.COMPLETED
) -> Taken:
    """Run a contender in a process of its own; of the app all runs are to have the outcome expected, if any.

    Raises:
        CheckFailed: one had another, or there was no report.
        subprocess.CalledProcessError: it failed; what it said is on our standard error.
    """
    words = [sys.executable, "-m", "bench.subject", name, *([] if runs is None else [str(runs)])]
    ended = subprocess.run(
        words, cwd=ROOT, env=dict(env), stdout=subprocess.PIPE, text=True, check=True, timeout=TIME_LIMIT_SEC
    )
    taken = Taken(**json.loads(ended.stdout))
    outcomes = set(taken.outcomes)
    if expected is None:
        return taken
    if outcomes != ({expected.value} if name == APP else set()):
        raise CheckFailed(f"{name} ended as {', '.join(sorted(outcomes)) or 'nothing'}, not as {expected.value}")
    return taken


def seconds(taken: Iterable[Taken]) -> Sample:
    """The clock's seconds of each process's first run."""
    return Sample([one.seconds[0] for one in taken])


def cpu_sec(taken: Iterable[Taken]) -> Sample:
    """The processor's seconds of each process's first run."""
    return Sample([one.cpu_sec[0] for one in taken])


def server_sec(taken: Iterable[Taken]) -> Sample:
    """The processor's seconds in the server, of each process."""
    return Sample([one.server_sec for one in taken])


def peak_mb(taken: Iterable[Taken]) -> Sample:
    """The most memory that each process has had."""
    return Sample([one.peak_mb for one in taken])


def turns(rounds: int, contenders: Iterable[T]) -> Iterator[tuple[int, T]]:
    """Each round's number, from 1 on, with each contender in turn; every round is begun by another."""
    names = list(contenders)
    for at in range(rounds):
        first = at % len(names)
        for name in names[first:] + names[:first]:
            yield at + 1, name


@contextmanager
def helping(module: str, *arguments: str) -> Iterator[int]:
    """A process that helps, as the port that it listens on: it prints that first, and ends with its standard input."""
    words = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline() if process.stdout else 0)
        finally:
            process.communicate(timeout=10)
