"""Owns how pending entries that a run leaves alone hold back the later entries of their order keys (G3)."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from reclaim.entry import Entry
from reclaim.errors import MissingField
from reclaim.run.order import HeldKeys, digest
from reclaim.run.part import Part
from reclaim.state.find import Finder
from reclaim.state.pending import Row
from reclaim.state.tries import Tries


class Holding:
    """Learns the order keys of entries, from their records or their bodies, and holds these keys."""

    def __init__(
        self, finder: Finder, tries: Tries, part: Part, held: HeldKeys, order_key: Callable[[Entry], bytes]
    ) -> None:
        self._finder = finder
        self._tries = tries
        self._part = part
        self._held = held
        self._order_key = order_key

    async def hold(self, rows: Sequence[Row]) -> None:
        """Hold the order keys of these entries; of a shard, those of its own."""
        unknown = []
        for row in rows:
            record = self._tries.known.get(row.id)
            if record is not None and record.digest:
                self._held.hold_digest(record.digest, row.id)
            else:
                unknown.append(row)
        async for entry in self._finder.read(self._part.may_be_own(unknown)):
            with suppress(MissingField):  # it has no order key, and will be parked
                key = digest(self._order_key(entry))
                if self._part.has(key, entry.id):
                    self._held.hold_digest(key, entry.id)
