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
SLACK_MS = 10_000  # that a look at held entries may take; one that takes longer is repeated
WINDOW = 2_000  # entries that one script looks at: 2 ms on Valkey 9, 4 ms on Redis 6.2

_SCAN = script("scan")

_Seen = tuple[bytes, bytes, int, int]  # a line of XPENDING as the server says it: `Row` with the idle time at the look


@dataclass(frozen=True, slots=True)
class Found:
    """Idle entries, not claimed yet.

    Attributes:
        rows: the entries, in ID order. Their idle times are those at the run's beginning; where the server's clock
            leaves that in doubt, the shortest that is possible.
        after: where the next look starts; None at the end of the list.
        doubtful: entries of which the clock does not tell whether they were idle for long enough when the run began.
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
        self._began_ms = 0  # when this run began, by the server's clock
        self._latest_ms = 0  # what that clock said last
        self._has_idle_option = True  # until the server says otherwise
        self._is_dense = True  # whether most of the entries that were read last were idle

    def begin(self, server_ms: int) -> None:
        """Note that a run begins. Its looks find what was idle for long enough at this moment, and no more.

        Else an entry could be passed over because it lacks a millisecond, and a later one of its order key, which was
        read at the same moment, be found by the next look (G3). So the server's clock is read with each look, and tells
        how long an entry had been idle when the run began. Where it does not tell whether that was long enough, the
        entry is `Found.doubtful`: the run leaves it alone, and lets it hold back the later entries of its key.

        Args:
            server_ms: the time of the run's opening round trip, Unix ms by the server's clock.
        """
        self._began_ms = self._latest_ms = server_ms
        self._refunds.begin(server_ms)

    async def find(self, start: bytes, count: int, total: int) -> Found:
        """Find idle entries from `start` on, `count` at most.

        Refunds are settled first: an entry that a claim took without our knowledge is not idle. The look would pass it
        over and find later entries of its order key (G3). Where such a claim took effect only after that, the look is
        repeated.

        Args:
            start: the smallest ID to look at, or START.
            count: the most that are wanted.
            total: about how many entries are pending; it decides the way of looking.

        Raises:
            redis.exceptions.ConnectionError: the server's clock was set back since the run began.
        """
        await self._refunds.settle()
        while True:
            effects = self._refunds.effects
            found = await self._find(start, count, total)
            await self._refunds.settle()
            if self._refunds.effects == effects:
                return found

    async def _find(self, start: bytes, count: int, total: int) -> Found:
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
            look = await self._look(self._scan(start, window, count, self._least_ms))
            seen, after = _scanned(look.reply)
            self._is_dense = len(seen) == count
            found = self._found(seen, after, look)
        return found

    @property
    def _least_ms(self) -> int:
        """How long an entry is idle now, at least, that was idle for long enough when the run began."""
        return self._min_idle_ms + self._latest_ms - self._began_ms

    async def _look(self, command: Command) -> _Look:
        """Look at the pending list, and at the server's clock before and after that.

        A cluster may answer each command of a batch from another node, and with another clock, but no transaction.

        Raises:
            redis.exceptions.ConnectionError: the clock was set back. What had just become idle for long enough would
                not be found any more, and later entries of its order key would.
        """
        commands, earlier_ms = (TIME, command, TIME), self._latest_ms  # another look may end before this one
        if self._server.cluster is None:
            (look,) = await self._server.ask(Ask(commands, _Look.of))
        else:
            look = _Look.of(await self._server.transaction(commands))
        if not earlier_ms <= look.before_ms <= look.after_ms:
            raise RedisConnectionError("the server's clock was set back while the run was under way")
        self._latest_ms = max(self._latest_ms, look.after_ms)
        return look

    def _found(self, seen: Sequence[_Seen], after: bytes | None, look: _Look) -> Found:
        """Of the entries that a look saw, those that were idle for long enough when the run began.

        The server may have looked at any moment between the look's two times.
        """
        surely_ms = self._min_idle_ms + look.after_ms - self._began_ms
        perhaps_ms = self._min_idle_ms + look.before_ms - self._began_ms
        idle = [one for one in seen if one[2] >= surely_ms or one[2] < 0]  # below 0: given back (XNACK)
        doubtful = [one for one in seen if perhaps_ms <= one[2] < surely_ms] if perhaps_ms < surely_ms else ()
        return Found(self._at_beginning(idle, look), after, self._at_beginning(doubtful, look))

    def _at_beginning(self, seen: Sequence[_Seen], look: _Look) -> list[Row]:
        """Entries that a look saw, with the idle times at the run's beginning."""
        late_ms = look.after_ms - self._began_ms
        rows = [(one, consumer, max(idle - late_ms, 0) if idle >= 0 else idle, n) for one, consumer, idle, n in seen]
        return _rows(rows)

    async def _by_idle_option(self, start: bytes, count: int) -> Found:
        look = await self._look(("XPENDING", self._stream, self._group, "IDLE", self._least_ms, start, "+", count))
        return self._found(look.reply, _behind(look.reply, count), look)

    async def _without_script(self, start: bytes, count: int) -> tuple[Found, int]:
        """The idle entries among the next `count` entries, and how many entries it looked at."""
        look = await self._look(("XPENDING", self._stream, self._group, start, "+", count))
        return self._found(look.reply, _behind(look.reply, count), look), len(look.reply)

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
        """The entries that these consumers hold and that had been idle for less as the run began, some at a time.

        Those that became theirs since are among them.

        Raises:
            redis.exceptions.ConnectionError: the server's clock was set back since the run began.
        """
        for consumer in consumers:
            start: bytes | None = START
            while start is not None:
                late_ms = SLACK_MS + self._latest_ms - self._began_ms
                scan = self._scan(start, WINDOW, WINDOW, least_ms=0, below_ms=below_ms + late_ms, consumer=consumer)
                look = await self._look(scan)
                if look.after_ms - self._began_ms <= late_ms:
                    seen, start = _scanned(look.reply)
                    yield [row for row in self._at_beginning(seen, look) if 0 <= row.idle_ms < below_ms]

    async def read(self, rows: Sequence[Row]) -> AsyncGenerator[Entry]:
        """The entries, as many at once as their weight allows; an entry that left the stream is left out."""
        left, reader = [row.id for row in rows], Bodies(self._server, self._stream)
        while left:
            bodies = await reader.first(left[:READ_AT_ONCE])
            for one, body in zip(left, bodies, strict=False):
                if body is not None:
                    yield Entry(one, body)
            reader.forget(left[: len(bodies)])
            left = left[len(bodies) :]


def _rows(seen: Iterable[_Seen]) -> list[Row]:
    rows = made(Row, seen)
    if max(map(_DELIVERIES, rows), default=0) > MOST_DELIVERIES:
        rows = [row._replace(deliveries=_counted(row.deliveries)) for row in rows]
    return rows


def _behind(seen: Sequence[_Seen], count: int) -> bytes | None:
    """Where the look after one for so many entries starts; None at the end of the list."""
    return id_after(seen[-1][0]) if len(seen) == count else None


def _scanned(reply: Reply) -> tuple[Sequence[_Seen], bytes | None]:
    """What a scan found, and where the next one starts; None at the end of the list."""
    found, last, ended = reply
    return found, None if ended or last is None else id_after(last)


_DELIVERIES = attrgetter("deliveries")


def _counted(deliveries: int) -> int:
    """The delivery count that we go on with; claim.lua reads it in the same way."""
    return deliveries if deliveries <= MOST_DELIVERIES else MOST_DELIVERIES // 2
