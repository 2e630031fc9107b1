"""Owns the snapshot of a target that telemetry sends: one round trip after the run, cheap at any backlog."""

import asyncio
from dataclasses import dataclass
from typing import TypeVar

from reclaim.settings import Target
from reclaim.state.ask import Ask
from reclaim.state.connection import Server

T = TypeVar("T")

MAX_ROWS = 100  # of the pending list, from the smallest ID on: among these the longest idle time is sought


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How a target stands; None for what Redis did not answer.

    Attributes:
        oldest_idle_ms: how long the pending entry that was delivered longest ago has been idle; 0 with none pending.
        dead_letters: how many there are.
        circuit: closed, half_open or open.
    """

    oldest_idle_ms: int | None = None
    dead_letters: int | None = None
    circuit: str | None = None


async def take_snapshot(server: Server, target: Target, within_sec: float) -> Snapshot:
    """Ask Redis how the target stands. Whatever goes wrong there, nothing is raised: what is not known is None."""
    asks = (_oldest_idle_ms(target).or_error(), _dead_letters(target).or_error(), _circuit(target).or_error())
    try:
        async with asyncio.timeout(within_sec):
            oldest_idle_ms, dead_letters, circuit = await server.ask(*asks)
    except Exception:  # noqa: BLE001  # telemetry fails no run; the run itself says what is wrong with Redis
        return Snapshot()
    return Snapshot(_if_known(oldest_idle_ms), _if_known(dead_letters), _if_known(circuit))


def _oldest_idle_ms(target: Target) -> Ask[int]:
    command = ("XPENDING", target.keys.stream, target.group_bytes, "-", "+", MAX_ROWS)
    return Ask.one(command, lambda rows: max((row[2] for row in rows), default=0))


def _dead_letters(target: Target) -> Ask[int]:
    return Ask.one(("XLEN", target.keys.dead), int)


def _circuit(target: Target) -> Ask[str]:
    return Ask.one(("HGET", target.keys.circuit, "state"), lambda state: state.decode() if state else "closed")


def _if_known(answer: T | Exception) -> T | None:
    return None if isinstance(answer, Exception) else answer
