"""Owns the operations: everything that a person can ask for. HTTP and the command line only translate to and from them.

An operation on one target takes the target's name; None means the only target that is configured. Every operation may
raise `UnknownTarget`, and `ServerError` or `redis.exceptions.RedisError` if it cannot use Redis.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reclaim import visible
from reclaim.app import App, Unit
from reclaim.errors import BadRequest, CircuitOpen, UnknownTarget, shown
from reclaim.ops.health import Health, worst
from reclaim.ops.results import (
    Chosen,
    CircuitChanged,
    CircuitOf,
    Discarded,
    LetterGroups,
    Letters,
    Lost,
    Replayed,
    Runs,
    ServerStatus,
)
from reclaim.ops.searching import count_groups, search
from reclaim.ops.status import status
from reclaim.run.replay import ReplayReport
from reclaim.run.report import RunReport
from reclaim.state.circuit import State
from reclaim.state.letter_filter import EVERY_LETTER, LetterFilter, chosen_ids
from reclaim.state.lost import LOST_MAXLEN, LostEntries
from reclaim.times import Deadline
from reclaim.trace import Operation

if TYPE_CHECKING:
    from reclaim.state.dead_letters import DeadLetter

MAX_REASON_CHARS, MAX_WHO_CHARS = 500, 100
RUNS_AT_ONCE = 100

# --- which target ----------------------------------------------------------------------------------------------------


def named_units(app: App, target: str | None) -> list[Unit]:
    """The unit of the named target; all units if the name is None.

    Raises:
        UnknownTarget: the target is not configured.
    """
    if target is None:
        return list(app.units.values())
    unit = app.unit_of(target)
    if unit is None:
        raise UnknownTarget(target, app.units)
    return [unit]


def the_unit(app: App, target: str | None) -> Unit:
    """The unit of the named target; the only unit if the name is None.

    Raises:
        UnknownTarget: the target is not configured; or the name is None and there are several targets.
    """
    units = named_units(app, target)
    if len(units) > 1:
        raise UnknownTarget(None, app.units)
    return units[0]


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
) -> list[RunReport]:
    """Run all targets, or the one that is named; a run that fails is told by its report.

    `park_misfits` is who wants entries that HASH_KEY does not fit to become dead letters, though it fits none.

    Raises:
        BadRequest: that name is not one line that can be read, or is too long.
    """
    named_units(app, target)
    if park_misfits is not None:
        _check_line("who", park_misfits, MAX_WHO_CHARS)
    return await app.reports(stop, only=target, budget_sec=budget_sec, operation=operation, park_misfits=park_misfits)


# --- dead letters ----------------------------------------------------------------------------------------------------


async def list_dead_letters(
    app: App,
    target: str | None = None,
    *,
    wanted: LetterFilter = EVERY_LETTER,
    newest_first: bool = False,
    limit: int = 50,
    after: bytes | None = None,
) -> Letters:
    """At most `limit` dead letters that fit, from the one after `after`; fewer where one answer can look at no more."""
    unit = the_unit(app, target)
    count, last = await unit.dead_letters.count(), await unit.dead_letters.last()
    found = await search(unit.dead_letters, wanted, newest_first=newest_first, after=after, limit=limit)
    return Letters(unit.target.name, count, found.letters, found.looked, _text(found.next), _text(last))


async def list_many_dead_letters(
    app: App,
    target: str | None = None,
    *,
    wanted: LetterFilter = EVERY_LETTER,
    newest_first: bool = False,
    limit: int = 50,
    after: bytes | None = None,
) -> Letters:
    """List `limit` dead letters, from as many pages as that takes. `next` is None only if the list ends before."""
    letters: list[DeadLetter] = []
    looked = 0
    while True:
        page = await list_dead_letters(
            app, target, wanted=wanted, newest_first=newest_first, limit=limit - len(letters), after=after
        )
        letters += page.letters
        looked += page.looked
        if page.next is None or len(letters) >= limit:
            return replace(page, letters=letters, looked=looked)
        after = page.next.encode()


async def group_dead_letters(
    app: App,
    target: str | None = None,
    *,
    wanted: LetterFilter = EVERY_LETTER,
    newest_first: bool = False,
    after: bytes | None = None,
) -> LetterGroups:
    """The groups among the dead letters from the one after `after`, as far as one answer can look."""
    unit = the_unit(app, target)
    count, last = await unit.dead_letters.count(), await unit.dead_letters.last()
    found = await count_groups(unit.dead_letters, wanted, newest_first=newest_first, after=after)
    groups = (found.groups, found.others)
    return LetterGroups(unit.target.name, count, found.looked, found.matched, *groups, _text(found.next), _text(last))


async def show_dead_letters(app: App, ids: Sequence[bytes], target: str | None = None) -> Chosen:
    """The dead letters with these IDs.

    Raises:
        ValueError: an ID is not one of a stream.
    """
    unit = the_unit(app, target)
    found = await unit.dead_letters.show(ids)
    letters = [letter for letter in found if letter is not None]
    missing = [letter_id for letter_id, letter in zip(ids, found, strict=True) if letter is None]
    return Chosen(unit.target.name, letters, missing)


async def count_dead_letters(app: App, target: str | None = None) -> tuple[str, int]:
    """The target's name, and how many dead letters it has."""
    unit = the_unit(app, target)
    return unit.target.name, await unit.dead_letters.count()


async def replay_dead_letters(
    app: App,
    ids: Sequence[bytes] | None,
    target: str | None = None,
    *,
    wanted: LetterFilter = EVERY_LETTER,
    upto: bytes | None = None,
    limit: int | None = None,
    per_second: float | None = None,
    dry_run: bool = False,
    even_if_open: bool = False,
    budget_sec: float = 60.0,
    progress: Callable[[ReplayReport], None] = lambda _: None,
) -> Replayed:
    """Handle the dead letters with these IDs once more, or all of them; `Replay.run` explains the arguments.

    Raises:
        CircuitOpen: the circuit is open, and the caller has set neither `even_if_open` nor `dry_run`.
        LeaseHeld: another run was at work on the target during the whole budget.
    """
    unit = the_unit(app, target)
    if not (dry_run or even_if_open):
        await _check_circuit(unit)
    report = await unit.replay().run(
        ids,
        wanted=wanted,
        upto=upto,
        limit=limit,
        per_second=per_second,
        dry_run=dry_run,
        budget_sec=budget_sec,
        progress=progress,
    )
    return Replayed(unit.target.name, dry_run, report)


async def _check_circuit(unit: Unit) -> None:
    circuit = await unit.circuit.show()
    if circuit.state is State.CLOSED:
        return
    raise CircuitOpen(f"{unit.target.name}: the circuit is {circuit.state.replace('_', ' ')} ({circuit.why})")


async def discard_dead_letters(
    app: App,
    ids: Iterable[bytes] | None,
    target: str | None = None,
    *,
    wanted: LetterFilter = EVERY_LETTER,
    upto: bytes | None = None,
    budget_sec: float = math.inf,
) -> Discarded:
    """Remove the dead letters with these IDs that fit, for good. If `ids` is None: all that fit, up to the ID `upto`.

    It begins nothing more after `budget_sec`.
    """
    unit = the_unit(app, target)
    letters = unit.dead_letters
    if ids is not None:
        named = [*ids]
        if wanted != EVERY_LETTER:
            there = await letters.show(named)
            named = [letter.id for letter in there if letter is not None and wanted.fits(letter)]
        return Discarded(unit.target.name, await letters.discard(named))
    if wanted == EVERY_LETTER:
        return Discarded(unit.target.name, await letters.discard_all(upto))
    deadline, discarded = Deadline(budget_sec, time.monotonic), 0
    async for some in chosen_ids(letters, wanted, upto):
        if deadline.passed():
            return Discarded(unit.target.name, discarded, done=False)
        discarded += await letters.discard([letter_id for letter_id, _ in some])
    return Discarded(unit.target.name, discarded)


# --- the circuit -----------------------------------------------------------------------------------------------------


async def show_circuits(app: App, target: str | None = None) -> list[CircuitOf]:
    """The circuits of all targets, or of the named one."""
    return [CircuitOf(unit.target.name, await unit.circuit.show()) for unit in named_units(app, target)]


async def open_circuit(app: App, reason: str, who: str, target: str | None = None) -> CircuitChanged:
    """Open the circuit until a person closes it. Meanwhile runs take nothing over.

    Raises:
        BadRequest: the reason or the name is not one line that a person can read, or it is too long.
    """
    return await _set_circuit(app, reason, who, target, State.OPEN)


async def close_circuit(app: App, reason: str, who: str, target: str | None = None) -> CircuitChanged:
    """Close the circuit, whoever opened it.

    Raises:
        BadRequest: as `open_circuit`.
    """
    return await _set_circuit(app, reason, who, target, State.CLOSED)


async def _set_circuit(app: App, reason: str, who: str, target: str | None, to: State) -> CircuitChanged:
    check_words(reason, who)
    unit = the_unit(app, target)
    act = unit.circuit.open if to is State.OPEN else unit.circuit.close
    change = await act(reason.strip(), who.strip())
    await app.tell(change, unit.target)
    return CircuitChanged(unit.target.name, change.effect, await unit.circuit.show())


def check_words(reason: str, who: str) -> None:
    """Check the reason and the person's name: everybody must be able to read them later.

    Raises:
        BadRequest: one of them is not one line that a person can read, or it is too long.
    """
    _check_line("reason", reason, MAX_REASON_CHARS)
    _check_line("who", who, MAX_WHO_CHARS)


def _check_line(name: str, text: str, most_chars: int) -> None:
    if len(text) > most_chars or not visible.is_one_line(text):
        allowed = f"1 to {most_chars} characters on one line that can be seen, not all of them blank"
        raise BadRequest(f"{name} is {shown(text)}", allowed)


def _text(entry_id: bytes | None) -> str | None:
    return None if entry_id is None else entry_id.decode()
