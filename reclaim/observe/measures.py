"""Owns what telemetry says of a run, and nothing of how it is sent: spans and metrics, and their names.

docs/operate.md lists every metric with its unit; a test compares that list with what is sent.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from reclaim import __version__
from reclaim.bounded import Most, cut, fitting, largest
from reclaim.observe.snapshot import Snapshot
from reclaim.reasons import OTHER_REASONS
from reclaim.run.report import MAIN_COUNTS, PageReport, RunReport
from reclaim.trace import Operation, span_id

if TYPE_CHECKING:
    from reclaim.run.discovery import Looked

MAX_TEXT_BYTES = (
    2_500  # of a dimension, of which Application Insights keeps 8,192 characters; JSON may take six times it
)

_CIRCUIT = {"closed": 0, "half_open": 1, "open": 2}


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """A run as telemetry sees it.

    Attributes:
        report: of the run.
        consumer: our name in the group.
        after: how the target stood afterwards; None: nobody asked, so the run is told without metrics.
        runs: how many runs it stands for (`quiet`).
    """

    report: RunReport
    consumer: str
    after: Snapshot | None
    runs: int = 1


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time: a run, or (with `is_page`) one page of it."""

    trace_id: str
    parent_id: str | None
    id: str
    is_page: bool
    name: str
    began: datetime
    seconds: float
    result: str
    ok: bool
    dimensions: Mapping[str, str]
    counts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A value of one run."""

    trace_id: str
    parent_id: str | None
    name: str
    at: datetime
    value: float
    dimensions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log; `level` as `logging` counts."""

    trace_id: str
    parent_id: str | None
    at: datetime
    level: int
    text: str
    dimensions: Mapping[str, str]


Item = Span | Metric | Line


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of sending: how many items did not arrive, and why."""

    dropped: int = 0
    why: str = ""


def dimensions(target: str = "", consumer: str = "") -> dict[str, str]:
    """The dimensions that every item has."""
    names = {"target": cut(target, MAX_TEXT_BYTES), "consumer": cut(consumer, MAX_TEXT_BYTES)}
    return names | {"app_version": __version__}


def spans(run: ObservedRun, operation: Operation) -> list[Span]:
    """The run's span, and those of its pages (the last 200) as its children."""
    report = run.report
    common = dimensions(report.target, run.consumer) | {"run_id": report.run_id}
    began = datetime.fromisoformat(report.started_at)
    whole = Span(
        trace_id=operation.trace_id,
        parent_id=operation.parent_id,
        id=span_id(report.run_id),
        is_page=False,
        name="reclaim run",
        began=began,
        seconds=report.seconds,
        result=report.outcome.value,
        ok=not report.outcome.went_wrong,
        dimensions=common | {"reason": cut(report.reason, MAX_TEXT_BYTES), "reasons": _reasons(report.reasons)},
        counts={"runs": run.runs, "pages": report.pages} | report.numbers(),
    )
    pages = enumerate(report.page_reports, start=1)
    return [whole, *(_page_span(page, whole, span_id(report.run_id, number), common) for number, page in pages)]


def _reasons(counts: Mapping[str, int]) -> str:
    """The reasons and how many for each, as JSON that is whole however many there are."""

    def say(most: Most) -> str:
        told = largest(counts, most.items, most.chars, OTHER_REASONS)
        return json.dumps(told, ensure_ascii=False).encode(errors="backslashreplace").decode()

    return fitting(say, MAX_TEXT_BYTES)


def _page_span(page: PageReport, run: Span, page_id: str, common: Mapping[str, str]) -> Span:
    not_stored = page.counts.retried + page.counts.failed
    return Span(
        trace_id=run.trace_id,
        parent_id=run.id,
        id=page_id,
        is_page=True,
        name="reclaim page",
        began=run.began + timedelta(seconds=page.began_sec),
        seconds=page.seconds,
        result=page.error or ("entries_not_stored" if not_stored else "done"),
        ok=page.error is None and not not_stored,
        dimensions=common,
        counts={name: getattr(page.counts, name) for name in MAIN_COUNTS},
    )


def metrics(run: ObservedRun, operation: Operation, last_success_age_sec: float) -> list[Metric]:
    """The run's values, all of the moment when it was over.

    A value that is not known is left out, and so is a count of 0: each would be half a kilobyte. The span has them.
    """
    report, after = run.report, run.after
    if after is None:
        return []
    settled = report.acknowledged + report.parked
    counted = {name: count for name, count in report.numbers().items() if count}
    values: dict[str, float | None] = counted | {
        "pending_before": _total(report.pending_before),
        "pending_after": _total(report.pending_after),
        "oldest_idle_before_ms": _oldest_before(report),
        "oldest_idle_after_ms": after.oldest_idle_ms,
        "dead_letters": after.dead_letters,
        "circuit": None if after.circuit is None else _CIRCUIT.get(after.circuit),
        "run_seconds": report.seconds,
        "entries_per_second": round(settled / report.seconds, 3) if report.seconds else 0,
        "last_success_age_seconds": round(last_success_age_sec, 3),
    }
    common = dimensions(report.target, run.consumer)
    return [
        Metric(operation.trace_id, span_id(report.run_id), f"reclaim.{name}", report.ended_at, value, common)
        for name, value in values.items()
        if value is not None
    ]


def found_metrics(looked: "Looked", operation: Operation, at: datetime) -> list[Metric]:
    """One set for all the targets that patterns have found, so that ten thousand idle ones cost no more than one."""
    values = {
        "found_idle": looked.idle,
        "found_with_work": looked.with_work,
        "found_run": looked.run_now,
        "found_oldest_idle_ms": looked.oldest_idle_ms,
    }
    return [
        Metric(operation.trace_id, operation.parent_id, f"reclaim.{name}", at, value, dimensions())
        for name, value in values.items()
    ]


def dropped_metric(count: int, operation: Operation, at: datetime) -> Metric:
    """How many items have not arrived. It is the process's own, so its target is empty."""
    return Metric(operation.trace_id, operation.parent_id, "reclaim.telemetry_dropped", at, count, dimensions())


def _oldest_before(report: RunReport) -> int | None:
    """Known where the run claimed entries or none were pending. With ALERT_BACKLOG_SEC the run asks for it."""
    return report.longest_idle_ms or (0 if _total(report.pending_before) == 0 else None)


def _total(by_consumer: Mapping[str, int] | None) -> int | None:
    return None if by_consumer is None else sum(by_consumer.values())
