"""Owns the ledger of lost entries as it is read; pending.py writes it, together with its claims."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reclaim.entry import by_name, check_id, id_before, readable
from reclaim.settings import Target
from reclaim.state.connection import Server
from reclaim.times import moment


@dataclass(frozen=True, slots=True)
class LostEntry:
    """An entry that was trimmed or deleted while it was pending; `at` is ISO 8601."""

    id: str
    consumer: str
    deliveries: int
    idle_ms: int
    at: str


class LostEntries:
    """A target's lost entries: about the latest 10,000."""

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._key = target.keys.lost

    async def count(self) -> int:
        """How many the ledger holds."""
        found: int = await self._server.call("XLEN", self._key)
        return found

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
            facts = by_name(flat)
            try:
                entry_id, consumer = readable(check_id(facts[b"id"])), readable(facts[b"consumer"])
                deliveries, idle_ms, at_ms = (int(facts[name]) for name in (b"deliveries", b"idle_ms", b"at"))
                lost = LostEntry(entry_id, consumer, deliveries, idle_ms, moment(at_ms))
            except (KeyError, ValueError, OverflowError):
                continue
            yield lost
