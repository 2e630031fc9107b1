"""Owns a quick look at how a target stands, for telemetry: one round trip, cheap at any backlog."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from reclaim.settings import Target
from reclaim.state.connection import Command, Reply, Server

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
            pending, dead, state = await server.batch(_questions(target), denial_raises=False)
    except Exception:  # the run itself says what is wrong
        return Standing()
    return Standing(
        _if_answered(pending, lambda rows: max((row[2] for row in rows), default=0)),
        _if_answered(dead, int),
        _if_answered(state, lambda state: state.decode() if state else "closed"),
    )


def _questions(target: Target) -> list[Command]:
    keys = target.keys
    return [
        ("XPENDING", keys.stream, target.group, "-", "+", LOOK_AT),
        ("XLEN", keys.dead),
        ("HGET", keys.circuit, "state"),
    ]


def _if_answered(reply: Reply, read: Callable[[Reply], T]) -> T | None:
    return None if isinstance(reply, Exception) else read(reply)
