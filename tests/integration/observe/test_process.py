"""What telemetry does to a process: what it imports, whom it talks to, and what hundreds of runs leave behind."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path

import pytest

from tests.integration.observe.collector import NOBODY, OK, Answer, a_collector, answer
from tests.support import Client, Endpoint, a_target, env_for, given, held

ROOT = Path(__file__).parents[3]
MANY_RUNS = Path(__file__).with_name("many_runs.py")

# Runs of the app, every connection noted, and those that leave loopback refused before they are made.
_WATCHED = """
import asyncio, json, os, sys
asked = []

def watch(event, arguments):
    if event in {"socket.connect", "socket.sendto"}:
        host = arguments[1][0] if isinstance(arguments[1], tuple) else "local"
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = arguments[0]
    elif event in {"subprocess.Popen", "os.system"}:
        host = f"program {arguments[0]}"
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host)
    asked.append(host)
    if not host.startswith("program ") and host not in {"127.0.0.1", "localhost", "::1", "None"}:
        raise PermissionError(f"{host} is not loopback")

sys.addaudithook(watch)
"""

_THREE_RUNS = """
import logging
import function_app
from reclaim.app import App

if "APPLICATIONINSIGHTS_CONNECTION_STRING" in os.environ:
    import reclaim.observe.app_insights  # on a busy machine it may take longer than a run waits

async def main():
    app = App.from_env(os.environ)
    for _ in range(3):
        await app.run()
    assert app.exporter is None or app.exporter.dropped.count == 0
    await app.aclose()

asyncio.run(main())
"""

_SAY = """
print(json.dumps({
    "asked": sorted(set(asked)),
    "modules": sorted(sys.modules),
    "stats": os.environ.get("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL"),
    "handlers": [repr(one) for one in logging.getLogger("reclaim").handlers],
}))
"""

_AS_OPENCENSUS_WOULD = """
import logging
from opencensus.ext.azure.trace_exporter import AzureExporter
AzureExporter(connection_string=os.environ["APPLICATIONINSIGHTS_CONNECTION_STRING"], enable_local_storage=False)
"""


def run_program(env: dict[str, str], *arguments: str) -> dict[str, object]:
    """What a Python program printed last, which is JSON."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        env=env | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    printed: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
    return printed


def plain_env(env: Mapping[str, str] = os.environ, **more: str) -> dict[str, str]:
    """An environment without anything that turns telemetry on, or its talk about itself off, but what is given."""
    return {name: value for name, value in env.items() if not name.startswith("APPLICATIONINSIGHTS_")} | more


def test_without_a_connection_string_nothing_of_it_is_imported(embedded: Endpoint, client: Client) -> None:
    """Whoever does not use it pays nothing for it."""
    given(client, a_target(), *held(range(5)))

    seen = run_program(plain_env(env_for(embedded)), "-c", _WATCHED + _THREE_RUNS + _SAY)

    modules = seen["modules"]
    assert isinstance(modules, list)
    roots = {name.partition(".")[0] for name in modules}
    assert roots & {"opencensus", "requests", "msal", "google"} == set()
    assert "azure.identity" not in modules
    assert "reclaim.observe.app_insights" not in modules
    assert seen["stats"] is None


def test_nothing_but_loopback_is_contacted(embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    """Neither Microsoft's collector of statistics nor the machine's metadata address; nothing is written either."""
    given(client, a_target(), *held(range(5)))

    with a_collector() as collector:
        env = plain_env(
            env_for(embedded),
            APPLICATIONINSIGHTS_CONNECTION_STRING=collector.connection_string,
            APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL="false",
            WEBSITE_SITE_NAME="site",
            FUNCTIONS_WORKER_RUNTIME="python",
            TMPDIR=str(tmp_path),
        )
        seen = run_program(env, "-c", _WATCHED + _THREE_RUNS + _SAY)

    assert seen["asked"] == ["127.0.0.1", "program uname"], "azure-identity asks uname when it is imported"
    assert seen["stats"] == "true"
    assert seen["handlers"] == [], "the host sends the log"
    assert len(collector.batches) == 2, "the third run finds nothing, as the second did"
    assert {one["tags"]["ai.cloud.role"] for one in collector.envelopes} == {"site"}
    assert list(tmp_path.iterdir()) == []


def test_that_test_would_see_it() -> None:
    """Opencensus' own exporter, left to itself, asks for both at once; the watch refuses before anything is sent."""
    with a_collector() as collector:
        env = plain_env(APPLICATIONINSIGHTS_CONNECTION_STRING=collector.connection_string.rstrip(";"))
        seen = run_program(env, "-c", _WATCHED + _AS_OPENCENSUS_WOULD + _SAY)

    asked = seen["asked"]
    assert isinstance(asked, list)
    assert "169.254.169.254" in asked
    assert any(host.endswith(".applicationinsights.azure.com") for host in asked)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors as Linux shows them")
@pytest.mark.parametrize(
    ("how", "runs"),
    [
        pytest.param(lambda _: OK, 400, id="all well"),
        pytest.param(lambda turn: OK if turn % 2 else answer(500), 250, id="every other post refused"),
        pytest.param(None, 250, id="nobody listens"),
    ],
)
def test_hundreds_of_runs_leave_the_process_as_it_was(
    embedded: Endpoint, client: Client, how: Callable[[int], Answer] | None, runs: int
) -> None:
    """Threads, sockets, files, objects and memory are as they were after the first hundred runs."""
    given(client, a_target())
    turns = count()

    def in_turn(request: BaseHTTPRequestHandler) -> None:
        if how is not None:
            how(next(turns))(request)

    with a_collector(in_turn) as collector:
        port = NOBODY if how is None else collector.port
        seen = run_program(env_for(embedded), str(MANY_RUNS), str(embedded.port), str(port), str(runs))

    before, after, dropped = seen["before"], seen["after"], seen["dropped"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert isinstance(dropped, int)
    assert len(collector.batches) >= (0 if how is None else runs - dropped), "a busy machine drops some"
    for name in ("threads", "sockets", "files"):
        assert after[name] == before[name], seen
    assert after["objects"] - before["objects"] < 50, seen
    assert after["resident_kb"] - before["resident_kb"] < 1024, seen
