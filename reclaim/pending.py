"""Owns a group's pending list: finds what is idle, claims it, keeps or gives back what is claimed, and acknowledges."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from redis.exceptions import ResponseError

from reclaim.connection import Command, Reply, Server
from reclaim.entry import Entry, id_after
from reclaim.errors import error_code
from reclaim.settings import Target

START = b"-"
LOST_MAXLEN = 10_000

# XPENDING … IDLE walks the pending list until it has found enough: 0.07 µs an entry, 72 ms for a million fresh ones.
# Up to this many entries that is harmless; beyond, a script looks at a bounded window of the list at a time.
NATIVE_UP_TO = 50_000
WINDOW = 2_000  # entries that one script looks at: 2 ms on Valkey 9, 4 ms on Redis 6.2
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

# Records entries that are pending but no longer in the stream, and acknowledges them away. It must run in one MULTI
# with XCLAIM: from Redis 7 on XCLAIM drops such entries without a word, before, it claims and answers nil for them.
# Nothing needs a look if all IDs are newer than the last one deleted and not older than the first one left.
# KEYS: the stream, the ledger of lost entries. ARGV: group, least idle ms, now (Unix ms), the ledger's cap,
# then the IDs, ascending.
# Result: {{ID, consumer, idle ms, deliveries}, …} of the entries recorded.
_BURY = """
if redis.replicate_commands then redis.replicate_commands() end
local function is_less(a, b)
  local a_ms, a_seq = a:match('(%d+)-(%d+)')
  local b_ms, b_seq = b:match('(%d+)-(%d+)')
  if a_ms == b_ms then a_ms, b_ms = a_seq, b_seq end
  if #a_ms ~= #b_ms then return #a_ms < #b_ms end
  return a_ms < b_ms
end
local info, facts = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for at = 1, #info, 2 do facts[info[at]] = info[at + 1] end
local first, deleted = facts['first-entry'], facts['max-deleted-entry-id']
if first and deleted and is_less(deleted, ARGV[5]) and not is_less(ARGV[5], first[1]) then return {} end
local lost = {}
for at = 5, #ARGV do
  local id = ARGV[at]
  if #redis.call('XRANGE', KEYS[1], id, id) == 0 then
    local row = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
    if row and (row[3] >= tonumber(ARGV[2]) or row[3] < 0) then
      redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*',
        'id', id, 'consumer', row[2], 'idle_ms', row[3], 'deliveries', row[4], 'at', ARGV[3])
      redis.call('XACK', KEYS[1], ARGV[1], id)
      lost[#lost + 1] = row
    end
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

# Removes consumers that have had nothing pending and have been idle too long.
# KEYS: the stream. ARGV: group, our own consumer, idle ms. Result: the names removed.
_SWEEP = """
if redis.replicate_commands then redis.replicate_commands() end
local swept = {}
for _, pairs in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local facts = {}
  for at = 1, #pairs, 2 do facts[pairs[at]] = pairs[at + 1] end
  if facts.pending == 0 and facts.idle > tonumber(ARGV[3]) and facts.name ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], facts.name)
    swept[#swept + 1] = facts.name
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


class PendingList:
    """The pending list of one group, as our consumer works on it."""

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._keys = target.keys
        self._group = target.group.encode()
        self._consumer = target.consumer.encode()
        self._min_idle_ms = target.min_idle_ms
        self._has_idle_option = True  # until the server says otherwise
        self._owed: list[Row] = []

    def count(self) -> Command:
        """The command that counts what is pending; its reply goes to `counted`."""
        return ("XPENDING", self._keys.stream, self._group)

    @staticmethod
    def counted(reply: Reply) -> Summary:
        """What the reply to `count` says."""
        if isinstance(reply, ResponseError) and error_code(reply) == "NOGROUP":
            return Summary(group_missing=str(reply))
        if isinstance(reply, Exception):
            raise reply
        count, _, _, consumers = reply
        return Summary(count, {name.decode(errors="replace"): int(held) for name, held in consumers or ()})

    async def find(self, start: bytes, count: int, total: int) -> tuple[list[Row], bytes | None]:
        """Idle entries from `start` on, `count` at most, and where the next ones start (None: there are no more).

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
        next_start: bytes | None = start
        rows: list[Row] = []
        while next_start is not None and not rows:
            rows, next_start = await self._scan(next_start, look, count, least_ms=self._min_idle_ms)
            look = min(2 * look, WINDOW)
        return rows, next_start

    async def _find_idle(self, start: bytes, count: int) -> tuple[list[Row], bytes | None]:
        found = await self._server.call(
            "XPENDING", self._keys.stream, self._group, "IDLE", self._min_idle_ms, start, "+", count
        )
        rows = [Row(*row) for row in found]
        return rows, id_after(rows[-1].id) if len(rows) == count else None

    async def _scan(
        self, start: bytes, look: int, count: int, least_ms: int, below_ms: int = -1, consumer: bytes | None = None
    ) -> tuple[list[Row], bytes | None]:
        """One bounded look at the list: rows with an idle time in the range, and where to look next (None: the end)."""
        only = () if consumer is None else (consumer,)
        found, last, ended = await self._server.call(
            "EVAL", _SCAN, 1, self._keys.stream, self._group, start, look, count, least_ms, below_ms, *only
        )
        return [Row(*row) for row in found], None if ended or last is None else id_after(last)

    async def held(self) -> list[Entry]:
        """The entries that our consumer holds from an earlier run and that are not idle yet."""
        start: bytes | None = START
        entries: list[Entry] = []
        while start is not None:
            rows, start = await self._scan(
                start, WINDOW, WINDOW, least_ms=0, below_ms=self._min_idle_ms, consumer=self._consumer
            )
            entries += await self._read(rows)
        return entries

    async def _read(self, rows: Sequence[Row]) -> list[Entry]:
        """The bodies of entries, without claiming them; those no longer in the stream are left out."""
        replies = await self._server.batch([("XRANGE", self._keys.stream, row.id, row.id) for row in rows])
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return [
            Entry(row.id, body[0][1], row.consumer, row.idle_ms, row.deliveries)
            for row, body in zip(rows, replies, strict=True)
            if body
        ]

    async def claim(self, rows: Sequence[Row], after: bytes | None) -> Page:
        """Take over the entries found, as far as they are still there and still idle.

        After an error, what may have been claimed all the same is given back before the next look at the list.
        """
        ids = [row.id for row in rows]
        now_ms = time.time_ns() // 1_000_000
        stream, group = self._keys.stream, self._group
        try:
            lost, claimed = await self._server.transaction(
                [
                    ("EVAL", _BURY, 2, stream, self._keys.lost, group, self._min_idle_ms, now_ms, LOST_MAXLEN, *ids),
                    ("XCLAIM", stream, group, self._consumer, self._min_idle_ms, *ids),
                ]
            )
            for reply in (lost, claimed):
                if isinstance(reply, Exception):
                    raise reply
        except BaseException:
            self._owed += (row._replace(deliveries=row.deliveries + 1) for row in rows)
            raise
        found = {row.id: row for row in rows}
        entries = []
        for entry_id, fields in claimed:
            _, consumer, idle_ms, deliveries = found[entry_id]
            entries.append(Entry(entry_id, fields, consumer, idle_ms, deliveries + 1))
        return Page(entries, [Row(*row) for row in lost], after)

    async def keep(self, entries: Iterable[Entry]) -> set[bytes]:
        """Make claimed entries fresh again, so that nobody takes them; return the IDs that are no longer ours."""
        return await self._set([(entry.id, entry.deliveries, 0, entry.deliveries) for entry in entries])

    def owe(self, entries: Iterable[Entry]) -> None:
        """Note claimed entries that are to be refunded: delivery count and idle time as they were before.

        They stay our consumer's until somebody claims them. What cannot be given back for want of a connection is owed
        until the next run.
        """
        self._owed += (Row(entry.id, entry.consumer, entry.idle_ms, entry.deliveries) for entry in entries)

    async def settle_debts(self) -> None:
        """Give back what is owed from this run or an earlier one."""
        owed, self._owed = self._owed, []
        try:
            await self._set([(row.id, row.deliveries, row.idle_ms, row.deliveries - 1) for row in owed])
        except BaseException:
            self._owed += owed
            raise

    async def _set(self, changes: Sequence[tuple[bytes, int, int, int]]) -> set[bytes]:
        gone: set[bytes] = set()
        for at in range(0, len(changes), KEEP_AT_ONCE):
            flat = [value for change in changes[at : at + KEEP_AT_ONCE] for value in change]
            gone.update(
                await self._server.call("EVAL", _KEEP, 1, self._keys.stream, self._group, self._consumer, *flat)
            )
        return gone

    async def acknowledge(self, ids: Sequence[bytes]) -> None:
        """Acknowledge all the entries with one command."""
        await self._server.call("XACK", self._keys.stream, self._group, *ids)

    def sweep(self, idle_ms: int) -> Command:
        """The command that removes consumers with nothing pending that have been idle longer."""
        return ("EVAL", _SWEEP, 1, self._keys.stream, self._group, self._consumer, idle_ms)
