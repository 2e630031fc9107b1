"""Owns what a measurement has to say: tables, charts, and which of the goals were reached."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Goal:
    """Something we want to reach, and what was measured."""

    what: str
    wanted: str
    measured: str
    reached: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table; its first row is the head."""

    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """What one measurement has to say.

    Attributes:
        title: a short headline.
        text: how it was measured, and what is to be known about it.
        parts: tables, and SVG charts by the names of their files, in order.
        goals: what was to be reached.
        figures: what other sections reckon with, by name.
    """

    title: str
    text: str
    parts: Sequence[Table | tuple[str, str]]
    goals: Sequence[Goal] = ()
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        rounds: how often everything is measured, contenders in turn.
        entries: of a comparison.
        few, many: pending entries between which nothing per entry should change.
        slow: pending entries of a look for slow commands.
        idle_runs: runs without work, in one process.
        waits_a_lane: entries for each lane of a handler that waits.
        streams: of an app with many.
        posts: entries that are POSTed.
    """

    rounds: int = 5
    entries: int = 50_000
    few: int = 10_000
    many: int = 1_000_000
    slow: int = 100_000
    idle_runs: int = 300
    waits_a_lane: int = 120
    streams: int = 100
    posts: int = 10_000


QUICK = Sizes(
    rounds=2, entries=2_000, few=500, many=3_000, slow=3_000, idle_runs=10, waits_a_lane=3, streams=5, posts=300
)
