"""What telemetry and the app itself add to a cold start, measured in new processes, in turn, and told as medians.

`python -m bench.import_time` prints two tables:

1. What it takes to import function_app, beside azure.functions, redis.asyncio and tenacity alone: as a ratio.
2. When the first tick's work is done and when its invocation ends, with telemetry on and off, from the start of Python.
   Redis and the place that takes the telemetry run here, on loopback.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dev.server import Server

ROOT = Path(__file__).parents[1]
KEY = "00000000-0000-0000-0000-00000000000a"

_IMPORT = """
import json, time
began, cpu_began = time.perf_counter(), time.process_time()
import {}
print(json.dumps([(time.perf_counter() - began) * 1000, (time.process_time() - cpu_began) * 1000]))
"""
IMPORTS = {
    "azure.functions, redis.asyncio, tenacity": _IMPORT.format("azure.functions, redis.asyncio, tenacity"),
    "function_app": _IMPORT.format("function_app"),
    "opencensus' transport alone": _IMPORT.format("opencensus.ext.azure.common.transport"),
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


class _Collector(BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    def do_POST(self) -> None:  # the name is http.server's
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _run(program: str, env: Mapping[str, str]) -> str:
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, env=dict(env), capture_output=True, text=True, check=True)
    return ended.stdout


def _say(text: str) -> None:
    print(text)


def _row(name: str, taken: list[float]) -> str:
    return f"{name:<45} {statistics.median(taken):8.1f} {min(taken):8.1f} {max(taken):8.1f}"


def imports(rounds: int, env: Mapping[str, str]) -> None:
    """Measure the imports, by the clock and by the processor's time, which a busy machine changes less."""
    taken: dict[str, list[list[float]]] = {name: [] for name in IMPORTS}
    for at in range(rounds + 1):
        for name, program in IMPORTS.items():
            milliseconds = json.loads(_run(program, env))
            if at:  # the first round writes byte code and fills the disk's cache
                taken[name].append(milliseconds)
    for at, unit in enumerate(("ms", "ms of the processor")):
        _say(f"{'import, ' + unit:<45} {'median':>8} {'least':>8} {'most':>8}")
        for name, some in taken.items():
            _say(_row(name, [each[at] for each in some]))
        base, ours, _ = (statistics.median(each[at] for each in some) for some in taken.values())
        _say(f"function_app / the three libraries: {ours / base:.3f}\n")


def first_ticks(rounds: int, env: Mapping[str, str]) -> None:
    """Measure the first tick of a process, with telemetry off and on."""
    with Server() as redis, ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        off = {
            **env,
            "REDIS_HOST": f"127.0.0.1:{redis.port}",
            "REDIS_TLS": "false",
            "STREAM_NAME": "s",
            "STREAM_CONSUMER_GROUP_NAME": "g",
        }
        _run(_MAKE_GROUP, off)
        connection_string = f"InstrumentationKey={KEY};IngestionEndpoint=http://127.0.0.1:{collector.server_port}"
        on = off | {"APPLICATIONINSIGHTS_CONNECTION_STRING": connection_string}
        taken: dict[str, list[list[float]]] = {"off": [], "on": []}
        for at in range(rounds + 1):
            for name, one in (("off", off), ("on", on)):
                milliseconds = json.loads(_run(_TICKS, one))
                if at:
                    taken[name].append(milliseconds)
        collector.shutdown()
    _say(f"{'first tick of a process, ms':<45} {'median':>8} {'least':>8} {'most':>8}")
    for name, some in taken.items():
        _say(_row(f"telemetry {name}: the work is done", [each[0] for each in some]))
        _say(_row(f"telemetry {name}: the invocation ends", [each[1] for each in some]))
        _say(_row(f"telemetry {name}: a later tick", [each[2] for each in some]))
    done, end = (
        statistics.median(each[at] for each in taken["on"]) - statistics.median(each[at] for each in taken["off"])
        for at in (0, 1)
    )
    _say(f"with telemetry on the work is done {done:.1f} ms later, and the invocation ends {end:.1f} ms later")


_MAKE_GROUP = """
import os, redis
host, _, port = os.environ["REDIS_HOST"].partition(":")
redis.Redis(host=host, port=int(port)).xgroup_create("s", "g", "0", mkstream=True)
"""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="how often each is measured (11)")
    rounds = parser.parse_args().rounds
    env = {name: value for name, value in os.environ.items() if not name.startswith("APPLICATIONINSIGHTS_")}
    imports(rounds, env)
    first_ticks(rounds, env)


if __name__ == "__main__":
    main()
