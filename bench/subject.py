"""A measured process: runs one contender, and prints as JSON what that took. Nothing else happens in it.

`python -m bench.subject NAME [RUNS]`, its settings in the environment. With RUNS, the app is kept and runs so often.
"""

import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path

import function_app  # noqa: F401  # what it weighs counts
from bench.contenders import CONTENDERS
from reclaim.app import App

STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """The most memory this process has had, in MB."""
    if STATUS.exists():  # getrusage tells of the parent's memory, if that was more when this process was made
        lines = dict(line.partition(":")[::2] for line in STATUS.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


async def once(name: str) -> list[tuple[float, float]]:
    """Run a contender once: seconds by the clock, and of the processor."""
    began, cpu_began = time.perf_counter(), time.process_time()
    await CONTENDERS[name]()
    return [(time.perf_counter() - began, time.process_time() - cpu_began)]


async def repeatedly(runs: int) -> list[tuple[float, float]]:
    """Run the app so often, as the timer does; the same of each run."""
    app = App.from_env(os.environ)
    taken = []
    for _ in range(runs):
        began, cpu_began = time.perf_counter(), time.process_time()
        await app.run()
        taken.append((time.perf_counter() - began, time.process_time() - cpu_began))
    await app.aclose()
    return taken


def main() -> None:
    """Measure, and print it."""
    name, *runs = sys.argv[1:]
    before = peak_mb()
    taken = asyncio.run(repeatedly(int(runs[0])) if runs else once(name))
    seconds, cpu_sec = zip(*taken, strict=True)
    print(json.dumps({"seconds": seconds, "cpu_sec": cpu_sec, "peak_mb": peak_mb(), "idle_mb": before}))


if __name__ == "__main__":
    main()
