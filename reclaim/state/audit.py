"""Owns the audit: a record of each thing that a person did to a target, in a capped stream.

A record is written before the act begins, so that one stays if the process dies in the middle: it has no outcome. When
the act is over, a record with its outcome takes its place. Each has these fields, all of them text:

    format      the version of this format, where it is not 1
    what        what was done: replay, discard, import, open_circuit, close_circuit, run
    who         the person's name, as far as it is known
    door        how the person came in: http, cli, program
    place       from where: an address or a host
    why         the reason that the person gave; empty where none was asked for
    meant       to what: the filter, the IDs, how many, as JSON
    begun_ms    when it began, Unix ms by our own clock
    ended_ms    when it was over; these four only then
    outcome     done, failed, interrupted
    error       what went wrong
    counts      how many, as JSON
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from reclaim.bounded import cut, json_within
from reclaim.entry import by_name, id_before, readable
from reclaim.settings import Target
from reclaim.state.connection import Server
from reclaim.state.formats import FIELD, FORMAT
from reclaim.state.scripts import script
from reclaim.times import moment

MAXLEN = 2_000  # about: where there are so many records, the oldest goes for each that is added
MAX_BYTES = 2_000  # of each text in a record

_END = script("audit_end")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something.

    Attributes:
        who: the person's name.
        door: how the person came in: http, cli or program.
        place: from where, as far as it is known.
    """

    who: str
    door: str = "program"
    place: str = ""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What a person did.

    Attributes:
        id: the record's own ID.
        what: replay, discard, import, open_circuit, close_circuit or run.
        who: the person's name, as far as it is known.
        door: http, cli or program.
        place: from where.
        why: the reason that the person gave.
        meant: to what it was done: a filter, IDs, how many.
        begun_at: when it began; ISO 8601.
        ended_at: when it was over; None: it is under way, or the process died.
        outcome: done, failed, interrupted; or begun, while there is no other.
        error: what went wrong.
        counts: how many.
    """

    id: str
    what: str
    who: str
    door: str
    place: str
    why: str
    meant: Mapping[str, Any]
    begun_at: str
    ended_at: str | None = None
    outcome: str = "begun"
    error: str = ""
    counts: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, record_id: bytes, flat: Sequence[bytes]) -> "AuditRecord":
        """The record that a stream entry holds.

        Raises:
            KeyError, ValueError, OverflowError: somebody else has written it, or a newer release in another format.
        """
        facts = {name.decode(): readable(value) for name, value in by_name(flat).items()}
        if facts.get(FIELD.decode(), FORMAT.decode()) != FORMAT.decode():
            raise ValueError(facts[FIELD.decode()])
        ended = "ended_ms" in facts
        return cls(
            id=record_id.decode(),
            **{name: facts[name] for name in ("what", "who", "door", "place", "why")},
            meant=_object(facts["meant"]),
            begun_at=moment(int(facts["begun_ms"])),
            ended_at=moment(int(facts["ended_ms"])) if ended else None,
            outcome=facts["outcome"] if ended else "begun",
            error=facts["error"] if ended else "",
            counts=_object(facts["counts"]) if ended else None,
        )


def _object(text: str) -> Mapping[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise KeyError(text)
    return found


@dataclass(frozen=True, slots=True)
class Begun:
    """An act that is under way: its record's ID and fields."""

    id: bytes
    fields: Sequence[str | int]


class Audit:
    """The audit of one target: about the latest 2,000 records."""

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._key = target.keys.audit

    async def begin(self, what: str, by: Actor, why: str, meant: Mapping[str, Any]) -> Begun:
        """Record what is begun now.

        Raises:
            ServerError, redis.exceptions.RedisError: it cannot be recorded, and so must not be done.
        """
        who, place = cut(by.who, MAX_BYTES), cut(by.place, MAX_BYTES)
        about: list[str | int] = ["what", what, "who", who, "door", by.door, "place", place, "why", cut(why, MAX_BYTES)]
        fields = [*about, "meant", json_within(meant, MAX_BYTES), "begun_ms", _now_ms()]
        return Begun(await self._server.call("XADD", self._key, "MAXLEN", "~", MAXLEN, "*", *fields), fields)

    async def end(self, begun: Begun, outcome: str, counts: Mapping[str, Any], error: str = "") -> None:
        """Put the outcome into the record's place, at one stroke.

        Raises:
            ServerError, redis.exceptions.RedisError: it cannot be written; the record stays as it was begun.
        """
        after = ("outcome", outcome, "error", cut(error, MAX_BYTES), "counts", json_within(counts, MAX_BYTES))
        add = ("MAXLEN", "~", MAXLEN, "*", *begun.fields, "ended_ms", _now_ms(), *after)
        await self._server.call("EVAL", _END, 1, self._key, begun.id, *add)

    async def latest(self, count: int, before: bytes | None = None) -> tuple[list[AuditRecord], bytes | None]:
        """At most `count` records, the latest first, from the one before the ID given.

        Returns:
            Those that can be read; and the ID before which to go on, None at the end.
        """
        end = "+" if before is None else id_before(before)
        found = await self._server.call("XREVRANGE", self._key, end, "-", "COUNT", count)
        records: list[AuditRecord] = []
        for record_id, flat in found:
            with suppress(KeyError, ValueError, OverflowError, RecursionError):
                records.append(AuditRecord.read(record_id, flat))
        return records, found[-1][0] if len(found) == count else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
