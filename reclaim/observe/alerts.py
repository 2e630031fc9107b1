"""Owns the alerts: makes them from a run's report, or from a change of a circuit. It sends nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from reclaim.bounded import ERROR_CHARS, largest, shortened
from reclaim.counted import many
from reclaim.reasons import OTHER_REASONS, top_reasons
from reclaim.run.report import Outcome, RunReport
from reclaim.settings import Target
from reclaim.state.circuit import Change, Effect

MAX_REASONS, MAX_REASON_CHARS = 5, 200


class Kind(StrEnum):
    """The types of events."""

    CIRCUIT_OPENED = "reclaim.circuit.opened"
    CIRCUIT_CLOSED = "reclaim.circuit.closed"
    DEAD_LETTERED = "reclaim.entries.dead_lettered"
    DEAD_LETTERS_FULL = "reclaim.dead_letters.full"
    LOST = "reclaim.entries.lost"
    BACKLOG_STALE = "reclaim.backlog.stale"
    RUN_FAILED = "reclaim.run.failed"
    RUN_RECOVERED = "reclaim.run.recovered"
    GROUP_MISSING = "reclaim.group.missing"
    GROUP_FOUND = "reclaim.group.found"
    CLOCK_WENT_BACK = "reclaim.clock.went_back"

    @property
    def repeats(self) -> bool:
        """Whether it is told again after ALERT_REPEAT_SEC if it is still so; else it is told once for a change."""
        return self in _REPEATING

    @property
    def ends(self) -> "Kind | None":
        """The kind whose streak this one ends: it is told only where that one was."""
        return _ENDS.get(self)

    @property
    def is_of_one_change(self) -> bool:
        """Whether each change is told for itself, however soon after another."""
        return self in _OF_ONE_CHANGE


_REPEATING = frozenset({Kind.DEAD_LETTERED, Kind.LOST, Kind.BACKLOG_STALE})
_ENDS = {Kind.RUN_RECOVERED: Kind.RUN_FAILED, Kind.GROUP_FOUND: Kind.GROUP_MISSING}
_OF_ONE_CHANGE = frozenset({Kind.CIRCUIT_OPENED, Kind.CIRCUIT_CLOSED, Kind.CLOCK_WENT_BACK})
_CIRCUIT = {Effect.OPENED: Kind.CIRCUIT_OPENED, Effect.CLOSED: Kind.CIRCUIT_CLOSED}


@dataclass(frozen=True, slots=True)
class Alert:
    """Something worth telling.

    Attributes:
        kind: the event's type.
        target: the target that it is about.
        id: the event's ID; an alert that is sent again has the same ID.
        at: when it happened.
        why: the reason, in words.
        facts: numbers and names for the event's data.
    """

    kind: Kind
    target: Target
    id: str
    at: datetime
    why: str
    facts: Mapping[str, Any]

    @property
    def marker(self) -> bytes:
        """The Redis key that says that it was told: one for each change of a kind that tells each, else one for all."""
        key = marker_of(self.kind, self.target)
        return b":".join([key, self.id.encode()]) if self.kind.is_of_one_change else key


def marker_of(kind: Kind, target: Target) -> bytes:
    """The Redis key that says that this kind of alert was told of a target."""
    return b":".join([target.keys.alerts, kind.encode()])


def alerts_of(report: RunReport, target: Target) -> list[Alert]:
    """All alerts that a run's report gives cause for, whether or not they were told before.

    Every run that went well makes a RUN_RECOVERED and a GROUP_FOUND: only the Alerter knows whether an earlier failure
    was told.
    """
    changes = [alert_of(change, target) for change in report.circuit_changes]
    conditions = [condition(report, target) for condition in _CONDITIONS]
    return [alert for alert in (*changes, *conditions) if alert is not None]


def ended_by(report: RunReport) -> list[Kind]:
    """The kinds whose streak this run has ended without a word: there is room for dead letters again."""
    has_room = report.parked > 0 and report.outcome is not Outcome.DEAD_LETTERS_FULL
    return [Kind.DEAD_LETTERS_FULL] if has_room else []


def alert_of(change: Change, target: Target) -> Alert | None:
    """The alert for a change of a circuit; None where nothing changed, and where a probe failed."""
    kind = _CIRCUIT.get(change.effect)
    if kind is None:
        return None
    facts: dict[str, Any] = {"by": change.by, "who": change.who}
    if kind is Kind.CIRCUIT_OPENED:
        facts |= {"failures": change.failures, "window_sec": target.circuit_window_sec}
        facts["cooldown_ends_at"] = None if change.until_ms is None else _moment(change.until_ms).isoformat()
    return Alert(kind, target, f"circuit-{change.id}", _moment(change.since_ms), change.reason, facts)


def _moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def _dead_lettered(report: RunReport, target: Target) -> Alert | None:
    if not report.parked:
        return None
    reasons = top_reasons(report.parked_reasons)
    why = many(report.parked, "entry became a dead letter", "entries became dead letters")
    why += f": {reasons}" if reasons else ""
    return _of_run(Kind.DEAD_LETTERED, report, target, why, dead_lettered=report.parked, reasons=_top(report))


def _dead_letters_full(report: RunReport, target: Target) -> Alert | None:
    if report.outcome is not Outcome.DEAD_LETTERS_FULL:
        return None
    return _of_run(Kind.DEAD_LETTERS_FULL, report, target, report.reason, cap=target.dead_letter_maxlen)


def _lost(report: RunReport, target: Target) -> Alert | None:
    if not (report.lost or report.lost_at_most):
        return None
    why = many(report.lost, "entry was", "entries were") + " trimmed or deleted from the stream while pending"
    if report.lost_at_most:
        why = "the stream or its group is gone, or was made anew, and with it entries that were pending"
        why += f": {report.lost:,} known by ID, and at most {report.lost_at_most:,} more"
    return _of_run(Kind.LOST, report, target, why, lost=report.lost, lost_at_most=report.lost_at_most)


def _clock_went_back(report: RunReport, target: Target) -> Alert | None:
    if not report.clock_went_back_ms:
        return None
    seconds = report.clock_went_back_ms / 1000
    why = f"the server's clock went back by {seconds:g} s: entries delivered before seem fresh for so much longer"
    return _of_run(Kind.CLOCK_WENT_BACK, report, target, why, seconds=seconds)


def _group_missing_or_found(report: RunReport, target: Target) -> Alert | None:
    if report.outcome in {Outcome.GROUP_MISSING, Outcome.GROUP_GONE}:
        return _of_run(Kind.GROUP_MISSING, report, target, report.reason)
    if report.outcome.went_well:
        return _of_run(Kind.GROUP_FOUND, report, target, "the stream and its group are there again")
    return None


def _backlog_stale(report: RunReport, target: Target) -> Alert | None:
    idle_sec, limit_sec = report.longest_idle_ms / 1000, target.alert_backlog_sec
    if limit_sec <= 0 or idle_sec < limit_sec:
        return None
    why = f"an entry has been idle for {idle_sec:.0f} s; ALERT_BACKLOG_SEC is {limit_sec:g}"
    pending = None if report.pending_before is None else sum(report.pending_before.values())
    return _of_run(Kind.BACKLOG_STALE, report, target, why, idle_sec=idle_sec, limit_sec=limit_sec, pending=pending)


def _failed_or_recovered(report: RunReport, target: Target) -> Alert | None:
    if report.outcome is Outcome.FAILED:
        return _of_run(Kind.RUN_FAILED, report, target, report.reason, acknowledged=report.acknowledged)
    if report.outcome.went_well:
        return _of_run(Kind.RUN_RECOVERED, report, target, "runs do well again", acknowledged=report.acknowledged)
    return None


_CONDITIONS = (
    *(_dead_lettered, _dead_letters_full, _lost, _backlog_stale, _clock_went_back),
    *(_failed_or_recovered, _group_missing_or_found),
)


def _of_run(kind: Kind, report: RunReport, target: Target, why: str, **facts: Any) -> Alert:
    alert_id = f"{report.run_id}-{kind.removeprefix('reclaim.')}"
    return Alert(kind, target, alert_id, report.ended_at, shortened(why, ERROR_CHARS), {"run": report.run_id, **facts})


def _top(report: RunReport) -> dict[str, int]:
    """The most frequent reasons of the entries that became dead letters, shortened."""
    told = largest(report.parked_reasons, MAX_REASONS, MAX_REASON_CHARS, OTHER_REASONS)
    return dict(sorted(told.items(), key=lambda one: -one[1]))
