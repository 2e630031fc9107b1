"""Owns the export of telemetry: when it is sent, how long a run waits for it, and what becomes of what does not arrive.

Of which runs it is told is `quiet`'s business, what is sent `measures`'; how it is sent `poster`'s and `app_insights`'.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from reclaim.errors import SettingsError
from reclaim.observe.dropped import Dropped
from reclaim.observe.log_buffer import LogBuffer
from reclaim.observe.measures import Item, ObservedRun, Sent, dropped_metric, found_metrics, metrics, spans
from reclaim.observe.poster import Poster
from reclaim.observe.quiet import TELL_EVERY_SEC, QuietRuns, Told
from reclaim.observe.snapshot import take_snapshot
from reclaim.run.report import RunReport
from reclaim.settings import Insights, Settings, Target
from reclaim.state.connection import Server
from reclaim.trace import Operation

if TYPE_CHECKING:
    from reclaim.run.discovery import Looked

EXPORT_SEC = 2.0  # the longest that an invocation waits for its telemetry

logger = logging.getLogger("reclaim")


def make(settings: Settings, insights: Insights) -> "Exporter":
    """The exporter that the settings ask for. Nothing is imported or sent before the first export.

    Raises:
        SettingsError: a package that it needs is not installed.
    """
    if find_spec("opencensus") is None:
        raise SettingsError(["APPLICATIONINSIGHTS_CONNECTION_STRING needs the package opencensus-ext-azure"])
    if insights.entra and find_spec("azure.identity") is None:
        raise SettingsError(["APPLICATIONINSIGHTS_AUTHENTICATION_STRING needs the package azure-identity"])
    return Exporter(insights, settings.address)


@dataclass(frozen=True, slots=True)
class Share:
    """The part of an invocation's budget that telemetry may take.

    Attributes:
        snapshot_sec: for asking Redis how the targets stand after their runs.
        export_sec: for the export.
    """

    snapshot_sec: float
    export_sec: float

    @classmethod
    def of(cls, budget_sec: float) -> "Share":
        """Three seconds of a budget, or less of a small one."""
        export_sec = min(EXPORT_SEC, budget_sec / 10)
        return cls(export_sec / 2, export_sec)

    @property
    def total_sec(self) -> float:
        """All of it."""
        return self.snapshot_sec + self.export_sec


@dataclass(frozen=True, slots=True)
class _Post:
    """An export under way.

    Attributes:
        outcome: what comes of it.
        reports_dropped: how many dropped items it tells Application Insights of.
    """

    outcome: Future[Sent]
    reports_dropped: int


class Exporter:
    """Exports what runs did. Nothing here raises, and at most one export is under way.

    Attributes:
        dropped: the items that did not arrive.
    """

    def __init__(self, insights: Insights, redis: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Make it; `redis` is ``host:port``, and is named as what the runs' pages depend on."""
        self.dropped = Dropped()
        self._insights = insights
        self._poster = Poster(insights, redis, EXPORT_SEC)
        self._post: _Post | None = None
        self._log: LogBuffer | None = None
        self._clock = clock
        self._began_at = clock()
        self._went_well_at: dict[str, float] = {}
        self._quiet = QuietRuns(clock)
        self._looked: Looked | None = None
        self._looked_told_at = -math.inf

    def share_of(self, budget_sec: float) -> Share:
        """What to keep free of an invocation's budget for `export`."""
        return Share.of(budget_sec)

    def told_of(self, report: RunReport) -> tuple[Told, ...]:
        """What to export now that a run has ended: nothing, if the run is one of many quiet ones."""
        if report.outcome.went_well:
            self._went_well_at[report.target] = self._clock()
        return self._quiet.told_of(report)

    def looked(self, looked: "Looked | None") -> None:
        """Note what a tick saw of the targets that patterns have found; it is told in ten minutes at the latest."""
        self._looked = looked or self._looked

    async def export(
        self, server: Server, told: Sequence[tuple[Target, Told]], operation: Operation, share: Share
    ) -> None:
        """Export runs, and how their targets stand now, within the share kept free for it.

        Args:
            server: where the targets are.
            told: what `told_of` gave, each with its target. Without any, nothing is asked, and nothing is sent but what
                a tick saw (`looked`), once in ten minutes.
            operation: what the runs are part of.
            share: of the invocation's budget.
        """
        if told or (self._looked is not None and self._clock() - self._looked_told_at >= TELL_EVERY_SEC):
            observed = [_observed(server, target, one, share.snapshot_sec) for target, one in told]
            await self.send(await asyncio.gather(*observed), operation, share.export_sec)

    async def send(self, runs: Sequence[ObservedRun], operation: Operation, within_sec: float = EXPORT_SEC) -> None:
        """Post what is said of runs, and wait for it, but no longer than `within_sec`.

        An export that takes longer goes on in its thread. If it is still under way when the next export is due, the
        next export is dropped.
        """
        try:
            self._take_note_of_outcome()
            items = self._items(runs, operation)
            if self._post is not None:
                self._drop(len(items), "the last export is still on its way")
                return
            items += self._log.drain() if self._log else []
            self._post = _Post(self._poster.start(items), self.dropped.count)
            await asyncio.wait([asyncio.wrap_future(self._post.outcome)], timeout=within_sec)
            self._take_note_of_outcome()
        except Exception:  # a fault of telemetry fails no run (G6)
            logger.exception("reclaim: telemetry failed")

    def send_log_if_asked(self) -> None:
        """Send the package's log lines with each export if APPLICATIONINSIGHTS_LOGS says so.

        For the plain program only: on Azure the host sends them, and they would be there twice.
        """
        if self._insights.logs and self._log is None:
            self._log = LogBuffer(self.dropped.add_one)
            logger.addHandler(self._log)

    def close(self) -> None:
        """Keep no more log lines. An export under way ends by itself, or with the process."""
        if self._log is not None:
            logger.removeHandler(self._log)
            self._log = None

    def _take_note_of_outcome(self) -> None:
        """If the last export is over, count what it dropped."""
        if self._post is None or not self._post.outcome.done():
            return
        post, self._post = self._post, None
        sent = post.outcome.result()
        if sent.dropped:
            self._drop(sent.dropped, sent.why)
        else:
            self.dropped.reported(post.reports_dropped)

    def _drop(self, count: int, why: str) -> None:
        """Count items that did not arrive. What they told has to be told by the next run."""
        self.dropped.add(count, why)
        self._quiet.tell_next()

    def _items(self, runs: Sequence[ObservedRun], operation: Operation) -> list[Item]:
        items: list[Item] = []
        for run in runs:
            items += spans(run, operation)
        for run in runs:
            items += metrics(run, operation, self._last_success_age_sec(run.report))
        if self._looked is not None:
            items += found_metrics(self._looked, operation, datetime.now(UTC))
            self._looked, self._looked_told_at = None, self._clock()
        if self.dropped.count:
            items.append(dropped_metric(self.dropped.count, operation, datetime.now(UTC)))
        return items

    def _last_success_age_sec(self, report: RunReport) -> float:
        """How long ago a run of the target went well; before the first one, how long this process has been waiting."""
        if report.outcome.went_well:
            return 0.0
        return self._clock() - self._went_well_at.get(report.target, self._began_at)


async def _observed(server: Server, target: Target, told: Told, within_sec: float) -> ObservedRun:
    after = None if told.is_late else await take_snapshot(server, target, within_sec)
    return ObservedRun(told.report, target.consumer, after, told.runs)
