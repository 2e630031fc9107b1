"""Owns the refunds: what keeps claimed entries ours, and what gives them back as they were before the claim.

A claim raises an entry's delivery count by one and sets its idle time to zero. Where the entry is not to blame (the
store was down, the run has ended), both are set back: that is a refund. It gives back the moment since when the entry
was idle, not how long: else a later entry of its order key, idle since the same moment, would seem idle for longer
(G3). A script makes it, and only where the entry is still our consumer's with the delivery count that our claim left.
So no refund takes an entry from somebody else, and none is made twice. An entry that was deleted meanwhile is recorded
as lost by the same script.

Two kinds of entries wait for a refund:

*Owed*: a page's entries that the run will not finish. They wait in memory while Redis cannot be reached, up to a later
run.

*In doubt*: the entries named by a claim that failed or was cancelled. The claim's command may still be on its way: it
has taken effect, or takes effect at some later moment, or never does. Where it does, the entries are ours, with a
delivery counted, and the run does not know. So:

- Before each look for idle entries, `settle` tries to refund owed entries and entries in doubt. An entry in doubt that
  is ours is refunded, and with that the doubt is over. An entry that is not ours stays in doubt for DOUBT_SEC, and the
  next `settle` tries again: the claim may arrive in between. Where it arrives between a `settle` and the look, the look
  has missed its entries. So refunds are settled after the look too, and it is repeated if `effects` tells of one.
- Several claims that name an entry may be on their way. When one of them has taken effect, that ends one doubt.
- A new claim may name an entry in doubt, because the entry was found idle again. If the new claim gets it, the doubt
  sleeps: the entry is in work, and a refund would set its count and idle time back while the run handles it.
  `end_doubts` puts the doubt to sleep before any `settle` can refund the entry: the lock is held from the new claim on.
  It wakes when the entry is refunded: then the entry is as the old claim wants to find it.
- If the new claim does not get an entry that was in doubt, the old claim may have taken effect between the look and the
  new claim. `end_doubts` refunds such an entry at once and makes the new claim fail as a whole with an error that may
  pass: the new claim may have given the run later entries of the same order key, which must not be stored first (G3).
  All that the new claim named is in doubt then, so the next `settle` gives it back, and the next look finds all of it
  in ID order.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from reclaim.entry import Entry
from reclaim.names import name_bytes
from reclaim.settings import Target
from reclaim.shards import Shard
from reclaim.state.connection import Server
from reclaim.state.lost import LOST_MAXLEN, now_ms
from reclaim.state.pending import Row
from reclaim.state.scripts import script
from reclaim.verdicts import error_code

DOUBT_SEC = 60.0  # how long after it has failed a claim may still take effect
KEEP_AT_ONCE = 500  # entries that one script keeps or refunds: 2 to 4 ms

_KEEP = script("keep", prelude="lost_prelude")


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of keeping entries fresh.

    Attributes:
        gone: IDs of entries that are no longer ours.
        lost: where the ledger of lost entries has each entry that was lost while it was ours, by the entry's ID; None
            where the ledger took nothing.
    """

    gone: set[bytes]
    lost: dict[bytes, bytes | None]


class Reset(NamedTuple):
    """A pending entry of ours, and what its idle time and delivery count are to be.

    Attributes:
        id: the entry's ID.
        left: the delivery count that it was left with. An entry with another count is left as it is.
        idle_ms: its new idle time.
        deliveries: its new delivery count.
        since_ms: the moment since when it is to have been idle, Unix ms by the server's clock, in place of `idle_ms`.
    """

    id: bytes
    left: int
    idle_ms: int
    deliveries: int
    since_ms: int | None = None


class _Claimed(NamedTuple):
    """An entry that a claim has taken, or may have taken.

    Attributes:
        row: the entry as it was as the run began, with the delivery count that the claim leaves.
        began_ms: when that was, Unix ms by the server's clock.
        until: in doubt until then, by the monotonic clock; infinite where the claim is known.
    """

    row: Row
    began_ms: int
    until: float = math.inf

    def refund(self, min_idle_ms: int) -> Reset:
        """What gives it back. One that somebody else had given back (XNACK) was idle for as long as it takes."""
        row = self.row
        since_ms = self.began_ms - (row.idle_ms if row.idle_ms >= 0 else min_idle_ms)
        return Reset(row.id, row.deliveries, 0, row.deliveries - 1, since_ms)


class Refunds:
    """What keeps our consumer's claimed entries fresh, and gives them back.

    The lock is held by a claim from its first command to the end of its doubts, and by `settle`: a refund must not meet
    a claim of the same entry.

    Attributes:
        effects: how often a claim in doubt was seen to have taken effect.
    """

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._stream = target.keys.stream
        self._ledger = target.keys.lost
        self._group = target.group_bytes
        self._consumer = target.consumer_bytes
        self._target = target
        self._lock = asyncio.Lock()
        self._min_idle_ms = target.min_idle_ms
        self._began_ms = 0
        self._owed: list[_Claimed] = []
        self._in_doubt: list[_Claimed] = []
        self._asleep: list[_Claimed] = []  # in doubt, and given to us by a later claim
        self.effects = 0
        self._lost = 0  # entries that were lost when they were to be refunded, and are in no report yet

    def begin(self, server_ms: int) -> None:
        """Note when the run began whose entries are claimed from now on, Unix ms by the server's clock."""
        self._began_ms = server_ms

    async def keep(self, entries: Iterable[Entry]) -> Kept:
        """Make claimed entries fresh again, so that nobody claims them."""
        return await self.reset([Reset(entry.id, entry.deliveries, 0, entry.deliveries) for entry in entries])

    def take_lost(self) -> int:
        """How many entries were lost when they were to be refunded, since this was asked last."""
        lost, self._lost = self._lost, 0
        return lost

    def owe(self, entries: Iterable[Entry]) -> None:
        """Note claimed entries that `settle` is to refund. They stay our consumer's until somebody claims them."""
        rows = (Row(entry.id, entry.consumer, entry.idle_ms, entry.deliveries) for entry in entries)
        self._owed += (_Claimed(row, self._began_ms) for row in rows)

    def waiting(self) -> list[Row]:
        """The entries that the next `settle` tries to refund, each as the claim has left it or would leave it."""
        return [one.row for one in (*self._owed, *self._in_doubt)]

    async def settle(self) -> set[bytes]:
        """Refund what is owed, from this run or an earlier one, and what is in doubt.

        After an error all of it waits for the next `settle`.

        Returns:
            The IDs that were not ours, or were lost.
        """
        if not (self._owed or self._in_doubt):
            return set()
        async with self._lock:
            owed, self._owed = self._owed, []
            in_doubt = {one.row.id for one in self._in_doubt}
            try:
                gone = await self._refund([*owed, *self._in_doubt])
            except BaseException:
                self._owed += owed
                raise
            self._end_one_each(in_doubt - gone)
        return gone

    @asynccontextmanager
    async def claiming(self, found: Sequence[Row]) -> AsyncIterator[None]:
        """Hold the lock while these entries are claimed. If that fails or is cancelled, all of them are in doubt.

        When the claim has been answered, `end_doubts` is to be called before this ends.
        """
        async with self._lock:
            try:
                yield
            except BaseException:
                until = time.monotonic() + DOUBT_SEC
                rows = (row._replace(deliveries=row.deliveries + 1) for row in found)
                self._in_doubt += (_Claimed(row, self._began_ms, until) for row in rows)
                raise

    async def end_doubts(self, found: Sequence[Row], claimed: Sequence[Entry]) -> None:
        """End the doubts about entries that a claim has been answered about.

        Args:
            found: the entries that the claim named.
            claimed: those of them that it gave us.

        Raises:
            redis.exceptions.ConnectionError: an earlier claim, in doubt until now, had taken one of the others.
        """
        if not self._in_doubt:
            return
        ours = {entry.id for entry in claimed}
        missed = {row.id for row in found} - ours
        late = [one for one in self._in_doubt if one.row.id in missed]
        if late and (effective := {one.row.id for one in late} - await self._refund(late)):
            self._end_one_each(effective)
            raise RedisConnectionError("a claim that was given up has taken effect only now")
        self._asleep += (one for one in self._in_doubt if one.row.id in ours)
        self._in_doubt = [one for one in self._in_doubt if one.row.id not in ours]

    def _end_one_each(self, ids: set[bytes]) -> None:
        """End one doubt about each of these entries, because a claim has taken effect; and all that are too old."""
        self.effects += bool(ids)
        now, left = time.monotonic(), set(ids)
        still: list[_Claimed] = []
        for one in self._in_doubt:
            if one.row.id in left:
                left.remove(one.row.id)
            elif now < one.until:
                still.append(one)
        self._in_doubt = still
        self._asleep = [one for one in self._asleep if now < one.until]

    def _wake(self, ids: AbstractSet[bytes]) -> None:
        """Doubt again whether an old claim takes effect on these entries, which are refunded."""
        self._in_doubt += (one for one in self._asleep if one.row.id in ids)
        self._asleep = [one for one in self._asleep if one.row.id not in ids]

    async def _refund(self, claimed: Sequence[_Claimed]) -> set[bytes]:
        """Refund entries, each once; return the IDs that were not ours, or were lost."""
        once = {(one.row.id, one.row.deliveries): one for one in claimed}
        kept = await self.reset([one.refund(self._min_idle_ms) for one in once.values()])
        self._lost += len(kept.lost)
        return kept.gone | kept.lost.keys()

    def consumer_of(self, shard: Shard) -> bytes:
        """What our consumer is called that has the entries of this shard."""
        return name_bytes(shard.consumer(self._target.consumer))

    async def reset(self, changes: Sequence[Reset], consumer: bytes | None = None) -> Kept:
        """Set idle times and delivery counts of entries of ours, or of that consumer of ours."""
        kept = Kept(set(), {})
        if self._asleep:
            self._wake({change.id for change in changes if change.deliveries < change.left})
        keys, about = (self._stream, self._ledger), (self._group, consumer or self._consumer, now_ms(), LOST_MAXLEN)
        for at in range(0, len(changes), KEEP_AT_ONCE):
            some = changes[at : at + KEEP_AT_ONCE]
            flat = [word for change in some for word in _words(change)]
            try:
                gone, lost = await self._server.call("EVAL", _KEEP, 2, *keys, *about, *flat)
            except ResponseError as exc:
                if error_code(exc) != "NOGROUP":
                    raise
                gone, lost = [change.id for change in some], []  # the group is gone, and its pending entries with it
            kept.gone.update(gone)
            kept.lost.update((row[0], row[4]) for row in lost)
        return kept


def _words(change: Reset) -> tuple[bytes | int | str, ...]:
    """A change as the script takes it."""
    since = ("IDLE", change.idle_ms) if change.since_ms is None else ("TIME", change.since_ms)
    return (change.id, change.left, *since, change.deliveries)
