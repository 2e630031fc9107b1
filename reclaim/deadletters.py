"""Owns the dead letters: entries that are not going to be handled, kept with the reason and their bytes untouched."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from reclaim.connection import Command, Server
from reclaim.entry import Entry
from reclaim.settings import Target

FIELD_PREFIX = b"field:"
MAX_ERROR_CHARS = 1000


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
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return before + 1 - redis.call('XLEN', KEYS[2])
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


class DeadLetters:
    """The dead letters of one target: a stream with one entry for each."""

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._keys = target.keys
        self._group = target.group.encode()
        self._maxlen = target.dead_letter_maxlen

    async def park(self, parkings: Sequence[Parking]) -> list[int | Exception]:
        """Make dead letters of entries and acknowledge them.

        For each: how many older ones the cap pushed out, or the error.

        What is no longer pending is left alone, so that a call whose reply was lost can be made again.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        replies: list[int | Exception] = await self._server.batch([self._parks(parking, at) for parking in parkings])
        return replies

    def _parks(self, parking: Parking, at: str) -> Command:
        entry = parking.entry
        fields: list[bytes] = []
        for name, value in zip(entry.fields[::2], entry.fields[1::2], strict=True):
            fields += (FIELD_PREFIX + name, value)
        why = ("reason", parking.reason.value, "error", parking.error[:MAX_ERROR_CHARS])
        whence = ("consumer", entry.consumer, "deliveries", entry.deliveries, "at", at)
        keys = (self._keys.stream, self._keys.dead)
        return ("EVAL", _PARK, 2, *keys, self._group, entry.id, self._maxlen, "id", entry.id, *why, *whence, *fields)
