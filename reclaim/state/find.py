"""Owns how idle entries are found, without claiming them, on any server and in a list of any length.

There are three ways, and `Finder` learns which one works here:

- With ``XPENDING … IDLE``, where the server knows it (Redis 6.0 does not) and the list is short: the server walks the
  list until it has found enough, which takes 0.07 µs for each entry that it passes, 72 ms for a million fresh ones.
- In a long list where most entries are idle: read the next entries without a script, and leave out the fresh ones.
- In a long list where most entries are fresh: a script reads a bounded window and returns the idle ones.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple, Self

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from reclaim.entry import Entry, id_after, id_number, id_of, made
from reclaim.settings import Target
from reclaim.state.ask import Ask, Command, Reply, raised
from reclaim.state.bodies import Bodies
from reclaim.state.connection import Server
from reclaim.state.pending import Row
from reclaim.state.refunds import Refunds
from reclaim.state.scripts import script
from reclaim.state.server_time import TIME, unix_ms

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
        doubtful: entries that became idle for long enough at about the run's first look; nobody can tell if before it.
    """

    rows: Sequence[Row]
    after: bytes | None
    doubtful: Sequence[Row] = ()

    def first(self, count: int) -> "Found":
        """The first so many of them."""
        if count >= len(self.rows):
            return self
        rows = self.rows[:count]
        return replace(self, rows=rows, after=id_after(rows[-1].id))


class _Look(NamedTuple):
    """A look at the pending list, and what the server's clock said just before and just after it, Unix ms."""

    before_ms: int
    reply: Reply
    after_ms: int

    @classmethod
    def of(cls, replies: Sequence[Reply]) -> Self:
        """Make it of the replies to TIME, the look itself, and TIME."""
        before, reply, after = raised(replies)
        return cls(unix_ms(before), reply, unix_ms(after))


class Finder:
    """Finds entries of one group."""

    def __init__(self, server: Server, target: Target, refunds: Refunds) -> None:
        self._server = server
        self._refunds = refunds
        self._stream = target.keys.stream
        self._group = target.group_bytes
        self._min_idle_ms = target.min_idle_ms
        self._first_ms: int | None = None  # when this run looked first, by the server's clock
        self._bodies = Bodies(server, target.keys.stream)
        self._has_idle_option = True  # until the server says otherwise
        self._is_dense = True  # whether most of the entries that were read last were idle

    def begin(self) -> None:
        """Note that a run begins. Its looks find what was idle for long enough at its first one, and no more.

        Else an entry could be passed over because it lacks a millisecond, and a later one of its order key, which was
        read at the same moment, be found by the next look (G3). So the server's clock is read with each look: it tells
        when an entry became idle for long enough. An entry for which it does not tell whether that was before the first
        look is `Found.doubtful`: the run leaves it alone, and lets it hold back the later entries of its key.
        """
        self._first_ms = None

    async def find(self, start: bytes, count: int, total: int) -> Found:
        """Find idle entries from `start` on, `count` at most.

        Refunds are settled first: an entry that a claim took without our knowledge is not idle. The look would pass it
        over and find later entries of its order key (G3).

        Args:
            start: the smallest ID to look at, or START.
            count: the most that are wanted.
            total: about how many entries are pending; it decides the way of looking.

        Raises:
            redis.exceptions.ConnectionError: the server's clock says that it is before the run's first look.
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
        doubtful: list[Row] = []
        while place is not None:
            found = await self._next(place, count, window)
            doubtful += found.doubtful
            if found.rows:
                return replace(found, doubtful=doubtful)
            place = found.after
            window = min(2 * window, WINDOW)
        return Found((), None, doubtful)

    async def _next(self, start: bytes, count: int, window: int) -> Found:
        """The idle entries of one bounded look at a long list. From its result we choose the way of the next look."""
        if self._is_dense:
            found, looked_at = await self._without_script(start, count)
            self._is_dense = 2 * len(found.rows) > looked_at
        else:
            look = await self._look(self._scan(start, window, count, self._min_idle_ms))
            rows, after = _scanned(look.reply)
            self._is_dense = len(rows) == count
            found = self._found(rows, after, look)
        return found

    async def _look(self, command: Command) -> _Look:
        """Look at the pending list, and at the server's clock before and after that."""
        (look,) = await self._server.ask(Ask((TIME, command, TIME), _Look.of))
        return look

    def _found(self, seen: Sequence[Row], after: bytes | None, look: _Look) -> Found:
        """Of the entries that a look saw, those that were idle for long enough when the run looked first.

        The server may have looked at any moment between its two times.
        """
        if self._first_ms is None:
            self._first_ms = look.before_ms
            return Found(_idle(seen, self._min_idle_ms), after)
        if look.before_ms < self._first_ms:
            raise RedisConnectionError("the server's clock was set back while the run was under way")
        perhaps_ms = self._min_idle_ms + look.before_ms - self._first_ms
        surely_ms = self._min_idle_ms + look.after_ms - self._first_ms
        return Found(_idle(seen, surely_ms), after, [row for row in seen if perhaps_ms <= row.idle_ms < surely_ms])

    async def _by_idle_option(self, start: bytes, count: int) -> Found:
        find = ("XPENDING", self._stream, self._group, "IDLE", self._min_idle_ms, start, "+", count)
        look = await self._look(find)
        rows = _rows(look.reply)
        return self._found(rows, id_after(rows[-1].id) if len(rows) == count else None, look)

    async def _without_script(self, start: bytes, count: int) -> tuple[Found, int]:
        """The idle entries among the next `count` entries, and how many entries it looked at."""
        look = await self._look(("XPENDING", self._stream, self._group, start, "+", count))
        rows = _rows(look.reply)
        return self._found(rows, id_after(rows[-1].id) if len(rows) == count else None, look), len(rows)

    def _scan(
        self, start: bytes, window: int, count: int, least_ms: int, below_ms: int = -1, consumer: bytes | None = None
    ) -> Command:
        """What finds entries of the window with an idle time in the range, of one consumer or of all."""
        only = () if consumer is None else (consumer,)
        return ("EVAL", _SCAN, 1, self._stream, self._group, start, window, count, least_ms, below_ms, *only)

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
                scan = self._scan(start, WINDOW, WINDOW, least_ms=0, below_ms=below_ms, consumer=consumer)
                rows, start = _scanned(await self._server.call(*scan))
                yield rows

    async def read(self, rows: Sequence[Row]) -> AsyncGenerator[Entry]:
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


def _scanned(reply: Reply) -> tuple[Sequence[Row], bytes | None]:
    """What a scan found, and where the next one starts; None at the end of the list."""
    found, last, ended = reply
    return _rows(found), None if ended or last is None else id_after(last)


def _idle(rows: Sequence[Row], least_ms: int) -> Sequence[Row]:
    """Those that are idle for so long, and those that somebody has given back (XNACK)."""
    return [row for row in rows if row.idle_ms >= least_ms or row.idle_ms < 0]


_DELIVERIES = attrgetter("deliveries")


def _counted(deliveries: int) -> int:
    """The delivery count that we go on with; claim.lua reads it in the same way."""
    return deliveries if deliveries <= MOST_DELIVERIES else MOST_DELIVERIES // 2
