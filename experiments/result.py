"""Owns what an experiment has to say: claims that hold or do not, tables and charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Size(Enum):
    """How much of everything an experiment does."""

    QUICK = "quick"  # all experiments together within two minutes: for the tests
    FULL = "full"  # the articles' own numbers: for the page


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that the experiment was to show.

    Attributes:
        text: the claim, as a sentence.
        holds: whether what was found bears it out.
        found: what was found, in numbers.
        is_of_time: whether it hangs on how fast the machine is; at a reduced size such a claim is only shown.
    """

    text: str
    holds: bool
    found: str
    is_of_time: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table. Integers are shown with commas, floats with one digit behind the point, all else as it is."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of lines.

    Attributes:
        name: of its file, without the ending: small letters, digits and hyphens.
        title: what it shows.
        x_label: what the x axis is, with the unit.
        y_label: what the y axis is, with the unit.
        series: by the line's name, its points from left to right.
        marks: moments on the x axis, each with what happened then.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    marks: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What one experiment has to say.

    Attributes:
        text: how it was done and with which settings, in Markdown.
        claims: what it was to show.
        tables: in the page's order.
        charts: in the page's order.
    """

    text: str
    claims: Sequence[Claim]
    tables: Sequence[Table]
    charts: Sequence[Chart]
