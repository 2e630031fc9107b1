"""Owns how entries that were found idle are claimed, so that none gets lost without being recorded.

An entry that was trimmed or deleted while it was pending is lost: there is nothing left to handle. It is recorded in
the ledger of lost entries and acknowledged away. Servers differ in what XCLAIM does with such an entry, so there are
three ways to claim (`Claiming`):

- PLAIN: before Redis 7 XCLAIM takes the entry like any other, and answers nil in place of its body. It is recorded
  afterwards.
- GUARDED: from Redis 7 on XCLAIM drops the entry from the pending list without a word. So a script that comes before
  XCLAIM in one MULTI records what is gone from the stream. Where nothing was deleted, which is the rule, the script
  ends at once and the entries' bodies do not pass through Lua.
- CAREFUL: where something was deleted, the script claims too, and keeps XCLAIM away from an entry that could not be
  recorded (the server is full, or the ledger's key holds another type): that entry stays pending.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from reclaim.entry import Entry, readable
from reclaim.errors import Unreachable, said
from reclaim.settings import Target
from reclaim.state.ask import Command, Reply, raised
from reclaim.state.connection import Server
from reclaim.state.find import Claiming, Found
from reclaim.state.lost import LOST_MAXLEN, record
from reclaim.state.pending import Row
from reclaim.state.refunds import Refunds
from reclaim.state.scripts import script

CAREFUL_AT_ONCE = 100  # entries that one script claims, whose bodies pass through Lua: 2 ms, and 11 ms for 500

_BURY = script("bury", prelude="lost_prelude")
_BURY_CLAIMED = script("bury_claimed", prelude="lost_prelude")


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one claim gave.

    Attributes:
        entries: claimed, in ID order.
        lost: entries recorded as lost, by this claim or by an earlier claim that recorded them and then failed.
        after: where the next look starts; None at the end of the list.
        unrecorded: why lost entries could not be recorded, and so stay pending; None if all were recorded.
    """

    entries: Sequence[Entry]
    lost: Sequence[Row]
    after: bytes | None
    unrecorded: str | None = None


_Taken = tuple[list[Reply], list[Row], str | None]  # entries as XCLAIM gives them, recorded as lost, why not recorded


class Claimer:
    """Claims entries of one group for our consumer."""

    def __init__(self, server: Server, target: Target, refunds: Refunds) -> None:
        self._server = server
        self._refunds = refunds
        self._keys = target.keys
        self._group = target.group_bytes
        self._consumer = target.consumer_bytes
        self._min_idle_ms = target.min_idle_ms
        self._lost: list[Row] = []  # recorded, and in no `Claimed` yet

    async def claim(self, found: Found) -> Claimed:
        """Claim the found entries that are still there and still idle.

        After an error, Redis may have claimed entries all the same. `Refunds` refunds them before the next look.
        """
        rows = {row.id: row for row in found.rows}
        async with self._refunds.claiming(found.rows):
            taken, lost, unrecorded = await self._take(found.claiming, rows)
            self._lost += lost
            claimed = {entry_id for entry_id, _ in taken}
            await self._refunds.end_doubts(claimed, rows.keys() - claimed)
        entries = []
        for entry_id, fields in taken:
            _, consumer, idle_ms, deliveries = rows[entry_id]
            entries.append(Entry(entry_id, fields, consumer, idle_ms, deliveries + 1))
        lost, self._lost = self._lost, []
        return Claimed(entries, lost, found.after, unrecorded)

    async def _take(self, claiming: Claiming, rows: dict[bytes, Row]) -> _Taken:
        match claiming:
            case Claiming.PLAIN:
                return await self._plainly(rows)
            case Claiming.GUARDED:
                return await self._guarded(rows)
            case Claiming.CAREFUL:
                return await self._carefully(rows)

    async def _plainly(self, rows: dict[bytes, Row]) -> _Taken:
        reply = await self._server.call(*self._xclaim(rows))
        claimed = [item for item in reply if item is not None]
        if len(claimed) == len(rows):
            return claimed, [], None
        missing = _missing(rows, claimed)
        flat = [value for row in missing for value in row]
        about = (self._group, self._consumer, _now_ms(), LOST_MAXLEN)
        keys = (self._keys.stream, self._keys.lost)
        try:
            lost = await self._server.call("EVAL", _BURY_CLAIMED, 2, *keys, *about, *flat)
        except (ResponseError, RedisConnectionError, RedisTimeoutError, Unreachable) as exc:
            return claimed, [], said(exc)  # they are ours and pending, and will be recorded once they are idle again
        return claimed, [rows[one] for one in lost], None

    async def _guarded(self, rows: dict[bytes, Row]) -> _Taken:
        replies = await self._server.transaction([self._bury("", rows), self._xclaim(rows)])
        (lost, _, unrecorded), claimed = raised(replies)
        if lost is not None:
            return claimed, [Row(*row) for row in lost], None if unrecorded is None else readable(unrecorded)
        missing = _missing(rows, claimed) if len(claimed) < len(rows) else []
        return claimed, await self._record_dropped(missing), None

    async def _record_dropped(self, missing: Sequence[Row]) -> list[Row]:
        """Record the entries that XCLAIM dropped though the stream knew of no deletion.

        A stream that was loaded from a file of Redis 6 does not know what was deleted before. This happens once after
        each upgrade, so it need not be one step with the claim. If a missing entry is still in the stream, nobody
        dropped it: somebody has acknowledged or claimed it.
        """
        if not missing:
            return []
        stream, ledger = self._keys.stream, self._keys.lost
        read: list[Command] = [("XRANGE", stream, row.id, row.id) for row in missing]
        bodies = raised(await self._server.batch(read))
        dropped = [row for row, body in zip(missing, bodies, strict=True) if not body]
        for row in dropped:
            await self._server.call(*record(ledger, row, _now_ms()))
        return dropped

    async def _carefully(self, rows: dict[bytes, Row]) -> _Taken:
        ids = list(rows)
        some = [ids[at : at + CAREFUL_AT_ONCE] for at in range(0, len(ids), CAREFUL_AT_ONCE)]
        replies = await self._server.batch([self._bury("claim", one) for one in some])
        lost = [Row(*row) for reply in replies if not isinstance(reply, Exception) for row in reply[0]]
        if any(isinstance(reply, Exception) for reply in replies):
            self._lost += lost  # they are recorded, whatever becomes of this claim
        parts = raised(replies)
        claimed = [item for _, items, _ in parts for item in items]
        return claimed, lost, next((readable(why) for _, _, why in parts if why is not None), None)

    def _xclaim(self, ids: Iterable[bytes]) -> Command:
        return ("XCLAIM", self._keys.stream, self._group, self._consumer, self._min_idle_ms, *ids)

    def _bury(self, claim: str, ids: Iterable[bytes]) -> Command:
        about = (self._group, self._consumer, self._min_idle_ms, _now_ms(), LOST_MAXLEN, claim)
        return ("EVAL", _BURY, 2, self._keys.stream, self._keys.lost, *about, *ids)


def _missing(rows: dict[bytes, Row], claimed: Sequence[Reply]) -> list[Row]:
    """The entries that were not claimed."""
    ids = {item[0] for item in claimed}
    return [row for one, row in rows.items() if one not in ids]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
