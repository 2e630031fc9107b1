"""`make bench`: measures everything on servers of its own, and writes docs/benchmarks.md and its charts.

`python -m bench --only NAME` measures one part and prints it; `--quick` measures little, to see that it works.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import billing, document
from bench.cluster import cluster
from bench.entra import entra
from bench.idle import idle
from bench.large import large
from bench.many import many
from bench.moves import moves
from bench.posting import posting
from bench.scale import scale
from bench.section import QUICK, Say, Section, Sizes, Table
from bench.slow import slow
from bench.speed import speed, version_field
from bench.telemetry import telemetry
from bench.waiting import delay, lanes
from bench.workbench import workbench
from bench.workers import workers

PARTS: dict[str, Callable[[Sizes, Say], Section]] = {
    "speed": speed,
    "scale": scale,
    "slow": slow,
    "large": large,
    "idle": idle,
    "version": version_field,
    "moves": moves,
    "http": posting,
    "cluster": cluster,
    "entra": entra,
    "lanes": lanes,
    "delay": delay,
    "many": many,
    "workers": workers,
    "telemetry": telemetry,
    "workbench": workbench,
}
DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, and write docs/benchmarks.md.")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be given again; default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds: to see that it works")
    parser.add_argument("--rounds", type=int, help="how often each is measured; default: 5")
    parser.add_argument("--output", type=Path, help="directory to write to; default: docs, of a full run only")
    arguments = parser.parse_args()
    began, load = time.monotonic(), os.getloadavg()[0]

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)

    sizes = QUICK if arguments.quick else Sizes()
    sizes = replace(sizes, rounds=arguments.rounds or sizes.rounds)
    sections = [PARTS[name](sizes, say) for name in arguments.only or PARTS]
    figures = {name: value for section in sections for name, value in section.figures.items()}
    if figures.keys() >= set(billing.NEEDED):
        sections.append(billing.billing(figures))
    is_full = not (arguments.only or arguments.quick or arguments.rounds)
    output = arguments.output or (DOCS if is_full else None)
    for section in sections:
        _show(section)
    if output:
        command = "make bench" if is_full else f"python -m bench {' '.join(sys.argv[1:])}"
        say(f"written: {document.write(output, sections, command, (time.monotonic() - began) / 60, load).name}")


def _show(section: Section) -> None:
    print(f"\n{section.title}\n\n{section.text}\n")
    for part in section.parts:
        if isinstance(part, Table):
            print(document.table(part), end="\n\n")
    for goal in section.goals:
        print(f"{'reached    ' if goal.reached else 'NOT reached'}  {goal.what}: {goal.measured}; wanted {goal.wanted}")


if __name__ == "__main__":
    main()
