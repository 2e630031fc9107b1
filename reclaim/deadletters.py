"""Owns the dead letters: entries that are not going to be handled, kept with the reason and their bytes untouched."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from reclaim.connection import Command, Server
from reclaim.entry import Entry, check_id, id_after, id_number
from reclaim.errors import AccessDenied
from reclaim.retry import Deadline, Retries
from reclaim.settings import Target

FIELD_PREFIX = b"field:"
MAX_ERROR_CHARS = 1000
DISCARD_AT_ONCE = 100


# Adds a dead letter and acknowledges its entry. A MULTI would acknowledge it also where XADD fails when it is its turn
# (the key holds another type); a script stops there. Errors are passed through as they are: their codes are needed.
# KEYS: the stream, the dead letters. ARGV: group, entry ID, cap, then the dead letter's names and values.
# Result: how many older dead letters the cap pushed out; 0 also where the entry is no longer pending.
_PARK = """
if redis.replicate_commands then redis.replicate_commands() end
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then return 0 end
local before = redis.call('XLEN', KEYS[2])
local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4))
if type(added) == 'table' then return added end
local acknowledged = redis.pcall('XACK', KEYS[1], ARGV[1], ARGV[2])
if type(acknowledged) == 'table' then
  redis.call('XDEL', KEYS[2], added)
  return acknowledged
end
return before + 1 - redis.call('XLEN', KEYS[2])
"""


# Replaces a dead letter by an amended one, unless somebody has removed it meanwhile.
# KEYS: the dead letters. ARGV: the ID, then the new one's names and values. Result: the new one's ID, or nil.
_AMEND = """
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return false end
local added = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, 2))
if type(added) == 'table' then return added end
redis.call('XDEL', KEYS[1], ARGV[1])
return added
"""


class Reason(Enum):
    """Why an entry became a dead letter."""

    BAD_ENTRY = "bad_entry"  # it can never be stored: a missing field, a key of another type, rejected by the handler
    FAILED = "failed"  # the handler raised at its last delivery
    MAX_DELIVERIES = "max_deliveries"  # delivered too often without an end: it may be what kills the process


@dataclass(frozen=True, slots=True)
class Parking:
    """An entry on its way to the dead letters."""

    entry: Entry
    reason: Reason
    error: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry among the dead letters.

    Attributes:
        id: the dead letter's own ID; it changes when a replay fails.
        entry: the entry as it was handled last: its ID, fields, former consumer and deliveries.
        reason: one of `Reason`'s values.
        error: what was wrong, in words.
        at: when it became a dead letter or was last replayed; ISO 8601, UTC.
    """

    id: bytes
    entry: Entry
    reason: str
    error: str
    at: str

    @classmethod
    def read(cls, letter_id: bytes, flat: Sequence[bytes]) -> "DeadLetter":
        """The dead letter that a stream entry holds."""
        about: dict[bytes, bytes] = {}
        fields: list[bytes] = []
        for name, value in zip(flat[::2], flat[1::2], strict=True):
            if name.startswith(FIELD_PREFIX):
                fields += (name.removeprefix(FIELD_PREFIX), value)
            else:
                about[name] = value
        entry = Entry(about[b"id"], fields, about[b"consumer"], 0, int(about[b"deliveries"]))
        words = (about[name].decode(errors="replace") for name in (b"reason", b"error", b"at"))
        return cls(letter_id, entry, *words)

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
            "consumer": self.entry.consumer.decode(errors="backslashreplace"),
            "deliveries": self.entry.deliveries,
            "at": self.at,
            "fields": [{"name": name, "value": value} for name, value in zip(names, values, strict=True)],
        }


class DeadLetters:
    """The dead letters of one target: a stream with one entry for each."""

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._keys = target.keys
        self._group = target.group.encode()
        self._maxlen = target.dead_letter_maxlen

    async def park(
        self, parkings: Sequence[Parking], retries: Retries, deadline: Deadline
    ) -> tuple[int, dict[bytes, Exception]]:
        """Make dead letters of entries and acknowledge them.

        What is no longer pending is left alone, so that a call whose reply was lost can be made again.

        Returns:
            How many older dead letters the cap pushed out; and the error of each entry that is still pending, by ID.

        Raises:
            AccessDenied: this user may not make dead letters.
        """
        dropped, left = 0, {parking.entry.id: parking for parking in parkings}
        errors: dict[bytes, Exception] = {}
        try:
            async for attempt in retries.until(deadline):
                with attempt:
                    replies = await self._park_once(list(left.values()))
                    errors = {one: reply for one, reply in replies.items() if isinstance(reply, Exception)}
                    dropped += sum(reply for reply in replies.values() if isinstance(reply, int))
                    left = {one: left[one] for one in errors}
                    for error in errors.values():
                        raise error
        except AccessDenied:
            raise
        except Exception as exc:
            return dropped, {one: errors.get(one, exc) for one in left}
        return dropped, {}

    async def _park_once(self, parkings: Sequence[Parking]) -> dict[bytes, int | Exception]:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        replies = await self._server.batch([self._parks(parking, at) for parking in parkings])
        return {parking.entry.id: reply for parking, reply in zip(parkings, replies, strict=True)}

    def _parks(self, parking: Parking, at: str) -> Command:
        flat = _flat(parking.entry, parking.reason.value, parking.error, at)
        keys = (self._keys.stream, self._keys.dead)
        return ("EVAL", _PARK, 2, *keys, self._group, parking.entry.id, self._maxlen, *flat)

    async def count(self) -> int:
        """How many there are."""
        return int(await self._server.call("XLEN", self._keys.dead))

    async def list(self, after: bytes | None = None, count: int = 50) -> Sequence[DeadLetter]:
        """At most `count` dead letters, in the order in which they became such, from the one after the ID given."""
        start = "-" if after is None else id_after(after)
        found = await self._server.call("XRANGE", self._keys.dead, start, "+", "COUNT", count)
        return [DeadLetter.read(letter_id, flat) for letter_id, flat in found]

    async def show(self, ids: Sequence[bytes]) -> Sequence[DeadLetter | None]:
        """The dead letters with these IDs; None in the place of one that is not there.

        Raises:
            ValueError: an ID is not one of a stream.
        """
        for one in ids:
            check_id(one)
        replies = await self._server.batch([("XRANGE", self._keys.dead, one, one) for one in ids])
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return [DeadLetter.read(*found[0]) if found else None for found in replies]

    async def discard(self, ids: Sequence[bytes]) -> int:
        """Remove dead letters for good; return how many of them were there.

        Raises:
            ValueError: an ID is not one of a stream.
        """
        for one in ids:
            check_id(one)
        return int(await self._server.call("XDEL", self._keys.dead, *ids)) if ids else 0

    async def discard_all(self) -> int:
        """Remove every dead letter that there is now; return how many."""
        discarded = 0
        last = await self._server.call("XREVRANGE", self._keys.dead, "+", "-", "COUNT", 1)
        while last:
            ids = [letter.id for letter in await self.list(count=DISCARD_AT_ONCE)]
            ids = [one for one in ids if id_number(one) <= id_number(last[0][0])]
            if not ids:
                break
            discarded += await self.discard(ids)
        return discarded

    async def amend(self, letter: DeadLetter, error: str) -> None:
        """Replace a dead letter by one with a new error and time, its bytes untouched."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        flat = _flat(letter.entry, letter.reason, error, at)
        await self._server.call("EVAL", _AMEND, 1, self._keys.dead, letter.id, *flat)


def _flat(entry: Entry, reason: str, error: str, at: str) -> list[bytes | str | int]:
    """The names and values of a dead letter."""
    about = ("id", entry.id, "reason", reason, "error", error[:MAX_ERROR_CHARS].encode(errors="backslashreplace"))
    flat: list[bytes | str | int] = [*about, "consumer", entry.consumer, "deliveries", entry.deliveries, "at", at]
    for name, value in zip(entry.fields[::2], entry.fields[1::2], strict=True):
        flat += (FIELD_PREFIX + name, value)
    return flat
