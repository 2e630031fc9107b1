"""Owns the plain program: a run now, or again and again by the schedule, until a signal asks it to end."""

import asyncio
import logging
import signal
from collections.abc import Callable
from datetime import UTC, datetime

from croniter import croniter

from reclaim.app import App
from reclaim.errors import RunFailed, SettingsError
from reclaim.report import Outcome, RunReport
from reclaim.schedule import FORM, in_numbers
from reclaim.settings import Settings

logger = logging.getLogger("reclaim")

_UNEVENTFUL = frozenset({Outcome.NOTHING_PENDING, Outcome.LEASE_HELD, Outcome.GROUP_MISSING})


async def once(settings: Settings) -> list[RunReport]:
    """One run of every target; SIGINT and SIGTERM end it after what is in work.

    Raises:
        SettingsError: a handler cannot be loaded.
        RunFailed: a target's run failed.
    """
    app, stop = _app(settings), _stop_on_signals()
    try:
        return await app.run(stop)
    finally:
        await app.aclose()


async def watch(settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
    """A run at every tick of the schedule; one that fails is logged, and the next tick tries again.

    Raises:
        SettingsError: a handler cannot be loaded, or the schedule means nothing.
    """
    ticks = _ticks(settings.schedule, now())
    app, stop = _app(settings), _stop_on_signals()
    try:
        while not stop.is_set():
            wait_sec = (ticks.get_next(datetime, start_time=now()) - now()).total_seconds()
            try:
                await asyncio.wait_for(stop.wait(), max(wait_sec, 0))
            except TimeoutError:
                await _tick(app, stop)
    finally:
        await app.aclose()


def sentence(report: RunReport) -> str:
    """What a run did, in one line."""
    outcome = report.outcome.value.replace("_", " ")
    if report.outcome in _UNEVENTFUL:
        return f"{report.target}: {outcome} {report.reason}".rstrip()
    counts = ("claimed", "acknowledged", "parked", "retried", "failed", "held", "given_back", "lost")
    told = ", ".join(f"{getattr(report, name)} {name.replace('_', ' ')}" for name in counts if getattr(report, name))
    return f"{report.target}: {outcome}, {told or 'nothing idle'}, {report.seconds:.2f} s"


def _app(settings: Settings) -> App:
    app = App(settings)
    if app.exports is not None:
        app.exports.lines_if_asked()
    return app


def _ticks(schedule: str, start: datetime) -> croniter:
    """NCRONTAB puts seconds first, and wants both the day of the month and the weekday to match."""
    try:
        return croniter(in_numbers(schedule), start, second_at_beginning=True, day_or=False)
    except ValueError as exc:
        raise SettingsError([f"RECLAIM_SCHEDULE is {schedule!r}; allowed: {FORM} ({exc})"]) from exc


async def _tick(app: App, stop: asyncio.Event) -> None:
    try:
        await app.run(stop)
    except RunFailed as exc:
        logger.warning("the next tick tries again: %s", exc)


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set; a second one of them kills, as without us."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def ask() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    return stop
