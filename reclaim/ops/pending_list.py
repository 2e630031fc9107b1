"""Owns the list of what is pending now: which entries, who holds them, and why the last run left them. It only reads.

An answer looks at a bounded part of the pending list, and at a bounded number of records of tries.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

from reclaim.app import App, Unit
from reclaim.entry import Entry, id_after, id_number
from reclaim.errors import MissingField
from reclaim.handlers.outcomes import Handler
from reclaim.names import written
from reclaim.run.order import digest
from reclaim.run.rules import Rules
from reclaim.state.ask import plain
from reclaim.state.bodies import Bodies
from reclaim.state.pending import Row
from reclaim.state.tries import READ_AT_ONCE, Try, reason_in
from reclaim.times import moment
from reclaim.verdicts import OwnErrors

RECORDS = 10_000  # of tries that an answer reads, to find which entry holds another one back


class Waiting(Enum):
    """Why an entry is still pending."""

    FRESH = "fresh"  # it is not idle for MIN_IDLE_TIME_SEC yet: its consumer may be at work on it
    DUE = "due"  # the next run takes it
    BACKING_OFF = "backing_off"  # it failed, and waits for its next try
    HELD = "held"  # an earlier entry of its order key is not done
    GONE = "gone"  # it is no longer in the stream: the next run records it as lost


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """An entry that is pending.

    Attributes:
        row: how it is pending.
        fields: names and values in turn; None if it is gone from the stream.
        waiting: why it is still pending.
        due_in_ms: for how long nobody tries it; 0: it may be tried, or waits for another entry.
        behind: the ID of the entry that holds it back; None if none does.
        record: what is known of its tries; None if nothing is.
        reason: why its last try failed; empty if that is not known.
    """

    row: Row
    fields: Sequence[bytes] | None
    waiting: Waiting
    due_in_ms: int
    behind: bytes | None
    record: Try | None
    reason: str

    def to_dict(self, shown: Callable[[bytes], str]) -> dict[str, Any]:
        """The entry ready for JSON: bytes as the text that they are shown as."""
        fields = self.fields or ()
        pairs = zip(map(shown, fields[::2]), map(shown, fields[1::2]), strict=True)
        last_ms = self.record.last_ms if self.record else 0
        return {
            "id": self.row.id.decode(),
            "consumer": written(self.row.consumer),
            "idle_ms": self.row.idle_ms,
            "deliveries": self.row.deliveries,
            "waiting": self.waiting.value,
            "due_in_ms": self.due_in_ms,
            "behind": None if self.behind is None else self.behind.decode(),
            "charged": self.record.charged if self.record else 0,
            "verdict": self.record.verdict if self.record else None,
            "last_try_at": moment(last_ms) if last_ms else None,
            "reason": self.reason,
            "bytes": sum(map(len, fields)),
            "fields": [{"name": name, "value": value} for name, value in pairs],
        }


@dataclass(frozen=True, slots=True)
class PendingPage:
    """A part of the pending list, the smallest IDs first.

    Attributes:
        all_records: whether all records of tries were read; else an entry may be held though it seems due.
        next: ask for what comes `after` this ID to go on; None at the end.
    """

    target: str
    entries: Sequence[PendingEntry]
    all_records: bool
    next: bytes | None


async def read_pending(
    app: App, unit: Unit, *, consumer: bytes | None = None, after: bytes | None = None, limit: int = 50
) -> PendingPage:
    """At most `limit` entries, of one consumer or of all; fewer if they are large.

    Raises:
        ServerError, redis.exceptions.RedisError: Redis cannot be used, or the group is missing.
    """
    target = unit.target
    start = b"-" if after is None else id_after(after)
    if start is None:
        return PendingPage(target.name, [], all_records=True, next=None)
    of = () if consumer is None else (consumer,)
    rows = [
        Row(*row)
        for row in await app.server.call("XPENDING", target.keys.stream, target.group_bytes, start, "+", limit, *of)
    ]
    if not rows:
        return PendingPage(target.name, [], all_records=True, next=None)
    bodies = await Bodies(app.server, target.keys.stream).first([row.id for row in rows])
    shown = rows[: len(bodies)]
    (records,) = await app.server.ask(plain("HMGET", target.keys.tries, *(row.id for row in shown)))
    known, is_all = await _records(app, unit)
    own = {row.id: record for row, record in zip(shown, records, strict=True) if record is not None}
    tries = {entry_id: one for entry_id, record in own.items() if (one := Try.from_bytes(record)) is not None}
    rules = Rules.of(target, OwnErrors(), tries)
    holders = _holders(known | tries)
    entries = [
        _entry(row, body, rules, unit.runners[0].handler, holders, own.get(row.id))
        for row, body in zip(shown, bodies, strict=True)
    ]
    is_end = len(shown) == len(rows) < limit
    return PendingPage(target.name, entries, all_records=is_all, next=None if is_end else shown[-1].id)


async def _records(app: App, unit: Unit) -> tuple[dict[bytes, Try], bool]:
    """Records of tries, RECORDS of them about, and whether these are all."""
    found: dict[bytes, Try] = {}
    cursor = 0
    while len(found) < RECORDS:
        cursor, flat = await app.server.call("HSCAN", unit.target.keys.tries, cursor, "COUNT", READ_AT_ONCE)
        for entry_id, record in zip(flat[::2], flat[1::2], strict=True):
            one = Try.from_bytes(record)
            if one is not None:
                found[entry_id] = one
        if int(cursor) == 0:
            return found, True
    return found, False


def _holders(tries: Mapping[bytes, Try]) -> dict[bytes, bytes]:
    """The smallest ID of an entry that is not done, by the digest of its order key."""
    found: dict[bytes, bytes] = {}
    for entry_id, one in tries.items():
        if one.digest and (one.digest not in found or id_number(entry_id) < id_number(found[one.digest])):
            found[one.digest] = entry_id
    return found


def _entry(
    row: Row,
    body: Sequence[bytes] | None,
    rules: Rules,
    handler: Handler,
    holders: Mapping[bytes, bytes],
    kept: bytes | None,
) -> PendingEntry:
    record = rules.tries.get(row.id)
    behind = None if body is None else _behind(row, body, handler, holders)
    waiting, due_in_ms = Waiting.DUE, 0
    if body is None:
        waiting = Waiting.GONE
    elif not rules.is_due(row):
        is_fresh = row.idle_ms < rules.min_idle_ms
        charged = 0 if record is None else record.charged
        waiting = Waiting.FRESH if is_fresh and not charged else Waiting.BACKING_OFF
        due_in_ms = max(0, rules.wait_ms(charged) - row.idle_ms)
    elif behind is not None:
        waiting = Waiting.HELD
    return PendingEntry(row, body, waiting, due_in_ms, behind, record, "" if kept is None else reason_in(kept))


def _behind(row: Row, body: Sequence[bytes], handler: Handler, holders: Mapping[bytes, bytes]) -> bytes | None:
    """The ID of the earlier entry that holds this one back."""
    with suppress(MissingField):  # such an entry waits for nobody
        holder = holders.get(digest(handler.order_key(Entry(row.id, body))))
        if holder is not None and id_number(holder) < id_number(row.id):
            return holder
    return None
