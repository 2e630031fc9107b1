"""Owns a group's pending list: finds what is idle, claims it, keeps or gives back what is claimed, and acknowledges."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar, NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from reclaim.entry import Entry, by_name, id_after, id_number, readable
from reclaim.errors import Unreachable
from reclaim.settings import Target
from reclaim.state.ask import Ask, Command, Reply, checked, plain, raised
from reclaim.state.connection import Server
from reclaim.state.page_size import FIRST_PAGE, Pace
from reclaim.verdicts import error_code

START = b"-"
READ_AT_ONCE = 500
DOUBT_SEC = 60.0  # how long a claim that was given up is reckoned with
LOST_MAXLEN = 10_000

# XPENDING … IDLE walks the pending list until it has found enough: 0.07 µs an entry, 72 ms for a million fresh ones.
# Up to this many entries that is harmless; beyond, a script looks at a bounded window of the list at a time.
NATIVE_UP_TO = 50_000
WINDOW = 2_000  # entries that one script looks at: 2 ms on Valkey 9, 4 ms on Redis 6.2
SWEEP_AT_ONCE = 200  # consumers that one script removes: under 1 ms
CAREFUL_AT_ONCE = 100  # entries that one script claims, whose bodies pass through Lua: 2 ms, and 11 ms for 500
KEEP_AT_ONCE = 500  # entries that one script keeps or gives back: 2 to 4 ms

# Looks at a bounded window of the pending list (and so needs no IDLE, which Redis 6.0 does not have).
# KEYS: the stream. ARGV: group, start ID, entries to look at, entries wanted, least idle ms, idle ms below which
# (-1: any), and, to look at one consumer's entries only, its name.
# Result: {rows as XPENDING gives them, last ID looked at or false, 1 if the list ended there}.
_SCAN = """
local call = {'XPENDING', KEYS[1], ARGV[1], ARGV[2], '+', ARGV[3], ARGV[7]}
local wanted, least, below = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local rows = redis.call(unpack(call))
local found, last = {}, false
for _, row in ipairs(rows) do
  last = row[1]
  local idle = row[3]
  if (idle >= least or idle < 0) and (below < 0 or idle < below) then
    found[#found + 1] = row
    if #found == wanted then return {found, last, 0} end
  end
end
return {found, last, #rows < tonumber(ARGV[3]) and 1 or 0}
"""

# Where the stream begins, and how far it has holes.
# KEYS: the stream. Result: {first ID in it or false, greatest ID deleted or false (before Redis 7)}.
_EDGES = """
local facts = {}
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for at = 1, #info, 2 do facts[info[at]] = info[at + 1] end
return {facts['first-entry'] and facts['first-entry'][1], facts['max-deleted-entry-id'] or false}
"""

# From Redis 7 on XCLAIM drops entries that are pending but no longer in the stream without a word, so they must be
# recorded before, at one stroke with it: in one MULTI where nothing was deleted a moment ago (then the script ends
# early), else inside the script, where XCLAIM is kept away from what could not be recorded.
# Records such entries and acknowledges them away; with 'claim', claims the others too.
# KEYS: the stream, the ledger of lost entries. ARGV: group, consumer, least idle ms, now (Unix ms), the ledger's cap,
# 'claim' or '', then the IDs, ascending.
# Result: {rows of those recorded as XPENDING gives them or false if it ended early, entries as XCLAIM gives them, false
# or why some were not recorded}.
_BURY = """
if redis.replicate_commands then redis.replicate_commands() end
local function is_less(a, b)
  local a_ms, a_seq = a:match('(%d+)-(%d+)')
  local b_ms, b_seq = b:match('(%d+)-(%d+)')
  if a_ms == b_ms then a_ms, b_ms = a_seq, b_seq end
  if #a_ms ~= #b_ms then return #a_ms < #b_ms end
  return a_ms < b_ms
end
local group, consumer, least, claims = ARGV[1], ARGV[2], ARGV[3], ARGV[6] == 'claim'
local info, facts = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for at = 1, #info, 2 do facts[info[at]] = info[at + 1] end
local first, deleted = facts['first-entry'], facts['max-deleted-entry-id']
local is_whole = first and deleted and is_less(deleted, ARGV[7]) and not is_less(ARGV[7], first[1])
if is_whole and not claims then return {false, false, false} end
local lost, left, failure = {}, {}, false
for at = 7, #ARGV do
  local id = ARGV[at]
  if is_whole or #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    left[#left + 1] = id
  else
    local row = redis.call('XPENDING', KEYS[1], group, id, id, 1)[1]
    if row and (row[3] >= tonumber(least) or row[3] < 0) then
      local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*',
        'id', id, 'consumer', row[2], 'idle_ms', row[3], 'deliveries', row[4], 'at', ARGV[4])
      if type(added) == 'table' then
        failure = added.err
      else
        redis.call('XACK', KEYS[1], group, id)
        lost[#lost + 1] = row
      end
    end
  end
end
local claimed = {}
if claims and #left > 0 then claimed = redis.call('XCLAIM', KEYS[1], group, consumer, least, unpack(left)) end
return {lost, claimed, failure}
"""

# Before Redis 7 such entries are claimed like others and stay pending, bodies nil: they are recorded afterwards.
# KEYS: the stream, the ledger of lost entries. ARGV: group, our consumer, now (Unix ms), the ledger's cap, then for
# each entry that was claimed without a body: ID, and consumer, idle ms and deliveries before the claim.
# Result: the IDs recorded.
_BURY_CLAIMED = """
if redis.replicate_commands then redis.replicate_commands() end
local lost = {}
for at = 5, #ARGV, 4 do
  local id = ARGV[at]
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  if row and row[2] == ARGV[2] and #redis.call('XRANGE', KEYS[1], id, id) == 0 then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'id', id, 'consumer', ARGV[at + 1],
      'idle_ms', ARGV[at + 2], 'deliveries', ARGV[at + 3], 'at', ARGV[3])
    redis.call('XACK', KEYS[1], ARGV[1], id)
    lost[#lost + 1] = id
  end
end
return lost
"""

# Sets idle time and delivery count of entries that are still ours as we left them: same consumer, same count.
# What is no longer in the stream is left as it is: from Redis 7 on XCLAIM would drop it unrecorded.
# KEYS: the stream. ARGV: group, consumer, then for each entry: ID, its count as we left it, new idle ms, new count.
# Result: the IDs that are no longer ours.
_KEEP = """
if redis.replicate_commands then redis.replicate_commands() end
local gone = {}
for at = 3, #ARGV, 4 do
  local id = ARGV[at]
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  if not row or row[2] ~= ARGV[2] or row[4] ~= tonumber(ARGV[at + 1]) then
    gone[#gone + 1] = id
  elseif #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id,
      'IDLE', ARGV[at + 2], 'RETRYCOUNT', ARGV[at + 3], 'JUSTID')
  end
end
return gone
"""

# Removes consumers that have nothing pending, whatever was true when they were chosen.
# KEYS: the stream. ARGV: group, then their names. Result: the names removed.
_SWEEP = """
if redis.replicate_commands then redis.replicate_commands() end
local swept = {}
for at = 2, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[at]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[at])
    swept[#swept + 1] = ARGV[at]
  end
end
return swept
"""


class Row(NamedTuple):
    """A line of XPENDING: an entry that somebody holds (https://redis.io/docs/latest/commands/xpending/)."""

    id: bytes
    consumer: bytes
    idle_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Summary:
    """How many entries are pending, in all and by consumer; `group_missing` says why there are none."""

    count: int = 0
    consumers: dict[str, int] | None = None
    group_missing: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Entries claimed together, in ID order, what was lost among them, and where the next starts (None: nowhere)."""

    entries: Sequence[Entry]
    lost: Sequence[Row]
    after: bytes | None
    unrecorded: str | None = None  # why there are lost entries that could not be recorded, and so stay pending


class Claiming(Enum):
    """How entries have to be claimed for none to get lost unseen."""

    PLAIN = "plain"  # the server keeps deleted entries pending: before Redis 7
    GUARDED = "guarded"  # none of them was deleted a moment ago
    CAREFUL = "careful"  # some of them may be deleted


@dataclass(frozen=True, slots=True)
class Finding:
    """Idle entries in ID order, where the next look starts (None: nowhere), and how to claim them."""

    rows: Sequence[Row]
    after: bytes | None
    claiming: Claiming = Claiming.GUARDED

    def first(self, count: int) -> "Finding":
        """The first so many of them."""
        rows = self.rows[:count]
        return replace(self, rows=rows, after=id_after(rows[-1].id))


Claimed = tuple[list[Reply], list[Row], str | None]  # entries, those recorded as lost, why others were not recorded


class PendingList:
    """The pending list of one group, as our consumer works on it."""

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._keys = target.keys
        self._group = target.group.encode()
        self.consumer = target.consumer.encode()
        self._min_idle_ms = target.min_idle_ms
        self._tells_backlog = target.alert_backlog_sec > 0
        self._has_idle_option = True  # until the server says otherwise
        self._is_dense = True  # whether most of the entries looked at last were idle
        self._claiming = asyncio.Lock()  # a refund must not meet a claim of the same entry on its way
        self._owed: list[Row] = []
        self._untold: list[Row] = []  # recorded as lost by a claim that went wrong all the same
        self._doubtful: list[tuple[Row, float]] = []  # what a claim may yet take though nobody waits for it any more

    def count(self) -> Ask[Summary]:
        """How many entries are pending, or that the group is not there."""
        return Ask((("XPENDING", self._keys.stream, self._group),), _summary)

    def first_idle_ms(self) -> Ask[int]:
        """How long the pending entry with the smallest ID has been idle; 0 if there is none, or no alert needs it."""
        if not self._tells_backlog:
            return Ask((), lambda _: 0)
        return Ask((("XPENDING", self._keys.stream, self._group, "-", "+", 1),), _first_idle_ms)

    async def find(self, start: bytes, count: int, total: int) -> Finding:
        """Idle entries from `start` on, `count` at most.

        `total` is about how many are pending; it decides how carefully to look.
        """
        await self.settle_debts()
        if self._has_idle_option and total <= NATIVE_UP_TO:
            try:
                return await self._find_idle(start, count)
            except ResponseError as exc:
                if "syntax error" not in str(exc):
                    raise
                self._has_idle_option = False
        look = min(count, WINDOW)
        finding = Finding((), start)
        while (place := finding.after) is not None and not finding.rows:
            if self._is_dense:
                finding = await self._look(place, count)
            else:
                finding = await self._scan(place, look, count, least_ms=self._min_idle_ms)
                self._is_dense = len(finding.rows) == count
            look = min(2 * look, WINDOW)
        return finding

    async def _look(self, start: bytes, count: int) -> Finding:
        """The idle ones among the next entries, without a script: the cheapest where most of them are idle."""
        stream, group = self._keys.stream, self._group
        look: Command = ("XPENDING", stream, group, start, "+", count)
        found, edges = raised(await self._server.batch([look, ("EVAL", _EDGES, 1, stream)]))
        seen = list(map(Row._make, found))
        rows = [row for row in seen if row.idle_ms >= self._min_idle_ms or row.idle_ms < 0]
        self._is_dense = 2 * len(rows) > len(seen)
        return Finding(rows, id_after(seen[-1].id) if len(seen) == count else None, _claiming(rows, edges))

    async def _find_idle(self, start: bytes, count: int) -> Finding:
        stream, group = self._keys.stream, self._group
        find: Command = ("XPENDING", stream, group, "IDLE", self._min_idle_ms, start, "+", count)
        found, edges = raised(await self._server.batch([find, ("EVAL", _EDGES, 1, stream)]))
        rows = list(map(Row._make, found))
        return Finding(rows, id_after(rows[-1].id) if len(rows) == count else None, _claiming(rows, edges))

    async def _scan(
        self, start: bytes, look: int, count: int, least_ms: int, below_ms: int = -1, consumer: bytes | None = None
    ) -> Finding:
        """One bounded look at the list: rows with an idle time in the range."""
        stream, only = self._keys.stream, () if consumer is None else (consumer,)
        scan: Command = ("EVAL", _SCAN, 1, stream, self._group, start, look, count, least_ms, below_ms, *only)
        (found, last, ended), edges = raised(await self._server.batch([scan, ("EVAL", _EDGES, 1, stream)]))
        rows = list(map(Row._make, found))
        return Finding(rows, None if ended or last is None else id_after(last), _claiming(rows, edges))

    async def fresh(self) -> AsyncIterator[Entry]:
        """The entries that our consumer holds from an earlier run and that are not idle yet, without claiming them."""
        start: bytes | None = START
        while start is not None:
            finding = await self._scan(
                start, WINDOW, WINDOW, least_ms=0, below_ms=self._min_idle_ms, consumer=self.consumer
            )
            async for entry in self._read(finding.rows):
                yield entry
            start = finding.after

    async def _read(self, rows: Sequence[Row]) -> AsyncIterator[Entry]:
        """The entries, some at a time, as many as their size allows; those no longer in the stream are left out."""
        pace = Pace(READ_AT_ONCE, FIRST_PAGE, self._min_idle_ms)
        at = 0
        while at < len(rows):
            some = rows[at : at + pace.count]
            at += len(some)
            reads: list[Command] = [("XRANGE", self._keys.stream, row.id, row.id) for row in some]
            bodies = raised(await self._server.batch(reads))
            entries = [Entry(row.id, body[0][1]) for row, body in zip(some, bodies, strict=True) if body]
            pace.saw(entries, 0)
            for entry in entries:
                yield entry

    async def claim(self, finding: Finding) -> Page:
        """Take over the entries found, as far as they are still there and still idle.

        After an error, what may have been claimed all the same is given back before the next look at the list.
        """
        found = {row.id: row for row in finding.rows}
        try:
            async with self._claiming:
                claimed, lost, unrecorded = await self._CLAIM[finding.claiming](self, found)
                self._untold += lost
                if self._doubtful:
                    mine = {entry_id for entry_id, _ in claimed}
                    await self._give_back_late(found.keys() - mine)
                    self._doubtful = [doubt for doubt in self._doubtful if doubt[0].id not in mine]
        except BaseException:
            until = time.monotonic() + DOUBT_SEC
            self._doubtful += ((row._replace(deliveries=row.deliveries + 1), until) for row in finding.rows)
            raise
        entries = []
        for entry_id, fields in claimed:
            _, consumer, idle_ms, deliveries = found[entry_id]
            entries.append(Entry(entry_id, fields, consumer, idle_ms, deliveries + 1))
        lost, self._untold = self._untold, []
        return Page(entries, lost, finding.after, unrecorded)

    async def _give_back_late(self, ids: AbstractSet[bytes]) -> None:
        """Give back what a claim that was given up has taken since it was found again.

        Raises:
            redis.exceptions.ConnectionError: there was such; what has just been claimed may be later ones of its order
                key (G3), so all of it is to be found anew.
        """
        late = [row for row, _ in self._doubtful if row.id in ids]
        if late and {row.id for row in late} - await self._refund(late):
            raise RedisConnectionError("a claim that was given up has taken effect only now")

    async def _claim_plain(self, found: dict[bytes, Row]) -> Claimed:
        keys = self._keys
        reply = await self._server.call("XCLAIM", keys.stream, self._group, self.consumer, self._min_idle_ms, *found)
        claimed = [item for item in reply if item is not None]
        if len(claimed) == len(found):
            return claimed, [], None
        missing = [row for one, row in found.items() if one not in {item[0] for item in claimed}]
        flat = [value for row in missing for value in row]
        about = (self._group, self.consumer, _now_ms(), LOST_MAXLEN)
        try:
            lost = await self._server.call("EVAL", _BURY_CLAIMED, 2, keys.stream, keys.lost, *about, *flat)
        except (ResponseError, RedisConnectionError, RedisTimeoutError, Unreachable) as exc:
            return claimed, [], str(exc)  # they are ours and pending, and will be recorded once they are idle again
        return claimed, [found[one] for one in lost], None

    async def _claim_guarded(self, found: dict[bytes, Row]) -> Claimed:
        claim: Command = ("XCLAIM", self._keys.stream, self._group, self.consumer, self._min_idle_ms, *found)
        replies = await self._server.transaction([self._bury("", found), claim])
        (lost, _, unrecorded), claimed = raised(replies)
        if lost is not None:
            return claimed, [Row(*row) for row in lost], None if unrecorded is None else readable(unrecorded)
        seen = {item[0] for item in claimed}
        missing = [row for one, row in found.items() if one not in seen] if len(seen) < len(found) else []
        return claimed, await self._dropped(missing), None

    async def _dropped(self, missing: Sequence[Row]) -> list[Row]:
        """Record those that are gone though the stream knew of no deletion: the file of a Redis 6 does not tell of any.

        The others were acknowledged, or taken by somebody else. Once for each upgrade, so not at one stroke.
        """
        if not missing:
            return []
        stream, ledger = self._keys.stream, self._keys.lost
        bodies = raised(await self._server.batch([("XRANGE", stream, row.id, row.id) for row in missing]))
        dropped = [row for row, body in zip(missing, bodies, strict=True) if not body]
        add: Command = ("XADD", ledger, "MAXLEN", "~", LOST_MAXLEN, "*")
        for row in dropped:
            about = ("id", row.id, "consumer", row.consumer, "idle_ms", row.idle_ms, "deliveries", row.deliveries)
            await self._server.call(*add, *about, "at", _now_ms())
        return dropped

    async def _claim_carefully(self, found: dict[bytes, Row]) -> Claimed:
        ids = list(found)
        some = [ids[at : at + CAREFUL_AT_ONCE] for at in range(0, len(ids), CAREFUL_AT_ONCE)]
        replies = await self._server.batch([self._bury("claim", one) for one in some])
        lost = [Row(*row) for reply in replies if not isinstance(reply, Exception) for row in reply[0]]
        if any(isinstance(reply, Exception) for reply in replies):
            self._untold += lost
        parts = raised(replies)
        claimed = [item for _, items, _ in parts for item in items]
        return claimed, lost, next((readable(why) for _, _, why in parts if why is not None), None)

    def _bury(self, claim: str, ids: Iterable[bytes]) -> Command:
        about = (self._group, self.consumer, self._min_idle_ms, _now_ms(), LOST_MAXLEN, claim)
        return ("EVAL", _BURY, 2, self._keys.stream, self._keys.lost, *about, *ids)

    _CLAIM: ClassVar = {
        Claiming.PLAIN: _claim_plain,
        Claiming.GUARDED: _claim_guarded,
        Claiming.CAREFUL: _claim_carefully,
    }

    async def keep(self, entries: Iterable[Entry]) -> set[bytes]:
        """Make claimed entries fresh again, so that nobody takes them; return the IDs that are no longer ours."""
        return await self._set([(entry.id, entry.deliveries, 0, entry.deliveries) for entry in entries])

    def owe(self, entries: Iterable[Entry]) -> None:
        """Note claimed entries that are to be refunded: delivery count and idle time as they were before.

        They stay our consumer's until somebody claims them. What cannot be given back for want of a connection is owed
        until the next run.
        """
        self._owed += (Row(entry.id, entry.consumer, entry.idle_ms, entry.deliveries) for entry in entries)

    async def settle_debts(self) -> set[bytes]:
        """Give back what is owed from this run or an earlier one; return the IDs that were no longer ours.

        A claim whose reply never came may take effect later than this, so what it named is looked at for a while.
        """
        if not (self._owed or self._doubtful):
            return set()
        async with self._claiming:
            owed, self._owed = self._owed, []
            rows = owed + [row for row, _ in self._doubtful]
            try:
                gone = await self._refund(rows)
            except BaseException:
                self._owed += owed
                raise
            now = time.monotonic()
            self._doubtful = [(row, until) for row, until in self._doubtful if row.id in gone and now < until]
        return gone

    async def _refund(self, rows: Sequence[Row]) -> set[bytes]:
        return await self._set([(row.id, row.deliveries, row.idle_ms, row.deliveries - 1) for row in rows])

    async def _set(self, changes: Sequence[tuple[bytes, int, int, int]]) -> set[bytes]:
        gone: set[bytes] = set()
        for at in range(0, len(changes), KEEP_AT_ONCE):
            flat = [value for change in changes[at : at + KEEP_AT_ONCE] for value in change]
            gone.update(await self._server.call("EVAL", _KEEP, 1, self._keys.stream, self._group, self.consumer, *flat))
        return gone

    def acknowledge(self, ids: Sequence[bytes]) -> Ask[Reply]:
        """Acknowledge all the entries with one command. The answer: how many of them were pending until now."""
        return plain("XACK", self._keys.stream, self._group, *ids)

    async def sweep(self, idle_ms: int) -> list[str]:
        """Remove consumers that have nothing pending and have been idle longer; never our own. Return their names."""
        reply = await self._server.call("XINFO", "CONSUMERS", self._keys.stream, self._group)
        facts = [by_name(flat) for flat in reply]
        names = [one[b"name"] for one in facts if one[b"pending"] == 0 and one[b"idle"] > idle_ms]
        names = [name for name in names if name != self.consumer]
        swept: list[bytes] = []
        for at in range(0, len(names), SWEEP_AT_ONCE):
            some = names[at : at + SWEEP_AT_ONCE]
            swept += await self._server.call("EVAL", _SWEEP, 1, self._keys.stream, self._group, *some)
        return [readable(name) for name in swept]


def _summary(replies: Sequence[Reply]) -> Summary:
    (reply,) = replies
    if isinstance(reply, ResponseError) and error_code(reply) == "NOGROUP":
        return Summary(group_missing=str(reply))
    count, _, _, consumers = checked(reply)
    return Summary(count, {readable(name): int(held) for name, held in consumers or ()})


def _first_idle_ms(replies: Sequence[Reply]) -> int:
    """An error, such as that the group is not there, is not told: `count` tells it."""
    rows = [Row(*row) for reply in replies if isinstance(reply, list) for row in reply]
    return max((row.idle_ms for row in rows), default=0)


def _claiming(rows: Sequence[Row], edges: Reply) -> Claiming:
    first, deleted = edges
    if not rows or deleted is None:
        return Claiming.PLAIN
    least = id_number(rows[0].id)
    has_holes = first is None or least < id_number(first) or least <= id_number(deleted)
    return Claiming.CAREFUL if has_holes else Claiming.GUARDED


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
