"""`make experiments`: runs every experiment on servers of its own, and writes docs/experiments.md and its charts.

`python -m experiments tweets` runs one of them and prints it; `--quick` does little of everything, for the tests.
The exit code is 1 when a claim does not hold.
"""

import argparse
import asyncio
import os
import sys
import time
from importlib import import_module
from pathlib import Path

from experiments import page
from experiments.page import Done
from experiments.progress import say
from experiments.result import Result, Size

NAMES = ("tweets", "in_order", "backlog", "bad_day", "other_streams")  # of the modules, in the page's order
DOCS = Path(__file__).parents[1] / "docs"


def main() -> int:
    """Run what is asked for; 0 if every claim holds."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description="Run the experiments of both articles.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"which: {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="little of everything: to see that it works")
    parser.add_argument("--output", type=Path, help="directory to write to; default: docs, of all at full size only")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in NAMES]:
        parser.error(f"no experiment is called {unknown[0]!r}; there is {', '.join(NAMES)}")
    size = Size.QUICK if arguments.quick else Size.FULL
    is_full = not (arguments.names or arguments.quick)
    began, load = time.monotonic(), os.getloadavg()[0]
    done = [_run(name, size) for name in arguments.names or NAMES]
    output = arguments.output or (DOCS if is_full else None)
    if output:
        command = "make experiments" if is_full else f"python -m experiments {' '.join(sys.argv[1:])}"
        written = page.write(output, done, command, (time.monotonic() - began) / 60, load)
        say(f"written: {written.name}")
    wrong = [claim for one in done for claim in one.result.claims if not claim.holds]
    failed = [claim for claim in wrong if not (claim.is_of_time and size is Size.QUICK)]
    for claim in failed:
        say(f"DOES NOT HOLD: {claim.text} {claim.found}")
    return 1 if failed else 0


def _run(name: str, size: Size) -> Done:
    module = import_module(f"experiments.{name}")
    say(f"{name}: {module.TITLE}")
    began = time.monotonic()
    result: Result = asyncio.run(module.experiment(size))
    done = Done(name, module.TITLE, result, time.monotonic() - began)
    say(f"{name}: over after {done.seconds:.0f} s\n\n{page.in_a_terminal(done)}")
    return done


if __name__ == "__main__":
    sys.exit(main())
