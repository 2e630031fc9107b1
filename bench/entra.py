"""Measures what signing in with Entra tokens costs: the loop's longest stall, beside that of the same load without.

`python -m bench.entra PORT SECONDS [entra]` is one measured process: it prints commands done, and its longest stall.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from functools import partial

from redis import Redis

from bench.measuring import ROOT, Sample, turns
from bench.section import Say, Section, Sizes, Table
from dev.identity import OID, IdentityEndpoint
from dev.server import HOST, Server
from reclaim.settings import Settings, Target
from reclaim.state.connection import connect

TASKS = 8
LATENCY_SEC, LIFE_SEC = 0.4, 4
LOOK_SEC = 0.001
NAMES = {"password": "without Entra", "entra": "with Entra tokens"}


async def load(port: int, seconds: float, auth: str) -> tuple[int, float]:
    """Batches on eight tasks for so long: how many there were, and the loop's longest stall in ms."""
    target = Target("s", "g")
    server = connect(Settings(host=HOST, port=port, targets=(target,), tls=False, auth=auth))
    ends, longest_ms, done = time.monotonic() + seconds, 0.0, 0

    async def watch() -> None:
        nonlocal longest_ms
        while time.monotonic() < ends:
            before = time.monotonic()
            await asyncio.sleep(LOOK_SEC)
            longest_ms = max(longest_ms, 1000 * (time.monotonic() - before - LOOK_SEC))

    async def work(number: int) -> None:
        nonlocal done
        while time.monotonic() < ends:
            await server.batch([("SET", f"k{number}", "v" * 100), ("GET", f"k{number}")])
            done += 1

    await asyncio.gather(watch(), *map(work, range(TASKS)))
    await server.aclose()
    return done, longest_ms


def entra(sizes: Sizes, say: Say) -> Section:
    """How long the loop stalls at most, with tokens that are asked for anew every 2.4 s and without."""
    seconds = 10.0 if sizes.entries > 10_000 else 1.0
    taken: dict[str, list[tuple[int, float]]] = {name: [] for name in NAMES}
    with Server() as server, IdentityEndpoint(LIFE_SEC, partial(_let_in, server.port)) as endpoint:
        endpoint.latency_sec = LATENCY_SEC
        for at, name in turns(sizes.rounds, NAMES):
            command = [sys.executable, "-m", "bench.entra", str(server.port), str(seconds), name]
            env = {**os.environ, **endpoint.environment}
            said = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
            done, stall_ms = json.loads(said)
            taken[name].append((done, stall_ms))
            say(f"  {at}/{sizes.rounds} {name}: {done / seconds:,.0f} batches/s, longest stall {stall_ms:.0f} ms")
    rows = [["", "batches/s", "longest stall of the loop, ms"]]
    for name, title in NAMES.items():
        rate, stall = (Sample([one[which] for one in taken[name]]) for which in (0, 1))
        rows.append([title, rate.times(1 / seconds).show(), stall.show(".0f")])
    return Section("Entra tokens", _text(seconds), [Table(rows)])


def _let_in(port: int, token: str, _: float) -> None:
    """Let whoever has this token in; called in a thread of the endpoint."""
    with Redis(host=HOST, port=port) as client:
        client.execute_command("ACL", "SETUSER", OID, "on", f">{token}", "~*", "+@all")


def _text(seconds: float) -> str:
    return f"""\
{TASKS} tasks send batches for {seconds:g} s in a process of their own; a ninth asks every millisecond whether
the loop comes to it. A stand-in of the identity endpoint takes {LATENCY_SEC:g} s for an answer, for the first of
which all tasks wait. Its tokens live for {LIFE_SEC} s, so a new one is asked for every 2.4 s. The first question
imports azure-identity in a thread, which shares the interpreter with the loop."""


def main() -> None:
    """One measured process."""
    port, seconds, auth = sys.argv[1:]
    print(json.dumps(asyncio.run(load(int(port), float(seconds), auth))))


if __name__ == "__main__":
    main()
