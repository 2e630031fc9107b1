"""Owns docs/benchmarks.md: what was measured, on what machine, with which versions and commands."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.bed import PLAIN, TLS, Bed
from bench.section import Goal, Section, Table
from dev.machine import facts as machine_facts
from dev.server import available

CHARTS = "benchmarks"
HOW = """\
Figures are medians, with the least and the most in brackets. Contenders run in turn, each run in a process of its
own, on servers that the benchmark starts. Ratios are taken round by round."""
SERVERS = {PLAIN: "plain", TLS: "TLS, and slow commands", "redis-6.2": "slow commands"}  # what each kind is used for


def write(directory: Path, sections: Sequence[Section], command: str, minutes: float, load: float) -> Path:
    """Write the document and its charts; return where."""
    whole = text(sections, command, minutes, load)  # before anything is written: it says whether the commit is dirty
    charts = directory / CHARTS
    charts.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for part in section.parts:
            if isinstance(part, tuple):
                (charts / part[0]).write_text(part[1], encoding="utf-8")
    path = directory / "benchmarks.md"
    path.write_text(whole, encoding="utf-8")
    return path


def text(sections: Sequence[Section], command: str, minutes: float, load: float) -> str:
    """The whole document."""
    goals = [goal for section in sections for goal in section.goals]
    reached = sum(goal.reached for goal in goals)
    blocks = [
        "# Benchmarks",
        f"Written by `{command}` in {minutes:.1f} minutes, on {datetime.now(UTC):%Y-%m-%d}. Do not edit: run it again.",
        HOW,
        f"## Goals\n\n{reached} of {len(goals)} reached.",
        table(Table([["", "goal", "measured", ""], *map(_goal, goals)])),
        *(block for section in sections for block in _blocks(section)),
        "## Machine and versions",
        table(Table([["", ""], *machine(load)])),
        "One part alone, and less of it: `python -m bench --only speed --quick`. A profile: `python -m bench.profile`.",
    ]
    return "\n\n".join(blocks) + "\n"


def table(of: Table) -> str:
    """A table in Markdown."""
    head, *rows = of.rows
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def machine(load: float) -> list[list[str]]:
    """What it was measured on."""
    facts = machine_facts(load)
    for kind in (one for one in SERVERS if one in available()):
        with Bed.on(kind) as bed:
            facts.append([f"server, {SERVERS[kind]}", bed.version()])
    return facts


def _blocks(section: Section) -> list[str]:
    parts = [
        table(part) if isinstance(part, Table) else f"![{section.title}]({CHARTS}/{part[0]})" for part in section.parts
    ]
    return [f"## {section.title}", section.text.strip(), *parts]


def _goal(goal: Goal) -> list[str]:
    return [goal.what, goal.wanted, goal.measured, "reached" if goal.reached else "**not reached**"]
