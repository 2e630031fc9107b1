"""Owns which entries are a run's own, where the target has shards: those whose order key is in the run's shard.

An entry's order key is in its body, or in a record of an earlier run. So a shard reads the bodies of the others'
entries too, once: it remembers which ones they are. An entry without an order key is given to a shard by its ID. One
that left the stream is any shard's: nobody can read its key any more, and a shard may remember that it is not its own.
The claim records it as lost once, whichever shard comes first.
"""

from collections.abc import Callable, Mapping, Sequence

from reclaim.entry import Entry
from reclaim.errors import MissingField
from reclaim.run.order import digest
from reclaim.shards import Shard
from reclaim.state.bodies import Body
from reclaim.state.pending import Row
from reclaim.state.tries import Try

MAX_REMEMBERED = 100_000  # IDs of others' entries, some 10 MB


class Part:
    """What one run knows of its own part of the target."""

    def __init__(
        self,
        shard: Shard,
        order_key: Callable[[Entry], bytes],
        tries: Mapping[bytes, Try],
        others: set[bytes],
    ) -> None:
        """Make it.

        Args:
            shard: the part; the whole where the target has no shards.
            order_key: the order key of an entry.
            tries: the records of earlier runs, by the entry's ID.
            others: the IDs of entries known to be other shards', from run to run; it is added to.
        """
        self._shard = shard
        self._order_key = order_key
        self._tries = tries
        self._others = others

    @property
    def is_whole(self) -> bool:
        """Whether every entry is the run's own."""
        return self._shard.is_whole

    def may_be_own(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The entries that are not known to be other shards'."""
        return rows if self.is_whole else [row for row in rows if not self._is_known_other(row.id)]

    def own(self, rows: Sequence[Row], bodies: Sequence[Body]) -> tuple[Sequence[Row], Sequence[Body]]:
        """Of entries that were read, those that are the run's own, or gone; the others are remembered."""
        if self.is_whole or not rows:
            return rows, bodies
        both = [
            (row, body)
            for row, body in zip(rows, bodies, strict=True)
            if body is None or self.has(self.digest(row.id, body), row.id)
        ]
        return [row for row, _ in both], [body for _, body in both]

    def has(self, key_digest: bytes, entry_id: bytes) -> bool:
        """Whether an entry with this order key is the run's own; if not, it is remembered."""
        if self._shard.has(key_digest):
            return True
        if len(self._others) >= MAX_REMEMBERED:
            self._others.clear()
        self._others.add(entry_id)
        return False

    def digest(self, entry_id: bytes, fields: Sequence[bytes]) -> bytes:
        """The digest of an entry's order key; of its ID where it has no order key."""
        try:
            return digest(self._order_key(Entry(entry_id, fields)))
        except MissingField:
            return digest(entry_id)

    def _is_known_other(self, entry_id: bytes) -> bool:
        record = self._tries.get(entry_id)
        if record is not None and record.digest:
            return not self._shard.has(record.digest)
        return entry_id in self._others
