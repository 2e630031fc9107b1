"""Owns the dead letters: entries that no run handles any more, kept with the reason and with their bytes unchanged."""

import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from reclaim.bounded import cut, cut_bytes, cut_start
from reclaim.counted import are
from reclaim.entry import Entry, check_id, id_after, id_before, readable
from reclaim.errors import AccessDenied, DeadLettersFull
from reclaim.names import written
from reclaim.retry import Retries
from reclaim.settings import Target
from reclaim.state.ask import Command, Reply, checked, raised
from reclaim.state.bodies import Bodies
from reclaim.state.connection import Server
from reclaim.state.formats import FIELD, FORMAT, of_newer_release
from reclaim.state.scripts import script
from reclaim.times import Deadline
from reclaim.tracebacks import LETTER_BYTES
from reclaim.verdicts import error_code

T = TypeVar("T")

FIELD_PREFIX = b"field:"
MAX_ERROR_BYTES = 4_000
MAX_NAME_BYTES = 800  # of the consumer that had the entry
MAX_SCRIPT_VALUES = 7_000  # Lua passes on fewer than 8,000 values at once
# What one script or command may look at, so that it blocks the server for a few milliseconds at most.
IDS_AT_ONCE = 250
REMOVED_AT_ONCE = 100  # of 1 MB each: 5 ms on Redis 7.0, which gives their memory back at once
LETTERS_AT_ONCE = 200  # with their bodies: 2 ms
BYTES_AT_ONCE = 2**18
PATIENCE_SEC = 10.0  # for a person's request: it is sent again where a connection breaks

_PARK = script("park", prelude="keep_prelude")
_PARK_AND_DELETE = script("park", prelude="delete_prelude")
_ADDED = script("added_prelude")
_PARK_WIDE = _ADDED + script("park_wide", prelude="keep_prelude")
_PARK_WIDE_AND_DELETE = _ADDED + script("park_wide", prelude="delete_prelude")
_AMEND = script("amend")
_AMEND_WIDE = script("amend_wide", prelude="added_prelude")
_IDS = script("dead_letter_ids")
_LETTERS = script("letters")
_LAST = script("last_dead_letter")
_DISCARD = script("discard")


_WORDS = (b"reason", b"error", b"at", b"traceback")


class Reason(Enum):
    """Why an entry became a dead letter."""

    BAD_ENTRY = "bad_entry"  # it can never be stored: a missing field, a key of another type, rejected by the handler
    FAILED = "failed"  # the handler raised at its last delivery
    IDS_BEGAN_AGAIN = "ids_began_again"  # its hash holds a version that the stream, made anew, has not come to yet
    MAX_REQUEUES = "max_requeues"  # it was given back to its group as often as MAX_REQUEUES allows
    RETRIED_TOO_LONG = "retried_too_long"  # it met an outage for too long, while other entries were stored
    MAX_DELIVERIES = "max_deliveries"  # delivered too often without an end: it may be what kills the process


@dataclass(frozen=True, slots=True)
class Parking:
    """An entry on its way to the dead letters."""

    entry: Entry
    reason: Reason
    error: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Parked:
    """What came of making dead letters.

    Attributes:
        not_deleted: how many of the entries stay in the stream because another group needs them.
        errors: by ID the error of each entry that is still pending; `DeadLettersFull` where there is no room.
    """

    not_deleted: int
    errors: Mapping[bytes, Exception]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry among the dead letters.

    Attributes:
        id: the dead letter's own ID; it changes when a replay fails.
        entry: the entry as it was handled last: its ID, fields, former consumer and deliveries.
        reason: one of `Reason`'s values.
        error: what was wrong, in words.
        at: when it became a dead letter or was last replayed; ISO 8601, UTC.
        traceback: the end of the error's traceback, if it was raised by a function of the user's.
        is_foreign: whether a newer release has written it, so that it is shown as far as it can be read, and not
            replayed; `error` says so.
    """

    id: bytes
    entry: Entry
    reason: str
    error: str
    at: str
    traceback: str = ""
    is_foreign: bool = False

    @classmethod
    def read(cls, letter_id: bytes, flat: Sequence[bytes]) -> "DeadLetter":
        """The dead letter that a stream entry holds; what somebody else has put there is read as far as it goes."""
        about: dict[bytes, bytes] = {}
        fields: list[bytes] = []
        for name, value in zip(flat[::2], flat[1::2], strict=True):
            if name.startswith(FIELD_PREFIX):
                fields += (name.removeprefix(FIELD_PREFIX), value)
            else:
                about[name] = value
        entry_id, deliveries = _entry_id(about.get(b"id"), letter_id), about.get(b"deliveries", b"0")
        deliveries = deliveries if deliveries.isdigit() else b"0"
        entry = Entry(entry_id, fields, about.get(b"consumer", b""), 0, int(deliveries))
        reason, error, at, traceback = (readable(about.get(name)) for name in _WORDS)
        version = about.get(FIELD, FORMAT)
        if version != FORMAT:
            error = ": ".join(part for part in (of_newer_release("this dead letter", version), error) if part)
        return cls(letter_id, entry, reason, error, at, traceback, version != FORMAT)

    def to_dict(self, shown: Callable[[bytes], str]) -> dict[str, Any]:
        """The dead letter ready for JSON: bytes as base64, and as the text that they are shown as."""

        def both(value: bytes) -> dict[str, Any]:
            return {"text": shown(value), "base64": base64.b64encode(value).decode(), "bytes": len(value)}

        names, values = map(both, self.entry.fields[::2]), map(both, self.entry.fields[1::2])
        return {
            "id": self.id.decode(),
            "entry_id": self.entry.id.decode(),
            "reason": self.reason,
            "error": self.error,
            "traceback": self.traceback,
            "consumer": written(self.entry.consumer),
            "deliveries": self.entry.deliveries,
            "at": self.at,
            "fields": [{"name": name, "value": value} for name, value in zip(names, values, strict=True)],
        }


class DeadLetters:
    """The dead letters of one target: a stream with one entry for each."""

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._keys = target.keys
        self._group = target.group_bytes
        self._consumer = target.consumer_bytes
        self._maxlen = target.dead_letter_maxlen
        self._park = _PARK_AND_DELETE if target.delete_acknowledged else _PARK
        self._park_the_wide = _PARK_WIDE_AND_DELETE if target.delete_acknowledged else _PARK_WIDE
        self._retries = Retries(target.retry_attempts, target.retry_max_delay_sec)

    async def park(self, parkings: Sequence[Parking], retries: Retries, deadline: Deadline) -> Parked:
        """Make dead letters of entries and acknowledge them.

        An entry that is no longer pending is left alone, so that a call whose reply was lost can be made again.
        An entry that somebody else has claimed meanwhile is left alone too: nobody should work on a dead letter.
        No dead letter is pushed out: where there are DEAD_LETTER_MAXLEN of them, entries stay pending.

        Raises:
            AccessDenied: this user may not make dead letters.
        """
        not_deleted, left = 0, {parking.entry.id: parking for parking in parkings}
        errors: dict[bytes, Exception] = {}

        async def attempt() -> None:
            nonlocal not_deleted, left, errors
            replies = await self._park_once(list(left.values()))
            errors = {one: self._error(reply) for one, reply in replies.items() if isinstance(reply, Exception)}
            not_deleted += sum(reply for reply in replies.values() if isinstance(reply, int))
            left = {one: left[one] for one in errors}
            for error in errors.values():
                raise error

        try:
            await retries.call(deadline, attempt)
        except AccessDenied:
            raise
        except Exception as exc:  # noqa: BLE001  # each dead letter that is left gets the error as its result
            return Parked(not_deleted, {one: errors.get(one, exc) for one in left})
        return Parked(not_deleted, {})

    def _error(self, error: Exception) -> Exception:
        return self.no_room() if error_code(error) == "FULL" else error

    def no_room(self) -> DeadLettersFull:
        """Why no entry can become a dead letter."""
        return DeadLettersFull(f"there {are(self._maxlen, 'dead letter')}, as many as DEAD_LETTER_MAXLEN allows")

    async def _park_once(self, parkings: Sequence[Parking]) -> dict[bytes, int | Exception]:
        flats = [(one.entry, _flat(one.entry, one.reason.value, one.error, one.traceback)) for one in parkings]
        park: Command = ("EVAL", self._park, 2, self._keys.stream, self._keys.dead, self._group)
        parks: dict[bytes, Command] = {
            one.id: (*park, one.id, self._maxlen, self._consumer, one.deliveries, *flat)
            for one, flat in flats
            if len(flat) <= MAX_SCRIPT_VALUES
        }
        results = dict(zip(parks, await self._server.batch([*parks.values()]) if parks else [], strict=True))
        for one, flat in flats:
            if one.id not in results:
                results[one.id] = await self._park_wide(one, flat)
        return results

    async def _park_wide(self, entry: Entry, flat: Sequence[bytes | str | int]) -> int | Exception:
        """Do what `_PARK` does, for an entry with more fields than Lua can pass on to a command."""
        dead, group = self._keys.dead, self._group
        look: list[Command] = [
            ("TYPE", dead),
            ("XPENDING", self._keys.stream, group, entry.id, entry.id, 1),
            ("XLEN", dead),
        ]
        kind, rows, there = await self._server.batch(look)
        if checked(kind) not in {b"stream", b"none"}:
            return ResponseError(f"WRONGTYPE the dead letters' key holds a {kind.decode()}")
        if not checked(rows):
            return 0
        if checked(there) >= self._maxlen:  # it is not sent only to be taken back
            return ResponseError("FULL")
        add: Command = ("XADD", dead, "*", *flat)
        about = (group, entry.id, self._maxlen, self._consumer, entry.deliveries, len(flat))
        try:
            _, parked = await self._server.transaction(
                [add, ("EVAL", self._park_the_wide, 2, self._keys.stream, dead, *about)]
            )
        except ResponseError as exc:
            return exc
        return parked if isinstance(parked, Exception) else int(parked)

    async def is_full(self) -> bool:
        """Whether there is no room for another dead letter."""
        return bool(await self._server.call("XLEN", self._keys.dead) >= self._maxlen)

    async def count(self) -> int:
        """How many there are."""
        return int(await self._call("XLEN", self._keys.dead))

    async def last(self) -> bytes | None:
        """The ID of the latest dead letter; None where there is none."""
        found: bytes | None = await self._call("EVAL", _LAST, 1, self._keys.dead)
        return found

    async def walk(
        self, first: bytes = b"-", last: bytes = b"+", *, newest_first: bool = False, at_once: int = LETTERS_AT_ONCE
    ) -> AsyncIterator[Sequence[DeadLetter]]:
        """The dead letters from the ID `first` to the ID `last`, a few at a time: as many as one script may look at.

        Args:
            first: the smallest ID.
            last: the greatest ID.
            newest_first: begin with the greatest ID.
            at_once: at most so many at a time.
        """
        start, end, command, step = (
            (last, first, "XREVRANGE", id_before) if newest_first else (first, last, "XRANGE", id_after)
        )
        at_once = min(at_once, LETTERS_AT_ONCE)
        at: bytes | None = start
        is_end = 0
        while at is not None and not is_end:
            dead = self._keys.dead
            found, is_end = await self._call("EVAL", _LETTERS, 1, dead, at, end, command, at_once, BYTES_AT_ONCE)
            letters = [DeadLetter.read(letter_id, flat) for letter_id, flat in found]
            if letters:
                yield letters
                at = step(letters[-1].id)

    async def with_entries(self, entry_ids: Collection[bytes]) -> Mapping[bytes, Sequence[bytes]]:
        """The IDs of all dead letters of these entries, by the entry's ID; the oldest first. No body is read."""
        found: dict[bytes, list[bytes]] = {}
        async for some in self.ids():
            for letter_id, entry_id in some:
                if entry_id in entry_ids:
                    found.setdefault(entry_id, []).append(letter_id)
        return found

    async def are_there(self, ids: Sequence[bytes]) -> Sequence[bool]:
        """Whether there is a dead letter with each of these IDs. No body is read.

        Raises:
            ValueError: an ID is not one of a stream.
        """
        looks: list[Command] = [("EVAL", _IDS, 1, self._keys.dead, one, one, 1, 1) for one in map(check_id, ids)]
        there: list[bool] = []
        for at in range(0, len(looks), IDS_AT_ONCE):
            found = await self._patiently(partial(self._server.batch, looks[at : at + IDS_AT_ONCE]))
            there += (bool(checked(one)) for one in found)
        return there

    async def show(self, ids: Sequence[bytes]) -> Sequence[DeadLetter | None]:
        """The dead letters with these IDs; None in the place of one that is not there.

        Raises:
            ValueError: an ID is not one of a stream.
        """
        left, bodies = list(ids), self.bodies()
        letters: list[DeadLetter | None] = []
        while left:
            some = await self.first(left, bodies)
            letters += some
            left = left[len(some) :]
        return letters

    def bodies(self) -> Bodies:
        """What reads the bodies of dead letters, as many at once as their weight allows, for `first`."""
        return Bodies(self._server, self._keys.dead, in_order=False)

    async def first(self, ids: Sequence[bytes], bodies: Bodies) -> Sequence[DeadLetter | None]:
        """The first of the dead letters with these IDs, as many as come to a page; None where one is not there.

        Raises:
            ValueError: an ID is not one of a stream.
        """
        checked = list(map(check_id, ids))
        read = await self._patiently(partial(bodies.first, checked))
        bodies.forget(checked[: len(read)])
        return [
            None if body is None else DeadLetter.read(letter_id, body)
            for letter_id, body in zip(checked, read, strict=False)
        ]

    async def discard(self, ids: Sequence[bytes]) -> int:
        """Remove dead letters for good; return how many of them were there.

        Where a reply was lost and the removal was sent again, IDs that were not there from the start are counted too.

        Raises:
            ValueError: an ID is not one of a stream.
        """
        checked = list(map(check_id, ids))
        discarded = 0
        for at in range(0, len(checked), REMOVED_AT_ONCE):
            discarded += await self._remove(checked[at : at + REMOVED_AT_ONCE])
        return discarded

    async def _remove(self, ids: Sequence[bytes]) -> int:
        attempts = 0

        async def remove() -> int:
            nonlocal attempts
            attempts += 1
            return int(await self._server.call("XDEL", self._keys.dead, *ids))

        removed = await self._patiently(remove)
        return removed if attempts == 1 else len(ids)

    async def discard_all(self, upto: bytes | None = None) -> int:
        """Remove every dead letter that there is now, or up to the one with this ID; return how many.

        Where a reply was lost, the dead letters of one step may be missing in that number.
        """
        last = upto or await self.last()
        if last is None:
            return 0
        discarded, more = 0, True
        while more:
            some, more = await self._call("EVAL", _DISCARD, 1, self._keys.dead, last, IDS_AT_ONCE, BYTES_AT_ONCE)
            discarded += some
        return discarded

    async def ids(self, upto: bytes | None = None) -> AsyncIterator[Sequence[tuple[bytes, bytes]]]:
        """The IDs of all dead letters there are now, or up to this one, each with its entry's ID, a few at once."""
        last = upto or await self.last()
        start: bytes | None = b"-"
        while last is not None and start is not None:
            found = await self._ids(start, last, IDS_AT_ONCE)
            if not found:
                return
            yield found
            start = id_after(found[-1][0])

    async def _ids(self, start: bytes, last: bytes, count: int) -> Sequence[tuple[bytes, bytes]]:
        """The IDs of the next dead letters, each with its entry's ID: some, if there are any."""
        found = await self._call("EVAL", _IDS, 1, self._keys.dead, start, last, count, BYTES_AT_ONCE)
        return [(letter_id, _entry_id(entry_id, letter_id)) for letter_id, entry_id in found]

    async def add(self, letters: Sequence[DeadLetter]) -> AsyncIterator[int]:
        """Make dead letters of these, their bytes untouched, with new IDs and times; tell how many, a few at a time.

        It is not sent again where a connection breaks: nobody knows then whether the last few were made.

        Raises:
            DeadLettersFull: there is no room for all of them; none is made.
        """
        if await self.count() + len(letters) > self._maxlen:
            raise self.no_room()
        done, batch, size = 0, list[Command](), 0
        for letter in letters:
            flat = _flat(letter.entry, letter.reason, letter.error, letter.traceback)
            batch.append(("XADD", self._keys.dead, "*", *flat))
            size += sum(map(len, letter.entry.fields))
            if size >= BYTES_AT_ONCE or len(batch) == LETTERS_AT_ONCE:
                raised(await self._server.batch(batch))
                done += len(batch)
                batch, size = [], 0
                yield done
        if batch:
            raised(await self._server.batch(batch))
            yield done + len(batch)

    async def amend(self, letter: DeadLetter, error: str, traceback: str = "") -> None:
        """Replace a dead letter by one with a new error and time, its bytes untouched."""
        flat = _flat(letter.entry, letter.reason, error, traceback)
        if len(flat) <= MAX_SCRIPT_VALUES:
            await self._call("EVAL", _AMEND, 1, self._keys.dead, letter.id, *flat)
        elif (await self.show([letter.id]))[0] is not None:
            dead = self._keys.dead
            end: Command = ("EVAL", _AMEND_WIDE, 1, dead, letter.id, len(flat))
            raised(await self._server.transaction([("XADD", dead, "*", *flat), end]))

    async def _call(self, *command: bytes | str | int) -> Reply:
        return await self._patiently(partial(self._server.call, *command))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what the call returns; it is made again where a connection breaks, so it must do no harm twice."""
        return await self._retries.attempt(Deadline(PATIENCE_SEC, time.monotonic), call)


def _entry_id(said: bytes | None, letter_id: bytes) -> bytes:
    """The ID of a dead letter's entry; the dead letter's own ID where somebody else has written no ID there."""
    try:
        return letter_id if said is None else check_id(said)
    except ValueError:
        return letter_id


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _flat(entry: Entry, reason: str, error: str, traceback: str) -> list[bytes | str | int]:
    """The names and values of a dead letter that is made now. What is no part of the entry itself is bounded."""
    flat: list[bytes | str | int] = ["id", entry.id, "reason", reason, "error", cut(error, MAX_ERROR_BYTES)]
    flat += ["consumer", cut_bytes(entry.consumer, MAX_NAME_BYTES), "deliveries", entry.deliveries, "at", _now()]
    if traceback:
        flat += ["traceback", cut_start(traceback, LETTER_BYTES)]
    for name, value in zip(entry.fields[::2], entry.fields[1::2], strict=True):
        flat += (FIELD_PREFIX + name, value)
    return flat
