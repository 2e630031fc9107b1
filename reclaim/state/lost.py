"""Owns the ledger of lost entries: what it says of an entry, how that is read, and how it is written.

A script records a lost entry, in one step with the claim or the refund that found it missing: `lost_prelude.lua` is
the writer of all of them. Only what is gone with its stream or group is recorded by `record` and `record_at_most`.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from reclaim.bounded import NAME_CHARS, cut_bytes, shortened
from reclaim.entry import by_name, check_id, id_before, readable
from reclaim.names import written
from reclaim.settings import Target
from reclaim.state.ask import Command
from reclaim.state.connection import Server
from reclaim.state.formats import FIELD, FORMAT, of_newer_release
from reclaim.state.pending import Row
from reclaim.times import moment

LOST_MAXLEN = 10_000  # about: where the ledger is full, an older entry goes for each that is added
READ_AT_ONCE = 500  # of 1 kB at most
MAX_NAME_BYTES = 800  # of the consumer that had the entry, as in lost_prelude.lua


@dataclass(frozen=True, slots=True)
class LostEntry:
    """An entry that was trimmed or deleted while it was pending; `at` is ISO 8601.

    Attributes:
        at_most: the stream or the group is gone, and with it at most so many entries that cannot be named; `id` is the
            smallest ID that was pending. None for an entry that is known by its ID.
    """

    id: str
    consumer: str
    deliveries: int
    idle_ms: int
    at: str
    at_most: int | None = None

    @classmethod
    def read(cls, flat: Sequence[bytes]) -> "LostEntry":
        """The lost entry that the names and values of the ledger's entry tell of.

        Raises:
            KeyError, ValueError, OverflowError: somebody else has written it, or a newer release in another format.
        """
        facts = by_name(flat)
        if facts.get(FIELD, FORMAT) != FORMAT:
            raise ValueError(of_newer_release("a lost entry", facts[FIELD]))
        return cls(
            id=readable(check_id(facts[b"id"])),
            consumer=shortened(written(facts[b"consumer"]), NAME_CHARS),
            deliveries=int(facts[b"deliveries"]),
            idle_ms=int(facts[b"idle_ms"]),
            at=moment(int(facts[b"at"])),
            at_most=int(facts[b"at_most"]) if b"at_most" in facts else None,
        )


def now_ms() -> int:
    """When an entry is recorded that is found lost now."""
    return time.time_ns() // 1_000_000


def record(ledger: bytes, row: Row, at_ms: int) -> Command:
    """The command that records an entry that is gone with its stream or group: what `lost_prelude.lua` writes."""
    consumer = cut_bytes(row.consumer, MAX_NAME_BYTES)
    about = ("id", row.id, "consumer", consumer, "idle_ms", row.idle_ms, "deliveries", row.deliveries)
    return ("XADD", ledger, "MAXLEN", "~", LOST_MAXLEN, "*", *about, "at", at_ms)


def record_at_most(ledger: bytes, count: int, first_id: bytes, at_ms: int) -> Command:
    """The command that records that at most so many entries are gone with their stream or group, from this ID on."""
    about = ("id", first_id, "consumer", b"", "idle_ms", 0, "deliveries", 0, "at", at_ms, "at_most", count)
    return ("XADD", ledger, "MAXLEN", "~", LOST_MAXLEN, "*", *about)


class LostEntries:
    """A target's lost entries: about the latest 10,000."""

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._key = target.keys.lost

    async def count(self) -> int:
        """How many the ledger holds."""
        found: int = await self._server.call("XLEN", self._key)
        return found

    async def strike(self, places: Sequence[bytes]) -> None:
        """Remove entries by their place in the ledger: they were handled all the same."""
        await self._server.call("XDEL", self._key, *places)

    async def latest(self, count: int, before: bytes | None = None) -> tuple[list[LostEntry], bytes | None]:
        """At most `count` of them, the one found last first, from the one before the place given.

        Returns:
            The entries; and the place before which to go on, None at the end.
        """
        end = "+" if before is None else id_before(before)
        found = await self._server.call("XREVRANGE", self._key, end, "-", "COUNT", count)
        return list(self.read(found)), found[-1][0] if len(found) == count else None

    async def ids(self) -> set[bytes]:
        """The IDs of all entries that the ledger names."""
        named: set[bytes] = set()
        entries, before = await self.latest(READ_AT_ONCE)
        while True:
            named.update(entry.id.encode() for entry in entries if entry.at_most is None)
            if before is None:
                return named
            entries, before = await self.latest(READ_AT_ONCE, before)

    @staticmethod
    def read(found: Iterable[tuple[bytes, Sequence[bytes]]]) -> Iterator[LostEntry]:
        """The lost entries that the ledger's entries tell of; what somebody else has put among them is passed over."""
        for _, flat in found:
            with suppress(KeyError, ValueError, OverflowError):
                yield LostEntry.read(flat)
