"""Owns the operations: everything that a person can ask for. HTTP and the command line only translate to and from them.

An operation on one target takes the target's name; None means the only target that is configured. Every operation may
raise `UnknownTarget`, and `ServerError` or `redis.exceptions.RedisError` if it cannot use Redis.
"""

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from redis.exceptions import RedisError

from reclaim import visible
from reclaim.app import App, Unit
from reclaim.entry import id_number
from reclaim.errors import BadRequest, CircuitOpen, ServerError, UnknownTarget, shown
from reclaim.ops.auditing import SOMEBODY, Act, audited, meant_letters
from reclaim.ops.health import Health, worst
from reclaim.ops.pending_list import PendingPage, read_pending
from reclaim.ops.results import (
    Audited,
    Chosen,
    CircuitChanged,
    CircuitOf,
    Discarded,
    Imported,
    LetterGroup,
    LetterGroups,
    Letters,
    Lost,
    Named,
    Replayed,
    Runs,
    ServerStatus,
)
from reclaim.ops.saved import letter_of, line_of
from reclaim.ops.searching import count_groups, search
from reclaim.ops.status import status
from reclaim.run.replay import ReplayReport
from reclaim.run.report import RunReport
from reclaim.state.ask import plain
from reclaim.state.audit import Actor, Audit
from reclaim.state.circuit import State
from reclaim.state.dead_letters import LETTERS_AT_ONCE
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
        _check_line("who", park_misfits, MAX_WHO_CHARS)
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


# --- pending entries ---


async def list_pending(
    app: App, target: str | None = None, *, consumer: bytes | None = None, limit: int = 50, after: bytes | None = None
) -> PendingPage:
    """At most `limit` entries that are pending now, those after the ID `after`, of one consumer or of all."""
    return await read_pending(app, the_unit(app, target), consumer=consumer, after=after, limit=limit)


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


async def each_dead_letter(
    app: App,
    target: str | None = None,
    wanted: LetterFilter = EVERY_LETTER,
    *,
    newest_first: bool = False,
    after: bytes | None = None,
) -> AsyncIterator[Sequence["DeadLetter"]]:
    """All dead letters that fit, from the one after `after`, a page at a time."""
    go_on = True
    while go_on:
        page = await list_dead_letters(
            app, target, wanted=wanted, newest_first=newest_first, limit=LETTERS_AT_ONCE, after=after
        )
        yield page.letters
        go_on = page.next is not None
        after = page.next.encode() if page.next else None


async def named_dead_letters(app: App, ids: Sequence[bytes], target: str | None = None) -> Named:
    """The dead letters that these IDs name. An ID that no dead letter has is looked for among their entries' IDs.

    Raises:
        ValueError: an ID is not one of a stream.
    """
    letters = the_unit(app, target).dead_letters
    there = await letters.show(ids)
    others = [one for one, letter in zip(ids, there, strict=True) if letter is None]
    by_entry = await letters.with_entries(frozenset(others)) if others else {}
    found = [letter.id for letter in there if letter is not None]
    found += [letter_id for one in others for letter_id in by_entry.get(one, ())]
    return Named(list(dict.fromkeys(found)), [one for one in others if one not in by_entry])


async def group_all_dead_letters(
    app: App, target: str | None = None, *, wanted: LetterFilter = EVERY_LETTER
) -> LetterGroups:
    """The groups among all dead letters that fit, from as many answers as that takes."""
    groups: dict[tuple[str, str], LetterGroup] = {}
    looked = matched = others = 0
    after = None
    while True:
        found = await group_dead_letters(app, target, wanted=wanted, after=after)
        looked, matched, others = looked + found.looked, matched + found.matched, others + found.others
        for one in found.groups:
            of = (one.reason, one.error_group)
            groups[of] = one if of not in groups else groups[of] + one
        if found.next is None:
            ranked = sorted(groups.values(), key=lambda one: -one.count)
            return replace(found, looked=looked, matched=matched, groups=ranked, others=others)
        after = found.next.encode()


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


async def count_dead_letters(
    app: App, target: str | None = None, *, wanted: LetterFilter = EVERY_LETTER
) -> tuple[str, int]:
    """The target's name, and how many dead letters that fit it has."""
    unit = the_unit(app, target)
    if wanted == EVERY_LETTER:
        return unit.target.name, await unit.dead_letters.count()
    return unit.target.name, sum([len(some) async for some in chosen_ids(unit.dead_letters, wanted)])


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
    by: Actor = SOMEBODY,
) -> Replayed:
    """Handle the dead letters with these IDs once more, or all of them; `Replay.run` explains the arguments.

    Raises:
        CircuitOpen: the circuit is open, and the caller has set neither `even_if_open` nor `dry_run`.
        LeaseHeld: another run was at work on the target during the whole budget.
    """
    unit = the_unit(app, target)
    if not (dry_run or even_if_open):
        await _check_circuit(unit)
    replaying = partial(
        unit.replay().run,
        ids,
        wanted=wanted,
        upto=upto,
        limit=limit,
        per_second=per_second,
        dry_run=dry_run,
        budget_sec=budget_sec,
    )
    if dry_run:
        return Replayed(unit.target.name, dry_run, await replaying(progress=progress))
    meant = meant_letters(None if ids is None else [*ids], wanted, upto, limit=limit, per_second=per_second)
    async with audited(app, unit, "replay", by, meant=meant) as act:

        def tell(so_far: ReplayReport) -> None:
            act.counts = asdict(so_far)
            progress(so_far)

        report = await replaying(progress=tell)
        act.counts = asdict(report)
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
    by: Actor = SOMEBODY,
    why: str = "",
) -> Discarded:
    """Remove the dead letters with these IDs that fit, for good. If `ids` is None: all that fit, up to the ID `upto`.

    It begins nothing more after `budget_sec`. `by` and `why` are recorded.

    Raises:
        BadRequest: the reason or the name is not one line that a person can read, or it is too long.
    """
    _check_line("who", by.who, MAX_WHO_CHARS)
    if why:
        _check_line("why", why, MAX_REASON_CHARS)
    unit = the_unit(app, target)
    named = None if ids is None else [*ids]
    async with audited(app, unit, "discard", by, why=why, meant=meant_letters(named, wanted, upto)) as act:
        done = await _discard(unit, named, wanted, upto, budget_sec)
        act.counts = {"discarded": done.discarded, "done": done.done}
    return done


async def save_and_discard(
    app: App,
    ids: Sequence[bytes] | None,
    target: str | None = None,
    *,
    wanted: LetterFilter = EVERY_LETTER,
    by: Actor = SOMEBODY,
    why: str = "",
    file: IO[str],
) -> Discarded:
    """Save dead letters to a file, and remove what is safely there: page by page, first the one, then the other.

    What a newer release has written cannot be saved, and stays.

    Raises:
        BadRequest: as `discard_dead_letters`.
        OSError: the file cannot be written.
    """
    _check_line("who", by.who, MAX_WHO_CHARS)
    _check_line("why", why, MAX_REASON_CHARS)
    unit = the_unit(app, target)
    letters, discarded = unit.dead_letters, 0
    last = await letters.last() or b"0-0"
    meant = meant_letters(None if ids is None else [*ids], wanted, last, saved_to=file.name)
    async with audited(app, unit, "discard", by, why=why, meant=meant) as act:
        pages = (
            letters.walk(wanted.first, min(last, wanted.last, key=id_number)) if ids is None else _pages_of(unit, ids)
        )
        async for some in pages:
            known = [letter for letter in some if wanted.fits(letter) and not letter.is_foreign]
            file.writelines(f"{line_of(letter)}\n" for letter in known)
            file.flush()
            os.fsync(file.fileno())
            discarded += await letters.discard([letter.id for letter in known])
            act.counts = {"discarded": discarded}
    return Discarded(unit.target.name, discarded)


async def _pages_of(unit: Unit, ids: Sequence[bytes]) -> AsyncIterator[Sequence["DeadLetter"]]:
    """The dead letters with these IDs, as many at a time as come to a page."""
    left, bodies = list(ids), unit.dead_letters.bodies()
    while left:
        some = await unit.dead_letters.first(left, bodies)
        yield [letter for letter in some if letter is not None]
        left = left[len(some) :]


async def import_dead_letters(
    app: App, content: bytes, name: str, target: str | None = None, *, by: Actor = SOMEBODY
) -> Imported:
    """Make dead letters of all those in a saved file; none, if one line is bad or there is no room for all.

    Raises:
        BadRequest: a line is no dead letter, or the name is not one line that a person can read.
        DeadLettersFull: there is no room.
    """
    _check_line("who", by.who, MAX_WHO_CHARS)
    unit = the_unit(app, target)
    lines = enumerate(content.splitlines(), 1)
    letters = [letter_of(line, f"{name}, line {number}") for number, line in lines if line.strip()]
    async with audited(app, unit, "import", by, meant={"file": name, "count": len(letters)}) as act:
        async for imported in unit.dead_letters.add(letters):
            act.counts = {"imported": imported}
    return Imported(unit.target.name, len(letters))


async def _discard(
    unit: Unit, named: list[bytes] | None, wanted: LetterFilter, upto: bytes | None, budget_sec: float
) -> Discarded:
    letters = unit.dead_letters
    if named is not None:
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
