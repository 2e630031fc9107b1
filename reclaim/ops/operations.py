"""Owns the operations that are not about dead letters: status, lists, runs, the circuit, and who did what.

What a person can ask for is here, in letter_looks.py and in letter_acts.py. HTTP and the command line only translate to
and from it. An operation on one target takes the target's name; None means the only target that is configured. Every
operation may raise `UnknownTarget`, and `ServerError` or `redis.exceptions.RedisError` if it cannot use Redis.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from reclaim.app import App, Unit
from reclaim.errors import ServerError
from reclaim.ops.auditing import Act, audited
from reclaim.ops.health import Health, worst
from reclaim.ops.pending_list import PendingPage, read_pending
from reclaim.ops.results import Audited, CircuitChanged, CircuitOf, Lost, Runs, ServerStatus
from reclaim.ops.status import status
from reclaim.ops.targets import named_units, the_unit
from reclaim.ops.words import MAX_WHO_CHARS, check_line, check_words
from reclaim.run.report import RunReport
from reclaim.state.ask import plain
from reclaim.state.audit import Actor, Audit
from reclaim.state.circuit import State
from reclaim.state.lost import LOST_MAXLEN, LostEntries
from reclaim.trace import Operation

RUNS_AT_ONCE = 100

# --- status and lists ------------------------------------------------------------------------------------------------


async def read_status(app: App, target: str | None = None) -> ServerStatus:
    """The status of all targets, or of the named one."""
    others = app.units.keys() - {unit.target.name for unit in named_units(app, target)}
    whole = await status(app)
    return replace(whole, found=without(others, whole.found)) if others else whole


def without(others: Collection[str], found: dict[str, Any]) -> dict[str, Any]:
    """The status without these targets: its health and its findings are those of the remaining targets."""
    targets = [one for one in found["targets"] if one["target"] not in others]
    health = Health.FAIL if found["error"] else worst([Health(one["health"]) for one in targets])
    findings = [one for one in found["doctor"]["findings"] if one["about"] not in others]
    doctor = {**found["doctor"], "findings": findings}
    return {**found, "health": health.value, "doctor": doctor, "targets": targets}


async def list_runs(app: App, target: str | None = None, *, limit: int = 50, before: bytes | None = None) -> Runs:
    """At most `limit` reports, all older than `before`. It reads a few at a time, because they may be large."""
    unit = the_unit(app, target)
    runs: list[dict[str, Any]] = []
    left = limit
    while left:
        asked = min(left, RUNS_AT_ONCE)
        found, before = await unit.history.latest(asked, before)
        runs += ({**report, "id": entry_id.decode()} for entry_id, report in found)
        if before is None:
            break
        left -= asked
    return Runs(unit.target.name, runs, _text(before))


async def list_lost(app: App, target: str | None = None, *, limit: int = 50, before: bytes | None = None) -> Lost:
    """At most `limit` lost entries, the first of them recorded before the one at `before`."""
    unit = the_unit(app, target)
    entries = LostEntries(app.server, unit.target)
    count = await entries.count()
    lost, before = await entries.latest(limit, before)
    return Lost(unit.target.name, count, count >= LOST_MAXLEN, lost, _text(before))


# --- runs ------------------------------------------------------------------------------------------------------------


async def run_now(
    app: App,
    target: str | None = None,
    *,
    budget_sec: float = math.inf,
    stop: asyncio.Event | None = None,
    operation: Operation | None = None,
    park_misfits: str | None = None,
    by: Actor | None = None,
) -> list[RunReport]:
    """Run all targets, or the one that is named; a run that fails is told by its report.

    `by` is who asks for it, so that it is recorded; None where the schedule does. `park_misfits` is who wants entries
    that HASH_KEY does not fit to become dead letters, though it fits none.

    Raises:
        BadRequest: that name is not one line that can be read, or is too long.
    """
    named_units(app, target)
    if park_misfits is not None:
        check_line("who", park_misfits, MAX_WHO_CHARS)
    running = partial(
        app.reports, stop, only=target, budget_sec=budget_sec, operation=operation, park_misfits=park_misfits
    )
    return await running() if by is None else await _run_by_hand(app, target, by, running, park_misfits)


async def _run_by_hand(
    app: App,
    target: str | None,
    by: Actor,
    running: Callable[[], Awaitable[list[RunReport]]],
    park_misfits: str | None,
) -> list[RunReport]:
    """The reports of a run that a person asks for. A run that cannot be recorded tells by itself why."""
    meant = {} if park_misfits is None else {"park_misfits": True}
    acts: dict[str, Act] = {}
    async with AsyncExitStack() as stack:
        for unit in [one for one in named_units(app, target) if await _is_there(app, one)]:
            act = audited(app, unit, "run", by, meant=meant, must_record=False)
            acts[unit.target.name] = await stack.enter_async_context(act)
        reports = await running()
        for report in reports:
            if report.target in acts:
                numbers = {name: count for name, count in report.numbers().items() if count}
                acts[report.target].counts = {"outcome": report.outcome.value, "run_id": report.run_id, **numbers}
    return reports


async def _is_there(app: App, unit: Unit) -> bool:
    """Whether the group is there: for a name that may be misspelt nothing is written."""
    try:
        (found,) = await app.server.ask(plain("XPENDING", unit.target.keys.stream, unit.target.group_bytes).or_error())
    except (ServerError, RedisError, OSError):  # the run meets it too, and tells of it
        return False
    return not isinstance(found, Exception)


# --- pending entries -------------------------------------------------------------------------------------------------


async def list_pending(
    app: App, target: str | None = None, *, consumer: bytes | None = None, limit: int = 50, after: bytes | None = None
) -> PendingPage:
    """At most `limit` entries that are pending now, those after the ID `after`, of one consumer or of all."""
    return await read_pending(app, the_unit(app, target), consumer=consumer, after=after, limit=limit)


# --- the circuit -----------------------------------------------------------------------------------------------------


async def show_circuits(app: App, target: str | None = None) -> list[CircuitOf]:
    """The circuits of all targets, or of the named one."""
    return [CircuitOf(unit.target.name, await unit.circuit.show()) for unit in named_units(app, target)]


async def open_circuit(
    app: App, reason: str, who: str, target: str | None = None, *, by: Actor | None = None
) -> CircuitChanged:
    """Open the circuit until a person closes it. Meanwhile runs take nothing over.

    Raises:
        BadRequest: the reason or the name is not one line that a person can read, or it is too long.
    """
    return await _set_circuit(app, reason, by or Actor(who), target, State.OPEN)


async def close_circuit(
    app: App, reason: str, who: str, target: str | None = None, *, by: Actor | None = None
) -> CircuitChanged:
    """Close the circuit, whoever opened it.

    Raises:
        BadRequest: as `open_circuit`.
    """
    return await _set_circuit(app, reason, by or Actor(who), target, State.CLOSED)


async def _set_circuit(app: App, reason: str, by: Actor, target: str | None, to: State) -> CircuitChanged:
    check_words(reason, by.who)
    unit = the_unit(app, target)
    what, act = ("open_circuit", unit.circuit.open) if to is State.OPEN else ("close_circuit", unit.circuit.close)
    async with audited(app, unit, what, by, why=reason) as audit:
        change = await act(reason.strip(), by.who.strip())
        audit.counts = {"effect": change.effect.value}
    await app.tell(change, unit.target)
    return CircuitChanged(unit.target.name, change.effect, await unit.circuit.show())


# --- who did what ----------------------------------------------------------------------------------------------------


async def list_audit(app: App, target: str | None = None, *, limit: int = 50, before: bytes | None = None) -> Audited:
    """At most `limit` records of what people did, all older than `before`."""
    unit = the_unit(app, target)
    records, before = await Audit(app.server, unit.target).latest(limit, before)
    return Audited(unit.target.name, records, _text(before))


def _text(entry_id: bytes | None) -> str | None:
    return None if entry_id is None else entry_id.decode()
