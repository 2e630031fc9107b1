"""Owns docs/experiments.md: what every experiment found, on what machine, with which command."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dev import machine
from experiments import charts
from experiments.result import Claim, Result, Table

CHARTS = "experiments"
HOW = """\
Two articles gave reclaim its task. The first (*Redis Streams in Action*, part 4) stores tweets that flaky consumers
dropped. The second (*Reliable event processing in Azure Functions*) keeps 100,000 numbered events in order through
crashes and outages. This page repeats both on reclaim, and adds what they left out. The experiments start all servers
themselves, on this machine alone.

A function checks each claim. For each claim a test in `tests/experiments/` tampers with what was found, and sees
that claim fail. If a claim does not hold, the command ends with exit code 1."""


@dataclass(frozen=True, slots=True)
class Done:
    """An experiment that was made.

    Attributes:
        name: of its module.
        title: its headline on the page.
        result: what it has to say.
        seconds: how long it took.
    """

    name: str
    title: str
    result: Result
    seconds: float


def write(directory: Path, done: Sequence[Done], command: str, minutes: float, load: float) -> Path:
    """Write the page and its charts; return where the page is."""
    whole = text(done, command, minutes, load)  # before anything is written: it says whether the commit is dirty
    folder = directory / CHARTS
    folder.mkdir(parents=True, exist_ok=True)
    for chart in (chart for one in done for chart in one.result.charts):
        (folder / f"{chart.name}.svg").write_text(charts.svg(chart), encoding="utf-8")
    path = directory / "experiments.md"
    path.write_text(whole, encoding="utf-8")
    return path


def text(done: Sequence[Done], command: str, minutes: float, load: float) -> str:
    """The whole page."""
    claims = [claim for one in done for claim in one.result.claims]
    held = sum(claim.holds for claim in claims)
    blocks = [
        "# Experiments",
        f"Written by `{command}` in {minutes:.1f} minutes, on {datetime.now(UTC):%Y-%m-%d}. Do not edit: run it again.",
        HOW,
        f"{held} of {len(claims)} claims hold.",
        _markdown(["experiment", "claims that hold", "seconds"], [_summary(one) for one in done]),
        *(block for one in done for block in _section(one)),
        "## Machine",
        _markdown(["", ""], machine.facts(load)),
    ]
    return "\n\n".join(blocks) + "\n"


def in_a_terminal(done: Done) -> str:
    """Claims and tables of one experiment, as plain text."""
    lines = [
        f"{'holds         ' if one.holds else 'DOES NOT HOLD '} {one.text} {one.found}" for one in done.result.claims
    ]
    for table in done.result.tables:
        lines += ["", table.title, *("  ".join(row) for row in _aligned(table))]
    return "\n".join([*lines, ""])


def _section(done: Done) -> list[str]:
    return [
        f"## {done.title}",
        done.result.text.strip(),
        _markdown(["claim", "found", ""], [_claim(one) for one in done.result.claims]),
        *(f"![{chart.title}]({CHARTS}/{chart.name}.svg)" for chart in done.result.charts),
        *(f"**{one.title}**\n\n{_markdown(one.columns, one.rows)}" for one in done.result.tables),
    ]


def _summary(done: Done) -> list[str]:
    held = sum(claim.holds for claim in done.result.claims)
    anchor = "".join(char for char in done.title.lower().replace(" ", "-") if char.isalnum() or char == "-")
    return [f"[{done.title}](#{anchor})", f"{held} of {len(done.result.claims)}", f"{done.seconds:.0f}"]


def _claim(claim: Claim) -> list[str]:
    return [claim.text, claim.found, "holds" if claim.holds else "**does not hold**"]


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; columns of numbers are set to the right."""
    numeric = [
        bool(rows) and all(isinstance(row[at], int | float) or row[at] == "" for row in rows)
        for at in range(len(columns))
    ]
    lines = [columns, ["--:" if right else "---" for right in numeric], *(map(_cell, row) for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _aligned(table: Table) -> list[list[str]]:
    rows = [list(table.columns), *([_cell(value) for value in row] for row in table.rows)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.columns))]
    return [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]


def _cell(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}"
        case _:
            return str(value)
