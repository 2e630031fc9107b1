"""What telemetry and the app itself add to a cold start, measured in new processes, in turn, and told as medians.

`python -m bench.import_time` prints two tables:

1. What it takes to import function_app, beside the libraries that it is built on, as a ratio: the three that it imports
   at once, and all four, with opencensus-ext-azure.
2. When the first tick's work is done and when its invocation ends, with telemetry on and off, from the start of Python.
   Redis and the place that takes the telemetry run here, on loopback.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping

from bench.backlog import Backlog
from bench.bed import PLAIN, Bed
from bench.collector import collecting
from bench.measuring import ROOT, Sample, turns

_IMPORT = """
import json, time
began, cpu_began = time.perf_counter(), time.process_time()
import {}
print(json.dumps([(time.perf_counter() - began) * 1000, (time.process_time() - cpu_began) * 1000]))
"""
LIBRARIES, OURS = "azure.functions, redis.asyncio, tenacity", "function_app"
ALL_FOUR = "the same and opencensus.ext.azure"  # which the app imports with its first telemetry
IMPORTS = {
    LIBRARIES: _IMPORT.format(LIBRARIES),
    ALL_FOUR: _IMPORT.format(f"{LIBRARIES}, opencensus.ext.azure.common.transport"),
    OURS: _IMPORT.format(OURS),
}

# What the host does at a cold start: import, then the first tick. Milliseconds from the first line on, until the report
# of the work is logged and until the invocation ends; then how long each of three more ticks takes.
_TICKS = """
import time; began = time.perf_counter()
import asyncio, json, logging, os
import function_app
from reclaim.app import App

logged = []

class Note(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("reclaim run"):
            logged.append(time.perf_counter())

logger = logging.getLogger("reclaim")
logger.addHandler(Note())
logger.setLevel(logging.INFO)

async def main():
    app = App.from_env(os.environ)
    ends = []
    for _ in range(4):
        await app.run()
        ends.append(time.perf_counter())
    await app.aclose()
    later = sorted(b - a for a, b in zip(ends, ends[1:]))[1]
    print(json.dumps([(moment - began) * 1000 for moment in (logged[0], ends[0])] + [later * 1000]))

asyncio.run(main())
"""


def imports(rounds: int, env: Mapping[str, str]) -> None:
    """Measure the imports, by the clock and by the processor's time, which a busy machine changes less."""
    by_clock, by_processor = _measure(rounds, {name: (program, env) for name, program in IMPORTS.items()})
    for unit, taken in (("ms", by_clock), ("ms of the processor", by_processor)):
        print(f"import, {unit}, median (least–most)")
        for name, sample in taken.items():
            print(_row(name, sample))
        print(f"function_app / the three libraries: {taken[OURS].over(taken[LIBRARIES]).show('.3f')}")
        print(f"function_app / all four: {taken[OURS].over(taken[ALL_FOUR]).show('.3f')}\n")


def first_ticks(rounds: int) -> None:
    """Measure the first tick of a process, with telemetry off and on."""
    nothing = Backlog(0)
    with Bed.on(PLAIN) as bed, collecting() as collector:
        bed.fill(nothing)
        on = bed.env(nothing, APPLICATIONINSIGHTS_CONNECTION_STRING=collector.connection_string)
        done, end, later = _measure(rounds, {"off": (_TICKS, bed.env(nothing)), "on": (_TICKS, on)})
        collector.check()
    print("first tick of a process, ms, median (least–most)")
    for name in done:
        print(_row(f"telemetry {name}: the work is done", done[name]))
        print(_row(f"telemetry {name}: the invocation ends", end[name]))
        print(_row(f"telemetry {name}: a later tick", later[name]))
    more = [some["on"].minus(some["off"]).show(".1f") for some in (done, end)]
    print(f"with telemetry on the work is done {more[0]} ms later, and the invocation ends {more[1]} ms later")


def _measure(rounds: int, programs: Mapping[str, tuple[str, Mapping[str, str]]]) -> list[dict[str, Sample]]:
    """The figures that programs print, each with its environment: the first of all of them, then the second."""
    for program, env in programs.values():
        _run(program, env)  # writes byte code and fills the disk's cache
    taken: dict[str, list[list[float]]] = {name: [] for name in programs}
    for _, name in turns(rounds, programs):
        taken[name].append(_run(*programs[name]))
    figures = {name: [Sample(values) for values in zip(*some, strict=True)] for name, some in taken.items()}
    return [dict(zip(figures, samples, strict=True)) for samples in zip(*figures.values(), strict=True)]


def _run(program: str, env: Mapping[str, str]) -> list[float]:
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, env=dict(env), capture_output=True, text=True, check=True)
    figures: list[float] = json.loads(ended.stdout)
    return figures


def _row(name: str, sample: Sample) -> str:
    return f"{name:<45} {sample.show('.1f')}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="how often each is measured (11)")
    rounds = parser.parse_args().rounds
    env = {name: value for name, value in os.environ.items() if not name.startswith("APPLICATIONINSIGHTS_")}
    imports(rounds, env)
    first_ticks(rounds)


if __name__ == "__main__":
    main()
