"""Owns how idle entries are found, without claiming them, on any server and in a list of any length.

There are three ways, and `Finder` learns which one works here:

- With ``XPENDING … IDLE``, where the server knows it (Redis 6.0 does not) and the list is short: the server walks the
  list until it has found enough, which takes 0.07 µs for each entry that it passes, 72 ms for a million fresh ones.
- In a long list where most entries are idle: read the next entries without a script, and leave out the fresh ones.
- In a long list where most entries are fresh: a script reads a bounded window and returns the idle ones.
"""

import math
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from redis.exceptions import ResponseError

from reclaim.entry import Entry, id_after, id_number, id_of, made
from reclaim.settings import Target
from reclaim.state.ask import Ask, Reply, raised
from reclaim.state.bodies import Bodies
from reclaim.state.connection import Server
from reclaim.state.pending import Row
from reclaim.state.refunds import Refunds
from reclaim.state.scripts import script

START = b"-"
READ_AT_ONCE = 500
MOST_DELIVERIES = 2 * 10**9  # above that we count on from the half: nothing can be added to the greatest number
NATIVE_UP_TO = 50_000  # entries that XPENDING … IDLE may have to walk
SPREAD_ROUNDS = 24
WINDOW = 2_000  # entries that one script looks at: 2 ms on Valkey 9, 4 ms on Redis 6.2

_SCAN = script("scan")


@dataclass(frozen=True, slots=True)
class Found:
    """Idle entries, not claimed yet.

    Attributes:
        rows: the entries, in ID order.
        after: where the next look starts; None at the end of the list.
    """

    rows: Sequence[Row]
    after: bytes | None

    def first(self, count: int) -> "Found":
        """The first so many of them."""
        if count >= len(self.rows):
            return self
        rows = self.rows[:count]
        return replace(self, rows=rows, after=id_after(rows[-1].id))


class Finder:
    """Finds entries of one group."""

    def __init__(self, server: Server, target: Target, refunds: Refunds) -> None:
        self._server = server
        self._refunds = refunds
        self._stream = target.keys.stream
        self._group = target.group_bytes
        self._min_idle_ms = target.min_idle_ms
        self._first_look_at: float | None = None  # of this run, by the monotonic clock
        self._bodies = Bodies(server, target.keys.stream)
        self._has_idle_option = True  # until the server says otherwise
        self._is_dense = True  # whether most of the entries that were read last were idle

    def begin(self) -> None:
        """Note that a run begins. Its looks find what is idle for long enough at its first one, and no more.

        Else an entry could be passed over because it lacks a millisecond, and a later one of its order key, which was
        read at the same moment, be found by the next look (G3).
        """
        self._first_look_at = None

    async def find(self, start: bytes, count: int, total: int) -> Found:
        """Find idle entries from `start` on, `count` at most.

        Refunds are settled first: an entry that a claim took without our knowledge is not idle. The look would pass it
        over and find later entries of its order key (G3).

        Args:
            start: the smallest ID to look at, or START.
            count: the most that are wanted.
            total: about how many entries are pending; it decides the way of looking.
        """
        await self._refunds.settle()
        if self._has_idle_option and total <= NATIVE_UP_TO:
            try:
                return await self._by_idle_option(start, count)
            except ResponseError as exc:
                if "syntax error" not in str(exc):
                    raise
                self._has_idle_option = False
        window = min(count, WINDOW)
        place: bytes | None = start
        while place is not None:
            found = await self._next(place, count, window)
            if found.rows:
                return found
            place = found.after
            window = min(2 * window, WINDOW)
        return Found((), None)

    async def _next(self, start: bytes, count: int, window: int) -> Found:
        """The idle entries of one bounded look at a long list. From its result we choose the way of the next look."""
        if self._is_dense:
            found, looked_at = await self._without_script(start, count)
            self._is_dense = 2 * len(found.rows) > looked_at
        else:
            least_ms = self._least_ms()
            found = await self._by_script(start, window, count, least_ms=least_ms)
            self._is_dense = len(found.rows) == count
            found = replace(found, rows=self._idle(found.rows, least_ms))
        return found

    def _least_ms(self) -> int:
        """For how long an entry has been idle now that was idle for long enough at the run's first look."""
        now = time.monotonic()
        if self._first_look_at is None:
            self._first_look_at = now
        return self._min_idle_ms + math.ceil(1000 * (now - self._first_look_at))

    def _idle(self, rows: Sequence[Row], least_ms: int) -> Sequence[Row]:
        """Those that are idle for long enough. The server may have looked at them as late as its answer came."""
        if least_ms > self._min_idle_ms:  # it is not the first look
            least_ms = self._least_ms()
        return [row for row in rows if row.idle_ms >= least_ms or row.idle_ms < 0]

    async def _by_idle_option(self, start: bytes, count: int) -> Found:
        least_ms = self._least_ms()
        find = ("XPENDING", self._stream, self._group, "IDLE", least_ms, start, "+", count)
        (rows,) = await self._server.ask(Ask.one(find, _rows))
        after = id_after(rows[-1].id) if len(rows) == count else None
        return Found(self._idle(rows, least_ms), after)

    async def _without_script(self, start: bytes, count: int) -> tuple[Found, int]:
        """The idle entries among the next `count` entries, and how many entries it looked at."""
        least_ms = self._least_ms()
        look = ("XPENDING", self._stream, self._group, start, "+", count)
        (seen,) = await self._server.ask(Ask.one(look, _rows))
        rows = self._idle(seen, least_ms)
        after = id_after(seen[-1].id) if len(seen) == count else None
        return Found(rows, after), len(seen)

    async def _by_script(
        self, start: bytes, window: int, count: int, least_ms: int, below_ms: int = -1, consumer: bytes | None = None
    ) -> Found:
        """Entries of the window with an idle time in the range, of one consumer or of all."""
        only = () if consumer is None else (consumer,)
        scan = ("EVAL", _SCAN, 1, self._stream, self._group, start, window, count, least_ms, below_ms, *only)
        found, last, ended = await self._server.call(*scan)
        return Found(_rows(found), None if ended or last is None else id_after(last))

    async def spread(self, count: int) -> list[Row]:
        """Pending entries spread over the whole list, at most so many; it costs a few round trips, however long it is.

        Each round halves the widest gaps between the IDs that are known. So bursts of entries that are far apart in
        time are found too.
        """
        look = ("XPENDING", self._stream, self._group)
        summary, first = raised(await self._server.batch([look, (*look, "-", "+", count)]))
        total, _, greatest, _ = summary
        if total <= count:
            return _rows(first)
        (last,) = raised(await self._server.batch([(*look, greatest, greatest, 1)]))
        rows = {id_number(row.id): row for row in _rows([*first[:1], *last])}
        gaps = [(min(rows), max(rows))]
        for _ in range(SPREAD_ROUNDS):
            gaps.sort(key=lambda gap: gap[0] - gap[1])
            widest, gaps = gaps[: count - len(rows)], gaps[count - len(rows) :]
            middles = [(low + high + 1) // 2 for low, high in widest]
            replies = raised(await self._server.batch([(*look, id_of(middle), "+", 1) for middle in middles]))
            for (low, high), middle, reply in zip(widest, middles, replies, strict=True):
                next_rows = {id_number(row.id): row for row in _rows(reply)}
                rows |= next_rows
                gaps += [(low, middle), *((at, high) for at in next_rows if at < high)]
            gaps = [(low, high) for low, high in gaps if high - low > 1]
            if not gaps or len(rows) >= count:
                break
        return [rows[at] for at in sorted(rows)]

    async def held_by(self, consumers: Iterable[bytes], below_ms: int) -> AsyncIterator[Sequence[Row]]:
        """The entries that these consumers hold and that have been idle for less, some at a time."""
        for consumer in consumers:
            start: bytes | None = START
            while start is not None:
                found = await self._by_script(start, WINDOW, WINDOW, least_ms=0, below_ms=below_ms, consumer=consumer)
                yield found.rows
                start = found.after

    async def read(self, rows: Sequence[Row]) -> AsyncIterator[Entry]:
        """The entries, as many at once as their weight allows; an entry that left the stream is left out."""
        left = [row.id for row in rows]
        try:
            while left:
                bodies = await self._bodies.first(left[:READ_AT_ONCE])
                for one, body in zip(left, bodies, strict=False):
                    if body is not None:
                        yield Entry(one, body)
                self._bodies.forget(left[: len(bodies)])
                left = left[len(bodies) :]
        finally:
            self._bodies.forget_all()


def _rows(reply: Reply) -> list[Row]:
    rows = made(Row, reply)
    if max(map(_DELIVERIES, rows), default=0) > MOST_DELIVERIES:
        rows = [row._replace(deliveries=_counted(row.deliveries)) for row in rows]
    return rows


_DELIVERIES = attrgetter("deliveries")


def _counted(deliveries: int) -> int:
    """The delivery count that we go on with; claim.lua reads it in the same way."""
    return deliveries if deliveries <= MOST_DELIVERIES else MOST_DELIVERIES // 2
