"""Owns the status: everything an operator asks first about the server and each target, read in few round trips."""

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from redis.exceptions import RedisError, ResponseError

from reclaim import __version__
from reclaim.app import App
from reclaim.entry import by_name, readable
from reclaim.errors import ServerError
from reclaim.ops.doctor import Checkup
from reclaim.ops.facts import CircuitNow, Facts, Holder, Lost, Oldest, Pending
from reclaim.ops.health import Health, judge, worst
from reclaim.ops.server_info import info, kind_and_version
from reclaim.run.history import History
from reclaim.run.report import MAX_CONSUMERS
from reclaim.schedule import longest_gap_sec
from reclaim.settings import Target
from reclaim.state.ask import ask
from reclaim.state.circuit import Circuit
from reclaim.state.circuit import Status as CircuitStatus
from reclaim.state.connection import Command, Reply, Server, checked
from reclaim.state.lost import LostEntries
from reclaim.times import moment
from reclaim.verdicts import error_code

LOOK_AT = 100  # pending entries, from the smallest ID on, of which the one idle longest is shown
RUNS, LOST = 20, 20  # how many of the latest are shown

T = TypeVar("T")


async def status(app: App) -> dict[str, Any]:
    r"""The whole status, ready for JSON. It changes nothing and does not raise for what is wrong with Redis.

    One round trip for the server and one for each target, all at the same time, whatever the backlog; and now and then
    a few more for the doctor's findings, which are kept for a minute. What cannot be read is None (or empty) and
    explained in the target's `error`; the top-level `error` is set where the server itself could not be asked. Bytes
    that are not UTF-8 are shown as ``\xNN``.
    """
    found, _ = await look(app)
    return found


async def look(app: App) -> tuple[dict[str, Any], ServerError | None]:
    """The whole status, and why the server itself could not be asked."""
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
        targets.append(_judged(one, now, next((what for about, what in failing if about not in others), None)))
    health = Health.FAIL if error else worst([Health(one["health"]) for one in targets])
    found = {
        "version": __version__,
        "now": now.isoformat(timespec="milliseconds"),
        "health": health.value,
        "error": str(error) if error else None,
        "server": server,
        "doctor": doctor,
        "targets": targets,
    }
    return found, error


async def _server(app: App) -> tuple[dict[str, Any], ServerError | None]:
    about: dict[str, Any] = {"address": app.server.address, "kind": None, "version": None, "tls": app.settings.tls}
    try:
        (reply,) = await ask(app.server, [("INFO", "server")])
    except ServerError as exc:
        return about, exc
    if not isinstance(reply, Exception):  # who may not ask need not know
        about["kind"], about["version"] = kind_and_version(info(reply))
    return about, None


_checkups: WeakKeyDictionary[App, Checkup] = WeakKeyDictionary()


async def _doctor(app: App) -> dict[str, Any]:
    checkup = _checkups.setdefault(app, Checkup(app.server, app.settings))
    findings = [one.to_dict() for one in await checkup.findings(os.environ)]
    return {"at": checkup.at.isoformat(timespec="milliseconds"), "findings": findings}


def _judged(facts: Facts, now: datetime, failing: str | None) -> dict[str, Any]:
    health, sentence = judge(facts, now, failing)
    return asdict(facts) | {"health": health.value, "sentence": sentence}


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
        replies = await ask(server, _questions(server, target))
    except ServerError as exc:
        return known(error=str(exc))
    return known(**_Answers(target, replies).facts())


def _questions(server: Server, target: Target) -> list[Command]:
    """The commands, in the order in which `_Answers` reads the replies. None of them depends on the backlog's size."""
    keys = target.keys
    return [
        ("XPENDING", keys.stream, target.group),
        ("XPENDING", keys.stream, target.group, "-", "+", LOOK_AT),
        ("XINFO", "CONSUMERS", keys.stream, target.group),
        Circuit(server, target).look(),
        ("GET", keys.lease),
        ("XREVRANGE", keys.runs, "+", "-", "COUNT", RUNS),
        ("XLEN", keys.dead),
        ("XLEN", keys.lost),
        ("XREVRANGE", keys.lost, "+", "-", "COUNT", LOST),
    ]


class _Answers:
    """Reads the replies of one target; what cannot be read is left out, and the first reason kept."""

    def __init__(self, target: Target, replies: Sequence[Reply]) -> None:
        self._target = target
        self._replies = replies
        self._error: str | None = None

    def facts(self) -> dict[str, Any]:
        """What Facts wants to know."""
        summary, rows, consumers, circuit, lease, runs, dead, lost, latest = self._replies
        group_missing = isinstance(summary, ResponseError) and error_code(summary) == "NOGROUP"
        pending = Pending(0) if group_missing else self._read(lambda: _pending(summary, rows, consumers))
        return {
            "group_missing": group_missing,
            "pending": pending,
            "circuit": self._read(lambda: circuit_now(self._target, Circuit.seen(circuit))),
            "lease": self._read(lambda: readable(checked(lease)) or None),
            "runs": self._read(lambda: [{"id": readable(one)} | report for one, report in History.read(checked(runs))])
            or [],
            "dead_letters": self._read(lambda: int(checked(dead))),
            "lost": self._read(lambda: Lost(int(checked(lost)), list(LostEntries.read(checked(latest))))),
            "error": self._error,
        }

    def _read(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (RedisError, ValueError, TypeError, LookupError) as exc:
            self._error = self._error or str(exc)
            return None


def _pending(summary: Reply, rows: Reply, consumers: Reply) -> Pending:
    total, _, _, holders = checked(summary)
    idle_ms = {} if isinstance(consumers, Exception) else dict(_idle_ms(consumers))
    by_consumer = [Holder(readable(name), int(held), idle_ms.get(name)) for name, held in holders or ()]
    by_consumer.sort(key=lambda holder: (-holder.pending, holder.consumer))
    oldest = max(checked(rows), key=lambda row: row[2], default=None)
    shown = by_consumer[:MAX_CONSUMERS]
    return Pending(
        total, len(by_consumer), shown, oldest and Oldest(readable(oldest[0]), readable(oldest[1]), *oldest[2:])
    )


def _idle_ms(consumers: Iterable[Sequence[Any]]) -> Iterable[tuple[bytes, int]]:
    for flat in consumers:
        facts = by_name(flat)
        yield facts[b"name"], facts[b"idle"]


def circuit_now(target: Target, seen: CircuitStatus) -> CircuitNow:
    """The circuit as the status tells it."""
    return CircuitNow(
        state=seen.state.value,
        since=None if seen.since_ms is None else moment(seen.since_ms),
        seconds_left=seen.seconds_left,
        by=seen.by,
        who=seen.who,
        reason=seen.reason,
        failures=seen.failures,
        failed_probes=seen.failed_probes,
        probe=seen.probe,
        limit=target.circuit_failures,
        window_sec=target.circuit_window_sec,
    )
