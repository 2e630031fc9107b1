"""Owns the export of telemetry: once per run, within a bound, in a thread of its own, and never two at a time."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from reclaim.errors import SettingsError
from reclaim.observe.measures import Item, Line, Metric, Sent, Told, dimensions, metrics, spans
from reclaim.observe.snapshot import look
from reclaim.run.report import RunReport
from reclaim.settings import Insights, Settings, Target
from reclaim.state.connection import Server
from reclaim.trace import Operation

if TYPE_CHECKING:
    from reclaim.observe.app_insights import Sender

EXPORT_SEC = 2.0  # the longest that an invocation waits for its telemetry
MAX_LINES = 1_000
DROPPED = "reclaim.telemetry_dropped"

logger = logging.getLogger("reclaim")


def make(settings: Settings, insights: Insights) -> "Exports":
    """What exports runs; nothing is imported or sent before the first export.

    Raises:
        SettingsError: a package that it takes is not installed.
    """
    if find_spec("opencensus") is None:
        raise SettingsError(["APPLICATIONINSIGHTS_CONNECTION_STRING needs the package opencensus-ext-azure"])
    if insights.entra and find_spec("azure.identity") is None:
        raise SettingsError(["APPLICATIONINSIGHTS_AUTHENTICATION_STRING needs the package azure-identity"])
    return Exports(insights, f"{settings.host}:{settings.port}")


def bound_sec(budget_sec: float) -> float:
    """How long an export may take that is part of so large a budget."""
    return min(EXPORT_SEC, budget_sec / 10)


class Exports:
    """Exports what runs did. Nothing here raises; one export at most is on its way.

    Attributes:
        dropped: items that did not arrive, since an export last arrived whole; the next one says so.
    """

    def __init__(self, insights: Insights, redis: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Make it; `redis` is ``host:port``, as the runs' pages depend on it."""
        self.dropped = 0
        self._insights = insights
        self._redis = redis
        self._clock = clock
        self._made_at = clock()
        self._succeeded_at: dict[str, float] = {}
        self._sender: Sender | None = None
        self._flight: Future[Sent] | None = None
        self._told = 0  # of `dropped`, what the flight tells
        self._in_trouble = False
        self._lines: Lines | None = None

    async def around(
        self,
        server: Server,
        targets: Sequence[Target],
        operation: Operation,
        budget_sec: float,
        run: Callable[[float], Awaitable[list[RunReport]]],
    ) -> list[RunReport]:
        """Run, and export what the runs did and how the targets stand afterwards.

        Args:
            server: where the targets are.
            targets: what is run.
            operation: what the runs are part of.
            budget_sec: for all of it; three seconds of it, or less of a small one, are for telemetry.
            run: makes the runs within the seconds left for them, and returns a report for each target.
        """
        share_sec = bound_sec(budget_sec)
        reports = await run(budget_sec - 1.5 * share_sec)
        after = await asyncio.gather(*(look(server, target, share_sec / 2) for target in targets))
        runs = zip(reports, targets, after, strict=True)
        told = [Told(report, target.consumer, standing) for report, target, standing in runs]
        await self.export(told, operation, share_sec)
        return reports

    async def export(self, runs: Sequence[Told], operation: Operation, within_sec: float = EXPORT_SEC) -> None:
        """Export runs, and wait for it, but no longer than `within_sec`.

        What is not through by then goes on in its thread, and has until the next export: that one is dropped instead
        if it is not.
        """
        try:
            self._land()
            items = self._items(runs, operation)
            if self._flight is not None:
                self._drop(Sent(len(items), "the last export is still on its way"))
                return
            items += self._lines.taken() if self._lines else []
            flight = self._take_off(items)
            await asyncio.wait([asyncio.wrap_future(flight)], timeout=within_sec)
            self._land()
        except Exception:
            logger.exception("reclaim: telemetry failed")

    def lines_if_asked(self) -> None:
        """Send the package's log lines with each export if APPLICATIONINSIGHTS_LOGS says so.

        For the plain program only: on Azure the host sends them, and they would be there twice.
        """
        if self._insights.logs and self._lines is None:
            self._lines = Lines()
            logger.addHandler(self._lines)

    def close(self) -> None:
        """Take no more log lines. A post under way ends by itself, or with the process."""
        if self._lines is not None:
            logger.removeHandler(self._lines)
            self._lines = None

    def _items(self, runs: Sequence[Told], operation: Operation) -> list[Item]:
        items: list[Item] = [span for told in runs for span in spans(told, operation)]
        items += (one for told in runs for one in metrics(told, operation, self._last_success_age_sec(told.report)))
        if self._lines:
            self.dropped, self._lines.overflown = self.dropped + self._lines.overflown, 0
        if self.dropped:
            now = datetime.now(UTC)
            items.append(Metric(operation.trace_id, operation.parent_id, DROPPED, now, self.dropped, dimensions()))
        return items

    def _last_success_age_sec(self, report: RunReport) -> float:
        """How long ago a run of the target went well; before the first one, how long this process has been waiting."""
        now = self._clock()
        if report.outcome.went_well:
            self._succeeded_at[report.target] = now
        return now - self._succeeded_at.get(report.target, self._made_at)

    def _take_off(self, items: Sequence[Item]) -> "Future[Sent]":
        """Send items in a thread of their own: no pool's, which the end of the loop or the process would wait for."""
        flight: Future[Sent] = Future()
        threading.Thread(target=self._fly, args=(flight, items), name="reclaim telemetry", daemon=True).start()
        self._flight, self._told = flight, self.dropped
        return flight

    def _fly(self, flight: "Future[Sent]", items: Sequence[Item]) -> None:
        """What the thread does; the first time it imports opencensus too, while the run is over already."""
        try:
            if self._sender is None:
                from reclaim.observe.app_insights import Sender  # noqa: PLC0415  # 0.2 s that only telemetry pays

                self._sender = Sender(self._insights, self._redis, EXPORT_SEC)
            flight.set_result(self._sender.send(items, time.monotonic() + EXPORT_SEC))
        except BaseException as exc:
            flight.set_result(Sent(len(items), f"{type(exc).__name__}: {exc}"))

    def _land(self) -> None:
        """Take note of how the last flight ended, if it has."""
        if self._flight is None or not self._flight.done():
            return
        sent, self._flight = self._flight.result(), None
        if sent.dropped:
            self._drop(sent)
            return
        self.dropped -= self._told
        if self._in_trouble:
            self._in_trouble = False
            logger.info("reclaim: telemetry arrives again; %d items have been dropped", self._told)

    def _drop(self, sent: Sent) -> None:
        """Count what did not arrive; say so once, until telemetry arrives again."""
        self.dropped += sent.dropped
        if not self._in_trouble:
            self._in_trouble = True
            logger.warning("reclaim: telemetry does not arrive, %d items are dropped: %s", sent.dropped, sent.why)


class Lines(logging.Handler):
    """Keeps log lines until the next export: the last thousand; `overflown` counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self.overflown = 0
        self._kept: deque[Line] = deque(maxlen=MAX_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, with the names that `operation` has added."""
        named = {name: getattr(record, name, "") for name in ("operation_id", "parent_id", "target", "run_id")}
        common = dimensions(named["target"]) | {"run_id": named["run_id"], "logger": record.name}
        at = datetime.fromtimestamp(record.created, UTC)
        self.overflown += len(self._kept) == MAX_LINES
        self._kept.append(
            Line(named["operation_id"], named["parent_id"], at, record.levelno, self.format(record), common)
        )

    def taken(self) -> list[Line]:
        """The lines kept, which are no longer kept."""
        return [self._kept.popleft() for _ in range(len(self._kept))]
