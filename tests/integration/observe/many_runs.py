"""A program for test_process: hundreds of runs with telemetry in one process, and what they leave behind.

Arguments: the port of Redis, the port of the collector, how many runs. Prints, as JSON, what the process
held after the first 100 runs and at the end.
"""

import asyncio
import ctypes
import gc
import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from reclaim import handlers
from reclaim.observe.export import Exporter
from reclaim.observe.measures import ObservedRun
from reclaim.observe.snapshot import take_snapshot
from reclaim.run.runner import Runner
from reclaim.settings import Insights, Settings, Target
from reclaim.state.connection import connect
from reclaim.trace import Operation

WARM_UP = 100


def footprint() -> dict[str, float]:
    """What a process holds that could grow."""
    gc.collect()
    with suppress(
        OSError, AttributeError
    ):  # what is free goes back to the system (glibc): how much of it stays is chance
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "threads": threading.active_count(),
        "sockets": sum("socket:" in str(one.readlink()) for one in _descriptors()),
        "files": sum(1 for _ in _descriptors()),
        "objects": len(gc.get_objects()),
        "resident_kb": resident_pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


def _descriptors() -> list[Path]:
    return [one for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]


async def main(redis_port: int, collector_port: int, total: int) -> None:
    """Run and export."""
    target = Target("s", "g")
    server = connect(Settings("127.0.0.1", redis_port, (target,), tls=False))
    runner = Runner(target, server, handlers.make(server, target))
    exporter = Exporter(Insights("00000000-0000-0000-0000-00000000000a", f"http://127.0.0.1:{collector_port}"), "r")

    async def runs(count: int) -> None:
        for _ in range(count):
            operation = Operation.of()
            with operation.under_way():
                report = await runner.run(30.0)
                await exporter.send([ObservedRun(report, "c", await take_snapshot(server, target, 1.0))], operation)

    await runs(WARM_UP)
    before = footprint()
    began = time.monotonic()
    await runs(total - WARM_UP)
    seconds = time.monotonic() - began
    await asyncio.sleep(0.2)  # for the last thread to end
    seen = {"before": before, "after": footprint(), "seconds": seconds, "dropped": exporter.dropped.count}
    sys.stdout.write(json.dumps(seen))
    await server.aclose()


asyncio.run(main(*map(int, sys.argv[1:])))
