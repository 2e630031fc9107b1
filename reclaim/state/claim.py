"""Owns how entries that were found idle are claimed, so that none gets lost without being recorded.

An entry that was trimmed or deleted while it was pending is lost: there is nothing left to handle. It is recorded in
the ledger of lost entries and acknowledged away, by the script that claims the others (`lua/claim.lua`).

Bodies do not pass through the script: they are read before (`Bodies`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat

from redis.exceptions import ConnectionError as RedisConnectionError

from reclaim.entry import Entry, made, readable
from reclaim.errors import AccessDenied, Unsuitable
from reclaim.settings import Target
from reclaim.state.ask import Command, raised
from reclaim.state.bodies import Body
from reclaim.state.connection import Server
from reclaim.state.find import Found
from reclaim.state.lost import LOST_MAXLEN, now_ms
from reclaim.state.pending import Row
from reclaim.state.refunds import Refunds
from reclaim.state.script_size import ScriptSize
from reclaim.state.scripts import script

CLAIM_AT_ONCE = 500  # entries that one script claims at most: 1 to 4 ms; fewer where the server takes longer

_CLAIM = script("claim", prelude="lost_prelude")


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one claim gave.

    Attributes:
        entries: claimed, in ID order.
        lost: entries recorded as lost, by this claim or by an earlier claim that recorded them and then failed.
        after: where the next look starts; None at the end of the list.
        unrecorded: why lost entries could not be recorded; None if all were. Those still pending are tried again.
    """

    entries: Sequence[Entry]
    lost: Sequence[Row]
    after: bytes | None
    unrecorded: str | None = None


class Claimer:
    """Claims entries of one group for our consumer."""

    def __init__(
        self, server: Server, target: Target, refunds: Refunds, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._refunds = refunds
        self._keys = target.keys
        self._group = target.group_bytes
        self._consumer = target.consumer_bytes
        self._min_idle_ms = target.min_idle_ms
        self._lost: list[Row] = []  # recorded, and in no `Claimed` yet
        self._at_once = ScriptSize(CLAIM_AT_ONCE)
        self._clock = clock

    @property
    def way_sec(self) -> float:
        """How long the way to the server and back takes at most: the quickest claim so far."""
        return self._at_once.quickest_sec

    async def claim(self, found: Found, bodies: Sequence[Body]) -> Claimed:
        """Claim the found entries that are still pending as they were found.

        After an error, Redis may have claimed entries all the same. `Refunds` refunds them before the next look.

        Args:
            found: the entries.
            bodies: of each of them.
        """
        async with self._refunds.claiming(found.rows):
            taken, unrecorded = await self._take(found.rows, bodies)
            entries = _entries(found.rows, bodies, taken)
            await self._refunds.end_doubts(found.rows, entries)
        lost, self._lost = self._lost, []
        return Claimed(entries, lost, found.after, unrecorded)

    async def _take(self, rows: Sequence[Row], bodies: Sequence[Body]) -> tuple[set[bytes] | None, str | None]:
        """The IDs of the entries that were claimed, None for all; and why lost ones could not be recorded, if any."""
        most = self._at_once.count
        some = [slice(at, at + most) for at in range(0, len(rows), most)]
        try:
            asked_at = self._clock()
            replies = await self._server.batch([self._claim(rows[part], bodies[part]) for part in some])
            self._at_once.learn(len(rows), self._clock() - asked_at)
        except (AccessDenied, Unsuitable):
            await self._name_refused()
            raise
        parts = [reply for reply in replies if not isinstance(reply, Exception)]
        self._lost += (Row(*row) for _, lost, _ in parts for row in lost)  # also if another part has failed
        if any(isinstance(reply, Exception) and "unknown" in str(reply).lower() for reply in replies):
            await self._name_refused()
        raised(replies)
        unrecorded = next((readable(why) for _, _, why in parts if why is not None), None)
        if all(claimed is None for claimed, _, _ in parts):
            return None, unrecorded
        taken: set[bytes] = set()
        for part, (claimed, _, _) in zip(some, parts, strict=True):
            taken.update(claimed if claimed is not None else (row.id for row in rows[part]))
        return taken, unrecorded

    def _claim(self, rows: Sequence[Row], bodies: Sequence[Body]) -> Command:
        about = (self._group, self._consumer, self._min_idle_ms, now_ms(), LOST_MAXLEN)
        return ("EVAL", _CLAIM, 2, self._keys.stream, self._keys.lost, *about, *_grouped(rows, bodies))

    async def _name_refused(self) -> None:
        """Raise an error that names the command that the script was refused, if it was refused one."""
        stream, group = self._keys.stream, self._group
        await self._server.name_refused(
            [
                ("XPENDING", stream, group),
                ("XCLAIM", stream, group, self._consumer, self._min_idle_ms, "0-0"),
                ("XACK", stream, group, "0-0"),
                ("TYPE", self._keys.lost),
            ]
        )


def _entries(rows: Sequence[Row], bodies: Sequence[Body], taken: set[bytes] | None) -> list[Entry]:
    """The claimed entries: those taken, or all.

    Raises:
        redis.exceptions.ConnectionError: one was not in the stream when it was read, and is now. It will be read again.
    """
    if taken is not None:
        claimed = [(row, body) for row, body in zip(rows, bodies, strict=True) if row.id in taken]
        rows, bodies = [row for row, _ in claimed], [body for _, body in claimed]
    if not rows:
        return []
    ids, consumers, idle_ms, deliveries = zip(*rows, strict=True)
    if not all(bodies):
        there_now = readable(ids[list(bodies).index(None)])
        raise RedisConnectionError(f"{there_now} is in the stream, and was not when it was read")
    by_target = (repeat(default, len(ids)) for default in _BY_TARGET)
    return made(Entry, zip(ids, bodies, consumers, idle_ms, map((1).__add__, deliveries), *by_target, strict=True))


_BY_TARGET = [Entry._field_defaults[name] for name in Entry._fields[5:]]  # which an entry gets when a handler gets it


def _grouped(rows: Sequence[Row], bodies: Sequence[Body]) -> Sequence[bytes | int]:
    """The entries as the script takes them: by delivery count, and those that are not in the stream last."""
    ids, _, _, counts = zip(*rows, strict=True)
    if all(bodies) and len(set(counts)) == 1:  # nearly always
        return (counts[0], len(ids), 0, *ids)
    by_count: dict[int, tuple[list[bytes], list[bytes]]] = {}
    for row, body in zip(rows, bodies, strict=True):
        there, gone = by_count.setdefault(row.deliveries, ([], []))
        (there if body is not None else gone).append(row.id)
    words: list[bytes | int] = []
    for deliveries, (there, gone) in by_count.items():
        words += (deliveries, len(there), len(gone), *there, *gone)
    return words
