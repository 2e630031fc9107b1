"""A measured process: runs one contender, and prints as JSON what that took. Nothing else happens in it.

`python -m bench.subject NAME [RUNS]`, its settings in the environment. With RUNS, the app is kept and runs so often.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable
from itertools import chain
from pathlib import Path

import function_app  # noqa: F401  # what it weighs counts
from bench.contenders import CONTENDERS, warm_up
from reclaim.app import App
from reclaim.run.report import RunReport

STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """The most memory this process has had, in MB."""
    if STATUS.exists():  # getrusage tells of the parent's memory, if that was more when this process was made
        lines = dict(line.partition(":")[::2] for line in STATUS.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


async def timed(run: Awaitable[list[RunReport]]) -> tuple[float, float, list[RunReport]]:
    """Seconds by the clock, and of the processor, that it took; and its reports."""
    began, cpu_began = time.perf_counter(), time.process_time()
    reports = await run
    return time.perf_counter() - began, time.process_time() - cpu_began, reports


async def repeatedly(runs: int) -> list[tuple[float, float, list[RunReport]]]:
    """Run the app so often, as the timer does; the same of each run."""
    app = App.from_env(os.environ)
    taken = [await timed(app.run()) for _ in range(runs)]
    await app.aclose()
    return taken


async def once(name: str) -> list[tuple[float, float, list[RunReport]]]:
    """Run a contender once; with BENCH_WARM not as the process's first run."""
    if os.environ.get("BENCH_WARM"):
        await warm_up()
    return [await timed(CONTENDERS[name]())]


def main() -> None:
    """Measure, and print it."""
    name, *runs = sys.argv[1:]
    taken = asyncio.run(repeatedly(int(runs[0])) if runs else once(name))
    seconds, cpu_sec, reports = zip(*taken, strict=True)
    every = list(chain.from_iterable(reports))
    outcomes, stored = [report.outcome.value for report in every], sum(report.stored for report in every)
    told = {"seconds": seconds, "cpu_sec": cpu_sec, "peak_mb": peak_mb(), "outcomes": outcomes, "stored": stored}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
