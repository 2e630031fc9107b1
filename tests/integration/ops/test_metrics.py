"""Metrics and the health probe: from Redis alone, whatever the instance."""

import asyncio
import re
import subprocess
import sys
import time

import httpx2
import pytest

from dev.proxy import Proxy
from dev.server import free_port
from reclaim.app import App
from reclaim.ops import operations
from reclaim.ops.metrics import metrics
from reclaim.ops.probe import KEPT_SEC, Probe
from tests.integration.cli.program import ROOT, env_of, given_dead, in_pipe
from tests.support import Client, Endpoint, HasPort, a_target, given, held, settings_for, tweet

TARGET = a_target()
LINE = re.compile(r"^(\w+)\{([^}]*)\} (\S+)$", re.MULTILINE)


async def measured(place: HasPort, *targets: object) -> dict[tuple[str, str], float]:
    """The metrics, by name and the last label's value."""
    app = App(settings_for(place, *(targets or (TARGET,))))
    try:
        text = await metrics(app)
    finally:
        await app.aclose()
    return {(name, labels.split('"')[-2]): float(value) for name, labels, value in LINE.findall(text)}


async def run_once(place: HasPort) -> None:
    """One run, by an app of its own."""
    app = App(settings_for(place, TARGET))
    try:
        await operations.run_now(app)
    finally:
        await app.aclose()


async def test_what_is_pending_dead_and_done_is_told(embedded: Endpoint, client: Client) -> None:
    """The totals are those of all runs, in whatever process."""
    ids = await asyncio.to_thread(given_dead, client, embedded, TARGET, tweet(7), tweet(8))
    given(client, TARGET, *held(range(10, 15)))
    await run_once(embedded)
    given(client, TARGET, *held(range(20, 23), idle_ms=1_000))
    await run_once(embedded)

    found = await measured(embedded)

    assert found["reclaim_up", "s"] == 1
    assert found["reclaim_dead_letters", "s"] == len(ids)
    assert found["reclaim_pending_entries", "s"] == 3
    assert found["reclaim_oldest_idle_seconds", "s"] >= 1
    assert found["reclaim_circuit_open", "s"] == found["reclaim_lost_entries", "s"] == 0
    assert 0 <= found["reclaim_last_tick_age_seconds", "s"] < 600
    assert found["reclaim_runs_total", "s"] == 2
    assert found["reclaim_entries_total", "acknowledged"] == 5
    assert found["reclaim_entries_total", "lost"] == 0


async def test_a_missing_group_is_not_up_and_has_no_number(embedded: Endpoint, client: Client) -> None:
    """What is not known is left out: 0 would be a lie."""
    given(client, a_target(stream="there"))

    found = await measured(embedded, TARGET, a_target(stream="there"))

    assert (found["reclaim_up", "s"], found["reclaim_up", "there"]) == (0, 1)
    assert ("reclaim_pending_entries", "s") not in found
    assert found["reclaim_pending_entries", "there"] == 0


async def test_a_server_that_is_away_leaves_only_that_it_is(embedded_proxy: Proxy) -> None:
    """No error is raised: a scrape that fails tells less."""
    embedded_proxy.refuse()

    assert await measured(embedded_proxy) == {("reclaim_up", "s"): 0}


async def test_redis_is_looked_at_once_in_ten_seconds(embedded_proxy: Proxy) -> None:
    """Anybody may ask, so asking often must cost nothing; many who ask at once share one look."""
    now = 1000.0
    app = App(settings_for(embedded_proxy, TARGET))
    try:
        probe = Probe(app, clock=lambda: now)
        first = await asyncio.gather(*(probe.is_well() for _ in range(20)))
        embedded_proxy.refuse()
        embedded_proxy.cut()
        kept = await probe.is_well()
        now += KEPT_SEC
        later = await probe.is_well()
    finally:
        await app.aclose()

    assert (set(first), kept, later) == ({True}, True, False)


@pytest.mark.parametrize("path", ["live", "health", "metrics"])
def test_the_plain_program_serves_probes_and_metrics(embedded: Endpoint, client: Client, path: str) -> None:
    """On this machine alone, unless told otherwise; SIGTERM ends it as before."""
    given(client, TARGET)
    port = free_port()
    command = [sys.executable, "-m", "reclaim", "run", "--watch", "--port", str(port)]
    with subprocess.Popen(
        command, env=env_of(embedded, TARGET), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        answer = _asked(f"http://127.0.0.1:{port}/{path}", process)
        process.terminate()

    assert (answer.status_code, process.returncode) == (200, 0)
    if path == "metrics":
        assert 'reclaim_up{group="g",stream="s"} 1.0' in answer.text
    else:
        assert answer.json() == {"status": "ok"}


def _asked(url: str, process: "subprocess.Popen[bytes]") -> httpx2.Response:
    while process.poll() is None:
        try:
            return httpx2.get(url)
        except httpx2.ConnectError:
            time.sleep(0.05)
    raise AssertionError("it has ended")


def test_a_port_that_is_taken_is_said(embedded: Endpoint) -> None:
    """In one line."""
    ended = in_pipe(env_of(embedded, TARGET), "run", "--watch", "--port", str(embedded.port))

    assert ended.code == 2
    assert f"cannot listen on 127.0.0.1:{embedded.port}" in " ".join(ended.err.split())
