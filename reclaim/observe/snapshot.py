"""Owns a quick look at how a target stands, for telemetry: one round trip, cheap at any backlog."""

import asyncio
from dataclasses import dataclass
from typing import TypeVar

from reclaim.settings import Target
from reclaim.state.ask import Ask
from reclaim.state.connection import Server

T = TypeVar("T")

LOOK_AT = 100  # pending entries, from the smallest ID on, among which the one idle for longest is sought


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target stands; None for what Redis did not answer.

    Attributes:
        oldest_idle_ms: how long the pending entry that was delivered longest ago has been idle; 0 with none pending.
        dead_letters: how many there are.
        circuit: closed, half_open or open.
    """

    oldest_idle_ms: int | None = None
    dead_letters: int | None = None
    circuit: str | None = None


async def look(server: Server, target: Target, within_sec: float) -> Standing:
    """Look at a target. It never raises for what goes wrong with Redis: what is not known in time stays None."""
    try:
        async with asyncio.timeout(within_sec):
            oldest_idle_ms, dead_letters, circuit = await server.ask(
                _oldest_idle_ms(target).or_error(), _dead_letters(target).or_error(), _circuit(target).or_error()
            )
    except Exception:  # the run itself says what is wrong
        return Standing()
    return Standing(_if_answered(oldest_idle_ms), _if_answered(dead_letters), _if_answered(circuit))


def _oldest_idle_ms(target: Target) -> Ask[int]:
    command = ("XPENDING", target.keys.stream, target.group, "-", "+", LOOK_AT)
    return Ask.one(command, lambda rows: max((row[2] for row in rows), default=0))


def _dead_letters(target: Target) -> Ask[int]:
    return Ask.one(("XLEN", target.keys.dead), int)


def _circuit(target: Target) -> Ask[str]:
    return Ask.one(("HGET", target.keys.circuit, "state"), lambda state: state.decode() if state else "closed")


def _if_answered(answer: T | Exception) -> T | None:
    return None if isinstance(answer, Exception) else answer
