"""Owns the ledger of lost entries: what it says of an entry, how that is read, and how it is written.

A script records a lost entry, in one step with the claim or the refund that found it missing: `lost_prelude.lua` is
the writer of all of them.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from reclaim.bounded import NAME_CHARS, shortened
from reclaim.entry import by_name, check_id, id_before, readable
from reclaim.names import written
from reclaim.settings import Target
from reclaim.state.connection import Server
from reclaim.times import moment

LOST_MAXLEN = 10_000  # about: where the ledger is full, an older entry goes for each that is added


@dataclass(frozen=True, slots=True)
class LostEntry:
    """An entry that was trimmed or deleted while it was pending; `at` is ISO 8601."""

    id: str
    consumer: str
    deliveries: int
    idle_ms: int
    at: str

    @classmethod
    def read(cls, flat: Sequence[bytes]) -> "LostEntry":
        """The lost entry that the names and values of the ledger's entry tell of.

        Raises:
            KeyError, ValueError, OverflowError: somebody else has written it.
        """
        facts = by_name(flat)
        return cls(
            id=readable(check_id(facts[b"id"])),
            consumer=shortened(written(facts[b"consumer"]), NAME_CHARS),
            deliveries=int(facts[b"deliveries"]),
            idle_ms=int(facts[b"idle_ms"]),
            at=moment(int(facts[b"at"])),
        )


def now_ms() -> int:
    """When an entry is recorded that is found lost now."""
    return time.time_ns() // 1_000_000


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

    @staticmethod
    def read(found: Iterable[tuple[bytes, Sequence[bytes]]]) -> Iterator[LostEntry]:
        """The lost entries that the ledger's entries tell of; what somebody else has put among them is passed over."""
        for _, flat in found:
            with suppress(KeyError, ValueError, OverflowError):
                yield LostEntry.read(flat)
