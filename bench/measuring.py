"""Owns the measuring: processes that are measured, contenders in turn, medians and their spread."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIME_LIMIT_SEC = 300


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
        idle_mb: the same before the first run, everything imported.
    """

    seconds: Sequence[float]
    cpu_sec: Sequence[float]
    peak_mb: float
    idle_mb: float


def measure(env: Mapping[str, str], name: str = "ours", *, runs: int | None = None, root: Path = ROOT) -> Taken:
    """Run a contender in a process of its own.

    Raises:
        subprocess.CalledProcessError: it failed; what it said is on our standard error.
    """
    words = [sys.executable, "-m", "bench.subject", name, *([] if runs is None else [str(runs)])]
    ended = subprocess.run(
        words, cwd=root, env=dict(env), stdout=subprocess.PIPE, text=True, check=True, timeout=TIME_LIMIT_SEC
    )
    return Taken(**json.loads(ended.stdout))


@dataclass(slots=True)
class Helper:
    """A process that helps: what it said first, and, after its end, what it said last."""

    said: str
    last: str = ""


@contextmanager
def helping(module: str, *arguments: str) -> Iterator[Helper]:
    """A process that helps; it prints a line when it is ready, and ends with its standard input."""
    words = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            helper = Helper(process.stdout.readline().strip() if process.stdout else "")
            yield helper
        finally:
            helper.last = process.communicate(timeout=10)[0].strip()
