"""Owns what a person does to dead letters: replay, discard, save and import. Each act is recorded.

Each takes the target's name; None means the only target that is configured. Each may raise `UnknownTarget`, and
`ServerError` or `redis.exceptions.RedisError` if it cannot use Redis, or cannot record what is to be done.
IDs are those of dead letters or of their entries; an ID that is a dead letter's own means that one.
"""

import math
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import IO

from reclaim.app import App, Unit
from reclaim.entry import id_number
from reclaim.errors import CircuitOpen
from reclaim.ops.auditing import SOMEBODY, audited, meant_letters
from reclaim.ops.letter_looks import named
from reclaim.ops.results import Discarded, Imported, Named, Replayed
from reclaim.ops.saved import letter_of, line_of
from reclaim.ops.targets import the_unit
from reclaim.ops.words import MAX_REASON_CHARS, MAX_WHO_CHARS, check_line
from reclaim.run.replay import ReplayReport
from reclaim.state.audit import Actor
from reclaim.state.circuit import State
from reclaim.state.dead_letters import DeadLetter
from reclaim.state.letter_filter import EVERY_LETTER, LetterFilter, chosen_ids
from reclaim.times import Deadline


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
    """Handle the dead letters that these IDs name once more, or all of them; `Replay.run` explains the arguments.

    Raises:
        CircuitOpen: the circuit is open, and the caller has set neither `even_if_open` nor `dry_run`.
        LeaseHeld: another run was at work on the target during the whole budget.
    """
    unit = the_unit(app, target)
    if not (dry_run or even_if_open):
        await _check_circuit(unit)

    async def replay(tell: Callable[[ReplayReport], None]) -> ReplayReport:
        those = await _named(unit, ids)
        report = await unit.replay().run(
            None if those is None else those.letter_ids,
            wanted=wanted,
            upto=upto,
            limit=limit,
            per_second=per_second,
            dry_run=dry_run,
            budget_sec=budget_sec,
            progress=tell,
        )
        return report if those is None else report + ReplayReport(missing=len(those.missing))

    if dry_run:
        return Replayed(unit.target.name, dry_run, await replay(progress))
    meant = meant_letters(None if ids is None else [*ids], wanted, upto, limit=limit, per_second=per_second)
    async with audited(app, unit, "replay", by, meant=meant) as act:

        def tell(so_far: ReplayReport) -> None:
            act.counts = asdict(so_far)
            progress(so_far)

        report = await replay(tell)
        act.counts = asdict(report)
    return Replayed(unit.target.name, dry_run, report)


async def _named(unit: Unit, ids: Iterable[bytes] | None) -> Named | None:
    return None if ids is None else await named(unit.dead_letters, [*ids])


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
    """Remove the dead letters that these IDs name and that fit, for good. If `ids` is None: all that fit, up to `upto`.

    It begins nothing more after `budget_sec`. `by` and `why` are recorded.

    Raises:
        BadRequest: the reason or the name is not one line that a person can read, or it is too long.
    """
    check_line("who", by.who, MAX_WHO_CHARS)
    if why:
        check_line("why", why, MAX_REASON_CHARS)
    unit = the_unit(app, target)
    asked = None if ids is None else [*ids]
    async with audited(app, unit, "discard", by, why=why, meant=meant_letters(asked, wanted, upto)) as act:
        those = await _named(unit, asked)
        if those is None:
            done = await _discard_all(unit, wanted, upto, budget_sec)
        else:
            done = await _discard_named(unit, those, wanted)
        act.counts = {"discarded": done.discarded, "done": done.done}
    return done


async def _discard_all(unit: Unit, wanted: LetterFilter, upto: bytes | None, budget_sec: float) -> Discarded:
    letters = unit.dead_letters
    if wanted == EVERY_LETTER:
        return Discarded(unit.target.name, await letters.discard_all(upto))
    deadline, discarded = Deadline(budget_sec, time.monotonic), 0
    async for some in chosen_ids(letters, wanted, upto):
        if deadline.passed():
            return Discarded(unit.target.name, discarded, done=False)
        discarded += await letters.discard([letter_id for letter_id, _ in some])
    return Discarded(unit.target.name, discarded)


async def _discard_named(unit: Unit, those: Named, wanted: LetterFilter) -> Discarded:
    letters, missing = unit.dead_letters, len(those.missing)
    if wanted == EVERY_LETTER:
        gone = await letters.discard(those.letter_ids)
        missing += len(those.letter_ids) - gone
    else:
        gone = 0
        async for some in _pages_of(unit, those.letter_ids):
            gone += await letters.discard([letter.id for letter in some if wanted.fits(letter)])
    return Discarded(unit.target.name, gone, missing=missing)


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
    check_line("who", by.who, MAX_WHO_CHARS)
    check_line("why", why, MAX_REASON_CHARS)
    unit = the_unit(app, target)
    letters = unit.dead_letters
    last = await letters.last() or b"0-0"
    meant = meant_letters(None if ids is None else [*ids], wanted, last, saved_to=file.name)
    done = Discarded(unit.target.name, 0)
    async with audited(app, unit, "discard", by, why=why, meant=meant) as act:
        those = await _named(unit, ids)
        if those is None:
            pages = letters.walk(wanted.first, min(last, wanted.last, key=id_number))
        else:
            pages = _pages_of(unit, those.letter_ids)
            done = replace(done, missing=len(those.missing))
        async for some in pages:
            known = [letter for letter in some if wanted.fits(letter) and not letter.is_foreign]
            file.writelines(f"{line_of(letter)}\n" for letter in known)
            file.flush()
            os.fsync(file.fileno())
            done = replace(done, discarded=done.discarded + await letters.discard([letter.id for letter in known]))
            act.counts = {"discarded": done.discarded}
    return done


async def _pages_of(unit: Unit, ids: Sequence[bytes]) -> AsyncIterator[Sequence[DeadLetter]]:
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
    check_line("who", by.who, MAX_WHO_CHARS)
    unit = the_unit(app, target)
    lines = enumerate(content.splitlines(), 1)
    letters = [letter_of(line, f"{name}, line {number}") for number, line in lines if line.strip()]
    async with audited(app, unit, "import", by, meant={"file": name, "count": len(letters)}) as act:
        async for imported in unit.dead_letters.add(letters):
            act.counts = {"imported": imported}
    return Imported(unit.target.name, len(letters))
