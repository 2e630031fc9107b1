"""Owns the status: it answers an operator's first questions about the server and each target, in few round trips."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from redis.exceptions import RedisError, ResponseError

from reclaim import __version__
from reclaim.app import App
from reclaim.bounded import ERROR_CHARS, NAME_CHARS, Most, shortened, tightened
from reclaim.entry import by_name, readable
from reclaim.errors import AccessDenied, ServerError, said
from reclaim.names import written
from reclaim.ops.doctor import Checkup
from reclaim.ops.facts import Facts, Holder, Lost, Oldest, Pending
from reclaim.ops.health import Health, assess, worst
from reclaim.ops.results import ServerStatus
from reclaim.ops.server_info import info, kind_and_version
from reclaim.run.history import History
from reclaim.run.report import MAX_CONSUMERS
from reclaim.schedule import longest_gap_sec
from reclaim.settings import Target
from reclaim.state.ask import Ask, Reply, checked, raised
from reclaim.state.circuit import Circuit
from reclaim.state.connection import Server
from reclaim.state.consumers import consumers_of
from reclaim.state.lost import LOST_MAXLEN, LostEntries
from reclaim.state.patience import patiently
from reclaim.state.seen import Seen
from reclaim.times import moment
from reclaim.verdicts import error_code

LOOK_AT = 100  # pending entries, those with the smallest IDs; the status shows the one of them that is idle longest
RUNS, LOST = 20, 20  # how many of the latest runs and lost entries the status shows
_MOST = Most(items=MAX_CONSUMERS + 1, chars=ERROR_CHARS)  # somebody else may have written anything into what we read

T = TypeVar("T")


async def status(app: App) -> ServerStatus:
    r"""The whole status, ready for JSON. It changes nothing, and an error of Redis does not make it raise.

    It takes one round trip for the server and one for each target, all at the same time, whatever the backlog; two more
    where something is pending, to learn how long its consumers have been idle. Once a minute it takes a few more, for
    the doctor's findings. What cannot be read is None (or empty), and the target's
    `error` says why. The top-level `error` is set if the server itself did not answer. A byte that is not UTF-8 becomes
    ``\xNN``.
    """
    now = datetime.now(UTC)
    (server, error), doctor, *facts = await asyncio.gather(
        _server(app),
        _doctor(app),
        *(_facts(app.server, unit.target, longest_gap_sec(app.settings.schedule)) for unit in app.units.values()),
    )
    failing = [(one["about"], one["what"]) for one in doctor["findings"] if one["health"] == Health.FAIL.value]
    targets = []
    for one in facts:
        others = app.units.keys() - {one.target}
        first_failing = next((what for about, what in failing if about not in others), None)
        targets.append(_assessed(one, now, first_failing))
    health = Health.FAIL if error else worst([Health(one["health"]) for one in targets])
    found = {
        "version": __version__,
        "now": now.isoformat(timespec="milliseconds"),
        "health": health.value,
        "error": said(error) if error else None,
        "server": server,
        "doctor": doctor,
        "targets": targets,
    }
    return ServerStatus(found, error)


async def _server(app: App) -> tuple[dict[str, Any], ServerError | None]:
    about: dict[str, Any] = {"address": app.server.address, "kind": None, "version": None, "tls": app.settings.tls}
    try:
        (facts,) = await patiently(app.server, lambda: app.server.ask(Ask.one(("INFO", "server"), info).or_error()))
    except ServerError as exc:
        return about, exc
    if not isinstance(facts, Exception):  # without permission for INFO, kind and version stay unknown
        about["kind"], about["version"] = kind_and_version(facts)
    return about, None


_checkups: WeakKeyDictionary[App, Checkup] = WeakKeyDictionary()


async def _doctor(app: App) -> dict[str, Any]:
    checkup = _checkups.setdefault(app, Checkup(app.server, app.settings))
    findings = [tightened(one.to_dict(), _MOST) for one in await checkup.findings(os.environ)]
    return {"at": checkup.at.isoformat(timespec="milliseconds"), "findings": findings}


def _assessed(facts: Facts, now: datetime, failing: str | None) -> dict[str, Any]:
    health, sentence = assess(facts, now, failing)
    bounded: dict[str, Any] = tightened(asdict(facts), _MOST, depth=0)
    return bounded | {"health": health.value, "sentence": sentence}


async def _facts(server: Server, target: Target, tick_sec: float) -> Facts:
    def known(**more: Any) -> Facts:
        return Facts(
            target.name,
            target.stream,
            target.group,
            target.consumer,
            target.min_idle_ms,
            tick_sec,
            dead_letter_maxlen=target.dead_letter_maxlen,
            **more,
        )

    try:
        answers = await patiently(server, lambda: server.ask(*_questions(server, target)))
        idle_ms = await _idle_ms(server, target, answers[0])
    except ServerError as exc:
        return known(error=said(exc))
    pending, circuit, lease, runs, dead_letters, lost, seen = map(_if_read, answers)
    is_missing, seen = pending is _GROUP_MISSING, seen or Seen()
    if pending is not None:
        shown = [replace(holder, idle_ms=idle_ms.get(holder.consumer)) for holder in pending.by_consumer]
        pending = replace(pending, by_consumer=shown)
    return known(
        group_missing=is_missing,
        missing_ok=is_missing and target.missing_ok and seen.sight is None and not seen.is_foreign,
        clock_behind_ms=seen.clock_behind_ms,
        pending=pending,
        circuit=circuit,
        lease=lease,
        runs=runs or [],
        last_tick_at=None if seen.sight is None else moment(seen.sight.at_ms),
        dead_letters=dead_letters,
        lost=lost,
        error=next((said(answer) for answer in answers if isinstance(answer, Exception)), None),
    )


def _questions(server: Server, target: Target) -> Iterator[Ask[Any]]:
    """What is asked of one target: pending, circuit, lease, runs, dead letters, lost, what the last run saw.

    The backlog's size costs nothing.

    The status leaves out what cannot be read, so each answer may be an error.
    """
    keys = target.keys
    runs = ("XREVRANGE", keys.runs, "+", "-", "COUNT", RUNS)
    asks: Sequence[Ask[Any]] = (
        _pending(target),
        Circuit(server, target).read(),
        Ask.one(("GET", keys.lease), lambda holder: _name(holder) or None),
        Ask.one(runs, lambda found: [{"id": readable(one)} | report for one, report in History.read(found)]),
        Ask.one(("XLEN", keys.dead), int),
        _lost(target),
        Ask.one(("HGETALL", keys.seen), lambda flat: Seen.read(by_name(flat))),
    )
    return (ask.or_error() for ask in asks)


def _if_read(answer: T | Exception) -> T | None:
    return None if isinstance(answer, Exception) else answer


_GROUP_MISSING = Pending(0)  # stands for the answer that there is no such group


def _pending(target: Target) -> Ask[Pending]:
    stream, group = target.keys.stream, target.group_bytes

    def read(replies: Sequence[Reply]) -> Pending:
        summary, rows = replies
        is_missing = isinstance(summary, ResponseError) and error_code(summary) == "NOGROUP"
        return _GROUP_MISSING if is_missing else _what_is_pending(summary, rows)

    return Ask((("XPENDING", stream, group), ("XPENDING", stream, group, "-", "+", LOOK_AT)), read)


async def _idle_ms(server: Server, target: Target, pending: Pending | Exception) -> Mapping[str, int]:
    """How long each consumer of the group has been idle; of none where they may not be asked for, or are too many."""
    if isinstance(pending, Exception) or not pending.consumers:
        return {}
    try:
        found = await patiently(server, lambda: consumers_of(server, target))
    except (RedisError, AccessDenied):
        return {}
    return {_name(one.name): one.idle_ms for one in found or ()}


def _lost(target: Target) -> Ask[Lost]:
    def read(replies: Sequence[Reply]) -> Lost:
        count, latest = raised(replies)
        return Lost(int(count), list(LostEntries.read(latest)), full=int(count) >= LOST_MAXLEN)

    key = target.keys.lost
    return Ask((("XLEN", key), ("XREVRANGE", key, "+", "-", "COUNT", LOST)), read)


def _what_is_pending(summary: Reply, rows: Reply) -> Pending:
    total, _, _, holders = checked(summary)
    by_consumer = [Holder(_name(name), int(held), None) for name, held in holders or ()]
    by_consumer.sort(key=lambda holder: (-holder.pending, holder.consumer))
    oldest = max(checked(rows), key=lambda row: row[2], default=None)
    shown = by_consumer[:MAX_CONSUMERS]
    return Pending(
        total, len(by_consumer), shown, oldest and Oldest(readable(oldest[0]), _name(oldest[1]), *oldest[2:])
    )


def _name(name: bytes | None) -> str:
    return shortened("" if name is None else written(name), NAME_CHARS)
