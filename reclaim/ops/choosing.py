"""Owns which entry a person means: one of the stream, a dead letter, or one in a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reclaim.app import App, Unit
from reclaim.bounded import NAME_CHARS, shortened
from reclaim.counted import how_often, many
from reclaim.entry import Entry, check_id, readable
from reclaim.errors import BadRequest, NoSuchEntry, shown
from reclaim.names import written
from reclaim.ops.saved import is_letter, letter_of, parsed, to_bytes
from reclaim.ops.targets import the_unit
from reclaim.state.ask import plain
from reclaim.state.dead_letters import DeadLetter
from reclaim.state.pending import Row

FILE_ID = b"1-0"  # of an entry whose file says no ID


@dataclass(frozen=True, slots=True)
class Found:
    """An entry to try.

    Attributes:
        target: the target's name.
        where: where it was found, in words.
        entry: the entry, as a run would claim it.
        row: how it is pending; None if it is not.
        letter: its dead letter; None if it is none.
    """

    target: str
    where: str
    entry: Entry
    row: Row | None = None
    letter: DeadLetter | None = None


async def find(app: App, wanted: bytes, target: str | None = None) -> Found:
    """The entry with this ID: pending, among the dead letters (by its own ID or by theirs), or only in the stream.

    Raises:
        ValueError: it is not an ID.
        NoSuchEntry: it is in none of these places.
    """
    unit = the_unit(app, target)
    check_id(wanted)
    stream = unit.target.keys.stream
    rows, bodies = await app.server.ask(
        plain("XPENDING", stream, unit.target.group_bytes, wanted, wanted, 1).or_error(),
        plain("XRANGE", stream, wanted, wanted),
    )
    row = Row(*rows[0]) if isinstance(rows, list) and rows else None
    if row is not None and bodies:
        entry = Entry(row.id, bodies[0][1], row.consumer, row.idle_ms, row.deliveries + 1)
        return Found(unit.target.name, _about(row), entry, row)
    letter = await _letter(unit, wanted)
    if letter is not None:
        return of_letter(letter, unit.target.name, f"the dead letter {readable(letter.id)} ({letter.reason})")
    if bodies:
        return Found(unit.target.name, "in the stream, and not pending", Entry(wanted, bodies[0][1], b"", 0, 2))
    gone = " It is pending, and its entry is gone from the stream: a run records it as lost." if row else ""
    where = f"neither in the stream nor among the dead letters of {unit.target.name}"
    raise NoSuchEntry(f"the entry {readable(wanted)} is {where}.{gone}")


async def _letter(unit: Unit, wanted: bytes) -> DeadLetter | None:
    """The dead letter with this ID, or else the latest one whose entry has it."""
    (letter,) = await unit.dead_letters.show([wanted])
    if letter is not None:
        return letter
    latest = None
    async for some in unit.dead_letters.ids():
        latest = next((one for one, entry_id in reversed(some) if entry_id == wanted), latest)
    return None if latest is None else (await unit.dead_letters.show([latest]))[0]


def of_letter(letter: DeadLetter, target: str, where: str) -> Found:
    """A dead letter, to be tried as a replay would."""
    return Found(target, where, letter.entry, letter=letter)


def in_file(app: App, content: bytes, name: str, wanted: bytes | None = None, target: str | None = None) -> Found:
    """The entry that a file holds: a JSON object of an entry's fields, or a dead letter as it is saved.

    Of saved dead letters, one a line, there may be many: `wanted` is the ID of one, or of its entry.

    Raises:
        BadRequest: the file holds nothing of that kind, or several and no ID says which, or not the one with that ID.
    """
    unit = the_unit(app, target)
    lines = [line for line in content.splitlines() if line.strip()]
    if _are_letters(lines):
        return of_letter(*_one_of(lines, name, wanted, unit.target.name))
    found = parsed(content, name)
    if is_letter(found):
        return of_letter(*_one_of([content], name, wanted, unit.target.name))
    if wanted is not None:
        check_id(wanted)
    fields = [part for field, value in found.items() for part in _field(field, value, name)]
    return Found(unit.target.name, f"in {name}", Entry(wanted or FILE_ID, fields, b"", 0, 2))


def _are_letters(lines: Sequence[bytes]) -> bool:
    """Whether each line is a dead letter, and not a part of one object that is written on several lines."""
    try:
        return len(lines) > 1 and is_letter(parsed(lines[0], "the first line"))
    except BadRequest:
        return False


def _one_of(lines: Sequence[bytes], name: str, wanted: bytes | None, target: str) -> tuple[DeadLetter, str, str]:
    letters = [letter_of(line, f"{name}, line {number}") for number, line in enumerate(lines, 1)]
    if wanted is None and len(letters) > 1:
        raise BadRequest(f"{name} holds {many(len(letters), 'dead letter')}", "one; or say the ID of one of them")
    for letter in letters:
        if wanted in {None, letter.id, letter.entry.id}:
            return letter, target, f"a dead letter in {name} ({letter.reason or 'for no reason that is said'})"
    raise BadRequest(f"{name} has no dead letter {readable(wanted)}", "the ID of one that is in it")


def _field(field: str, value: Any, name: str) -> tuple[bytes, bytes]:
    if not isinstance(value, str):
        raise BadRequest(f"{name}: the field {shown(field)} is {shown(value)}", "text or a number, as Redis keeps it")
    return to_bytes(field, f"{name}: a field's name"), to_bytes(value, f"{name}: the field {shown(field)}")


def _about(row: Row) -> str:
    consumer = shortened(written(row.consumer), NAME_CHARS) if row.consumer else "no consumer"
    return f"pending with {consumer}, idle for {row.idle_ms / 1000:,.1f} s, delivered {how_often(row.deliveries)}"
