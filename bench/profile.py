"""Shows where one run of the app spends its processor time: `python -m bench.profile [CASE]` prints the top ten.

The profiler itself costs much, so only the shares tell something; times without it are in docs/benchmarks.md.
"""

import argparse
import asyncio
import cProfile
import io
import json
import os
import pstats
import subprocess
import sys
import time
from collections.abc import Callable

from bench.backlog import Backlog
from bench.bed import PLAIN, Bed
from bench.contenders import ours
from bench.measuring import ROOT
from bench.waiting import DIRECT, reaching

TOP = 10
INSIDE = "--inside"

Case = tuple[Backlog, dict[str, str], float]  # what is pending, settings, milliseconds of network delay or DIRECT

CASES: dict[str, Case] = {
    "default": (Backlog(50_000), {}, DIRECT),
    "version": (Backlog(50_000), {"HASH_VERSION_FIELD": "entry_id"}, DIRECT),
    "delay": (Backlog(50_000), {}, 5),
    "lanes": (Backlog(20_480), {"HANDLER": "bench.contenders:wait", "LANES": "256"}, DIRECT),
    "many": (Backlog(100_000, 100), {}, DIRECT),
    "idle": (Backlog(0, 100), {}, DIRECT),
}


def show(name: str, sort: str, say: Callable[[str], None]) -> None:
    """Profile one case in a process of its own."""
    backlog, settings, delay_ms = CASES[name]
    with Bed.on(PLAIN) as bed:
        bed.fill(backlog)
        with reaching(bed, delay_ms) as port:
            words = [sys.executable, "-m", "bench.profile", INSIDE, sort]
            env = bed.env(backlog, port, **settings)
            printed = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    told = json.loads(printed.splitlines()[-1])
    say(f"\n{name}: {told['seconds']:.2f} s of the processor, profiler included\n{told['top']}")


def _inside(sort: str) -> None:
    profiler = cProfile.Profile(time.process_time)  # others may use the machine as well
    profiler.enable()
    asyncio.run(ours())
    profiler.disable()
    text = io.StringIO()
    stats = pstats.Stats(profiler, stream=text).strip_dirs().sort_stats(sort).print_stats(TOP)
    lines = text.getvalue().partition("ncalls")
    total: float = stats.total_tt  # type: ignore[attr-defined]  # typeshed does not know it
    print(json.dumps({"seconds": total, "top": (lines[1] + lines[2]).rstrip()}))


def main() -> None:
    """Profile the cases asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description="Profile the app's own run.")
    parser.add_argument("case", nargs="*", choices=[*CASES, []], help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--sort", default="tottime", help="tottime (default) or cumtime")
    arguments = parser.parse_args()
    for name in arguments.case or CASES:
        show(name, arguments.sort, print)


if __name__ == "__main__":
    if sys.argv[1:2] == [INSIDE]:
        _inside(sys.argv[2])
    else:
        os.environ.setdefault("PYTHONHASHSEED", "0")
        main()
