"""Owns the alerts: decides what is worth telling, and tells it once, as a CloudEvent to a webhook.

The webhook may be an Event Grid topic with the CloudEvents schema, a Logic App, or anything that takes a POST of JSON
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md, structured mode).
Without one, alerts go to the log.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reclaim.retry import Retries
from reclaim.run.report import Outcome, RunReport
from reclaim.settings import Settings, Target
from reclaim.state.ask import Reply
from reclaim.state.circuit import Change, Effect
from reclaim.state.connection import Server
from reclaim.times import Deadline

if TYPE_CHECKING:
    from httpx2 import AsyncClient

logger = logging.getLogger("reclaim")

SEND_BUDGET_SEC = 10.0  # what telling one run's alerts may take in all
ATTEMPT_SEC = 4.0  # what one POST may take
ATTEMPTS, MAX_DELAY_SEC = 4, 2.0
ASK_SEC = 2.0  # what asking Redis whether something was told may take
TELLING_MS = 30_000  # how long an alert is one teller's; if that one dies, it can be told again afterwards
CHANGE_MS = 30 * 24 * 3_600_000  # how long it is remembered that a change was told
RECHECK_SEC = 60.0  # how often a run that did well asks whether an earlier one, elsewhere, is said to have failed
MAX_REASONS, MAX_REASON_CHARS = 5, 200

_TELLING, _TOLD = b"telling", b"told"


class Kind(StrEnum):
    """The types of events."""

    CIRCUIT_OPENED = "reclaim.circuit.opened"
    CIRCUIT_CLOSED = "reclaim.circuit.closed"
    DEAD_LETTERED = "reclaim.entries.dead_lettered"
    DEAD_LETTERS_DROPPED = "reclaim.dead_letters.dropped"
    LOST = "reclaim.entries.lost"
    BACKLOG_STALE = "reclaim.backlog.stale"
    RUN_FAILED = "reclaim.run.failed"
    RUN_RECOVERED = "reclaim.run.recovered"


_CIRCUIT = {Effect.OPENED: Kind.CIRCUIT_OPENED, Effect.CLOSED: Kind.CIRCUIT_CLOSED}
_REPEATING = frozenset({Kind.DEAD_LETTERED, Kind.DEAD_LETTERS_DROPPED, Kind.LOST, Kind.BACKLOG_STALE})


@dataclass(frozen=True, slots=True)
class Alert:
    """Something worth telling.

    Attributes:
        kind: the event's type.
        target: what it is about.
        id: the event's ID; the same for the same thing, however often it is told.
        at: when it was so.
        why: in words.
        facts: the numbers, and what else is known, for the event's data.
    """

    kind: Kind
    target: Target
    id: str
    at: datetime
    why: str
    facts: Mapping[str, Any]

    @property
    def marker(self) -> bytes:
        """The Redis key that says that it was told: one for each circuit change, else one for each target and kind."""
        return _marker(self.target, self.kind, self.id if self.kind in _CIRCUIT.values() else "")


def _marker(target: Target, kind: Kind, suffix: str = "") -> bytes:
    return b":".join([target.keys.alerts, kind.encode(), *([suffix.encode()] if suffix else [])])


def alerts_of(report: RunReport, target: Target) -> list[Alert]:
    """What of a run is worth telling; the Alerter leaves out what was told already.

    A run that did well is a RUN_RECOVERED: it is told only if an earlier one was told to have failed.

    Args:
        report: the run's.
        target: the run's.
    """
    ended_at = datetime.fromisoformat(report.started_at) + timedelta(seconds=report.seconds)
    alerts = [alert for change in report.circuit_changes if (alert := alert_of(change, target)) is not None]
    for kind, why, facts in _conditions(report, target):
        alert_id = f"{report.run_id}-{kind.removeprefix('reclaim.')}"
        alerts.append(Alert(kind, target, alert_id, ended_at, why, {"run": report.run_id, **facts}))
    return alerts


def alert_of(change: Change, target: Target) -> Alert | None:
    """The alert for what was done to a circuit; None for what is not worth telling: a failed probe, or no change."""
    kind = _CIRCUIT.get(change.effect)
    if kind is None:
        return None
    facts: dict[str, Any] = {"by": change.by, "who": change.who}
    if kind is Kind.CIRCUIT_OPENED:
        facts |= {"failures": change.failures, "window_sec": target.circuit_window_sec}
        facts["cooldown_ends_at"] = None if change.until_ms is None else _moment(change.until_ms).isoformat()
    return Alert(kind, target, f"circuit-{change.id}", _moment(change.since_ms), change.reason, facts)


def _conditions(report: RunReport, target: Target) -> list[tuple[Kind, str, dict[str, Any]]]:
    """What a run has found, each with its reason and numbers."""
    found: list[tuple[Kind, str, dict[str, Any]]] = []
    if report.parked:
        facts = {"dead_lettered": report.parked, "reasons": _top(report.reasons)}
        found.append((Kind.DEAD_LETTERED, f"{report.parked} entries became dead letters", facts))
    if report.dead_letters_dropped:
        why = f"DEAD_LETTER_MAXLEN is reached: {report.dead_letters_dropped} older dead letters are gone"
        facts = {"dropped": report.dead_letters_dropped, "cap": target.dead_letter_maxlen}
        found.append((Kind.DEAD_LETTERS_DROPPED, why, facts))
    if report.lost:
        why = f"{report.lost} entries were trimmed or deleted from the stream while they were pending"
        found.append((Kind.LOST, why, {"lost": report.lost}))
    idle_ms = report.longest_idle_ms
    if 0 < target.alert_backlog_sec * 1000 <= idle_ms:
        why = f"an entry has been idle for {idle_ms / 1000:.0f} s; ALERT_BACKLOG_SEC is {target.alert_backlog_sec:g}"
        pending = None if report.pending_before is None else sum(report.pending_before.values())
        facts = {"idle_sec": idle_ms / 1000, "limit_sec": target.alert_backlog_sec, "pending": pending}
        found.append((Kind.BACKLOG_STALE, why, facts))
    if report.outcome is Outcome.FAILED:
        found.append((Kind.RUN_FAILED, report.reason, {"acknowledged": report.acknowledged}))
    elif report.outcome.went_well:
        found.append((Kind.RUN_RECOVERED, "runs do well again", {"acknowledged": report.acknowledged}))
    return found


def _top(reasons: Mapping[str, int]) -> dict[str, int]:
    """The most frequent reasons, shortened."""
    ranked = sorted(reasons.items(), key=lambda item: -item[1])[:MAX_REASONS]
    return {reason[:MAX_REASON_CHARS]: count for reason, count in ranked}


def _moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


class Alerter:
    """Tells alerts, each change once and each condition once per ALERT_REPEAT_SEC, over all instances.

    It fails nobody: what cannot be told is logged, and the next run that finds the same may tell it.
    """

    def __init__(
        self,
        settings: Settings,
        server: Server,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = settings.alert_webhook_url
        self._key = settings.alert_webhook_key
        self._repeat_ms = round(1000 * settings.alert_repeat_sec)
        self._dashboard_url = settings.dashboard_url
        self._clock = clock
        self._sleep = sleep
        self._markers = _Markers(server if self._url else None, clock)
        self._recheck_at: dict[str, float] = {}

    async def send(self, alerts: Sequence[Alert], deadline: Deadline) -> None:
        """Tell what was not told yet, until the deadline or for SEND_BUDGET_SEC at most."""
        until = Deadline(min(SEND_BUDGET_SEC, deadline.remaining_sec()), self._clock)
        try:
            are_due = await asyncio.gather(*map(self._is_due, alerts))
            due = [alert for alert, is_due in zip(alerts, are_due, strict=True) if is_due]
            if due:
                await (self._post_all(due, until) if self._url else self._log_all(due))
        except Exception:
            logger.exception("reclaim alerts not sent: %s", alerts)

    async def _is_due(self, alert: Alert) -> bool:
        """Whether it is for us to tell, and now."""
        if alert.kind is Kind.RUN_RECOVERED and not await self._had_failed(alert.target):
            return False
        if alert.kind is Kind.RUN_FAILED:
            self._recheck_at.pop(alert.target.name, None)
        return await self._markers.take(alert.marker)

    async def _had_failed(self, target: Target) -> bool:
        """Whether earlier runs are said to have failed; asked now and then, as one elsewhere may have said so."""
        if self._clock() < self._recheck_at.get(target.name, 0.0):
            return False
        had_failed = await self._markers.is_told(_marker(target, Kind.RUN_FAILED))
        if not had_failed:
            self._recheck_at[target.name] = self._clock() + RECHECK_SEC
        return had_failed

    async def _told(self, alert: Alert) -> None:
        if alert.kind is Kind.RUN_RECOVERED:
            await self._markers.drop(_marker(alert.target, Kind.RUN_FAILED), alert.marker)
        else:
            await self._markers.keep(alert.marker, self._repeat_ms if alert.kind in _REPEATING else CHANGE_MS)

    async def _log_all(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            logger.warning("reclaim alert, ALERT_WEBHOOK_URL is not set: %s", self._event(alert).decode())
            await self._told(alert)

    async def _post_all(self, alerts: Sequence[Alert], until: Deadline) -> None:
        import httpx2  # noqa: PLC0415  # 0.1 s that only an alert is worth

        logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs addresses, and a Logic App's holds its key
        async with httpx2.AsyncClient(timeout=ATTEMPT_SEC) as client:
            await asyncio.gather(*(self._post(client, alert, until) for alert in alerts))

    async def _post(self, client: "AsyncClient", alert: Alert, until: Deadline) -> None:
        """Tell one alert, in several attempts; log it if none works."""
        event = self._event(alert)
        try:
            retries = Retries(ATTEMPTS, MAX_DELAY_SEC, self._sleep)
            await retries.call(until, partial(self._attempt, client, event))
        except Exception as exc:  # its words, or its traceback's, may hold the key, unless they are ours
            words = str(exc) if isinstance(exc, _NotTaken) else type(exc).__name__
            logger.error("reclaim alert not sent, %s: %s", words, event.decode())  # noqa: TRY400  # see above
            await self._markers.drop(alert.marker)
        else:
            await self._told(alert)

    async def _attempt(self, client: "AsyncClient", event: bytes) -> None:
        """One POST; the answer's body is not read, and a redirection not followed: it would take the key elsewhere.

        Raises:
            _TryAgain: it may work the next time.
            _NotTaken: it will not.
        """
        import httpx2  # noqa: PLC0415  # as above

        headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
        if self._key:
            headers["aeg-sas-key"] = self._key
        try:
            async with (
                asyncio.timeout(ATTEMPT_SEC),
                client.stream("POST", str(self._url), content=event, headers=headers) as response,
            ):
                status = response.status_code
        except (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError, TimeoutError) as exc:
            raise _TryAgain(f"{type(exc).__name__} {exc}".strip()) from exc
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN:
            raise _TryAgain(f"the webhook answered {status}")
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise _NotTaken(f"the webhook answered {status}")

    def _event(self, alert: Alert) -> bytes:
        """The event in JSON (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md)."""
        from cloudevents.core.formats.json import JSONFormat  # noqa: PLC0415  # only an alert is worth the import
        from cloudevents.core.v1.event import CloudEvent  # noqa: PLC0415  # as above

        attributes = {
            "id": alert.id,
            "source": f"/reclaim/{quote(alert.target.name)}",
            "type": str(alert.kind),
            "subject": alert.target.name,
            "time": alert.at,
            "datacontenttype": "application/json",
        }
        data = {"target": alert.target.name, "why": alert.why, **alert.facts}
        if self._dashboard_url:
            data["dashboard"] = self._dashboard_url
        return JSONFormat().write(CloudEvent(attributes, data))


_TRY_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class _NotTaken(Exception):
    """The webhook did not take the event."""


class _TryAgain(_NotTaken, ConnectionError):
    """It may take it the next time; ConnectionError is what the policy tries again after."""


class _Markers:
    """What was told: keys in Redis for all instances, and in memory what could not be written there."""

    def __init__(self, server: Server | None, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self._unwritten: dict[bytes, float] = {}  # what was told, and until when that counts

    async def take(self, key: bytes) -> bool:
        """Whether it was not told, and nobody else is telling it; it is ours for TELLING_MS then."""
        told_until = self._unwritten.get(key, 0.0)
        was_told = told_until > self._clock()
        try:
            taken = await self._call("SET", key, _TELLING, "NX", "PX", TELLING_MS) is not None
        except Exception:
            return not was_told
        if taken and was_told:
            await self.keep(key, round(1000 * (told_until - self._clock())))
        return taken and not was_told

    async def keep(self, key: bytes, told_ms: int) -> None:
        """It was told, and for so long is not to be told again."""
        self._unwritten.pop(key, None)
        try:
            await self._call("SET", key, _TOLD, "PX", told_ms)
        except Exception:
            self._unwritten[key] = self._clock() + told_ms / 1000

    async def drop(self, *keys: bytes) -> None:
        """It is to be told again."""
        for key in keys:
            self._unwritten.pop(key, None)
        with suppress(Exception):
            await self._call("DEL", *keys)

    async def is_told(self, key: bytes) -> bool:
        """Whether it was told; no, where nobody can say."""
        if key in self._unwritten:
            return True
        with suppress(Exception):
            return bool(await self._call("GET", key) == _TOLD)
        return False

    async def _call(self, *command: bytes | str | int) -> Reply:
        if self._server is None:
            raise ConnectionError("no server")
        async with asyncio.timeout(ASK_SEC):
            return await self._server.call(*command)
