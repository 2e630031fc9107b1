"""What the circuit's tests are made of: calls, time moved by command, and processes that hammer one circuit."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from multiprocessing import get_context
from typing import Any

from reclaim.settings import Target
from reclaim.state.ask import Ask, plain
from reclaim.state.circuit import Admission, Change, Circuit
from reclaim.state.connection import connect
from tests.support import Client, HasPort, as_dict, raw_client, settings_for

DAY_SEC = 86_400.0

# Processes are forked from one that has imported what they need, once for all, and has done nothing else.
PROCESSES_OF_THEIR_OWN = get_context("forkserver")
PROCESSES_OF_THEIR_OWN.set_forkserver_preload(["tests.integration.observe.webhook"])


class Instance:
    """One instance of the app, as far as the circuit goes: a connection and a lease token of its own."""

    def __init__(self, place: HasPort, target: Target, name: str = "one") -> None:
        self.server = connect(settings_for(place, target))
        self.circuit = Circuit(self.server, target)
        self.token = f"token {name}".encode()
        self.name = name
        self._lease = target.keys.lease

    async def fails(self, failures: int = 1) -> Change:
        return await self._change(self.circuit.record(failures, self.name))

    async def enters(self) -> Admission:
        """As a run does: take the lease if it is free, and ask, in one round trip."""
        take = ("SET", self._lease, self.token, "NX", "PX", 15_000)
        _, admission = await self.server.ask(plain(*take), self.circuit.enter(self.token))
        return admission

    async def is_stopped(self) -> bool:
        (is_open,) = await self.server.ask(self.circuit.is_open())
        return is_open

    async def succeeds(self) -> Change:
        return await self._change(self.circuit.probe_succeeded(self.token, self.name))

    async def fails_its_probe(self) -> Change:
        return await self._change(self.circuit.probe_failed(self.token))

    async def withdraws(self) -> Change:
        return await self._change(self.circuit.probe_withdrawn(self.token))

    async def _change(self, ask: Ask[Change]) -> Change:
        (change,) = await self.server.ask(ask)
        return change


@asynccontextmanager
async def instances(place: HasPort, target: Target, *names: str) -> AsyncIterator[list[Instance]]:
    """Instances of the app on one target."""
    made = [Instance(place, target, name) for name in names or ("one",)]
    try:
        yield made
    finally:
        for one in made:
            await one.server.aclose()


# --- time, moved by command ------------------------------------------------------------------------------------------


def server_ms(client: Client) -> int:
    """What the server's clock says."""
    seconds, micros = client.execute_command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def spread_failures(client: Client, target: Target, over_ms: int) -> None:
    """Let the failures in the window have come one after another over so long, the last one now."""
    key = target.keys.failures
    members = client.execute_command("ZRANGE", key, 0, -1)
    now = server_ms(client)
    for at, member in enumerate(members):
        client.execute_command("ZADD", key, now - over_ms * (len(members) - at) // len(members), member)


def end_cooldown(client: Client, target: Target) -> None:
    """Let the cool-down be over."""
    client.execute_command("HSET", target.keys.circuit, "until_ms", server_ms(client) - 1)


def end_probe(client: Client, target: Target) -> None:
    """Let the probe's time be over, and the lease of the run that died with it."""
    client.execute_command("HSET", target.keys.circuit, "probe_until_ms", server_ms(client) - 1)
    client.execute_command("DEL", target.keys.lease)


def on_server(client: Client, target: Target) -> dict[str, Any]:
    """The whole state: every key, the hash with its times as seconds from now, and the number of failures."""
    now = server_ms(client)
    found: dict[str, Any] = {}
    for key in sorted(client.execute_command("KEYS", "*")):
        if key == target.keys.circuit:
            fields = as_dict(client.execute_command("HGETALL", key))
            found["circuit"] = {
                name.decode(): _seconds(value, now) if name.endswith(b"_ms") else value.decode()
                for name, value in fields.items()
                if name != b"change"
            }
        elif key == target.keys.failures:
            found["failures"] = client.execute_command("ZCARD", key)
        else:
            found[key.rpartition(b":")[2].decode()] = client.execute_command("GET", key).decode()
    return found


def _seconds(value: bytes, now_ms: int) -> int | str:
    """A moment as whole seconds from now; a duration, or a moment that never comes, as it is."""
    number = int(value)
    return round((number - now_ms) / 1000) if number > 1_000_000_000_000 else f"{number} ms"


# --- processes -------------------------------------------------------------------------------------------------------


def hammer(port: int, target: Target, number: int, calls: int, do: str) -> Counter[str]:
    """In a process of its own: make many calls at once when the starting shot falls; what they told.

    The process's clocks are wrong by so many days as its number says.
    """
    clock, clock_ns = time.time, time.time_ns
    time.time = lambda: clock() - DAY_SEC * number
    time.time_ns = lambda: clock_ns() - int(DAY_SEC * number) * 10**9
    return asyncio.run(_hammer(_Port(port), target, f"process {number}", calls, do))


async def _hammer(place: HasPort, target: Target, name: str, calls: int, do: str) -> Counter[str]:
    async with instances(place, target, *[name] * 4) as some:
        await asyncio.gather(*(one.is_stopped() for one in some))  # they are connected
        await asyncio.to_thread(_starting_shot, place)
        told = await asyncio.gather(*(_repeat(one, calls // len(some), do) for one in some))
    return sum(told, Counter())


async def _repeat(one: Instance, calls: int, do: str) -> Counter[str]:
    told: Counter[str] = Counter()
    for _ in range(calls):
        match do:
            case "fail":
                told[(await one.fails()).effect] += 1
            case "open":
                told[(await one.circuit.open("maintenance", one.name)).effect] += 1
            case "close":
                told[(await one.circuit.close("all is well", one.name)).effect] += 1
            case _:
                raise ValueError(do)
    return told


def _starting_shot(place: HasPort) -> None:
    with raw_client(place.port) as client:
        client.execute_command("RPUSH", "ready", "here")
        client.execute_command("BLPOP", "go", 30)


def shoot(client: Client, processes: int) -> None:
    """Wait until all processes are ready, then let them go."""
    for _ in range(processes):
        assert await_word(client) == "here"
    client.execute_command("RPUSH", "go", *["go"] * processes)


def await_word(client: Client) -> str:
    """What a process says."""
    _, word = client.execute_command("BLPOP", "ready", 30)
    return str(word.decode())


def probe_and_hang(port: int, target: Target) -> None:
    """In a process of its own: begin to probe, say so, and never come to an end."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_probe_and_hang(_Port(port), target))


async def _probe_and_hang(place: HasPort, target: Target) -> None:
    async with instances(place, target, "killed") as (one,):
        admission = await one.enters()
        await one.server.call("RPUSH", "ready", "probing" if admission.probing else "refused")
        await asyncio.sleep(3600)


class _Port:
    def __init__(self, port: int) -> None:
        self.port = port


def total(counters: Sequence[Counter[str]]) -> dict[str, int]:
    """What all of them told together."""
    return dict(sum(counters, Counter()))
