"""Owns the plain program: it runs once now, or at every tick of the schedule until a signal asks it to end."""

import asyncio
import logging
import math
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime

from reclaim.app import App
from reclaim.ops import operations, targets
from reclaim.run.report import RunReport
from reclaim.schedule import Schedule
from reclaim.settings import Settings
from reclaim.state.audit import Actor

logger = logging.getLogger("reclaim")


async def once(
    settings: Settings,
    only: str | None = None,
    budget_sec: float = math.inf,
    by: Actor | None = None,
    *,
    park_misfits: bool = False,
) -> list[RunReport]:
    """Run every target once, or the one named. SIGINT and SIGTERM end a run after the entries in work.

    A failed run raises nothing: its report says that it failed (see `failures_in`). `by` is who asks for the run.
    `park_misfits`: park entries though HASH_KEY fits none of them.

    Raises:
        SettingsError: a handler cannot be loaded.
        UnknownTarget: the target is not configured.
    """
    app, stop = _app(settings), _stop_on_signals()
    try:
        misfits = by.who if by is not None and park_misfits else None
        return await operations.run_now(app, only, budget_sec=budget_sec, stop=stop, park_misfits=misfits, by=by)
    finally:
        await app.aclose()


async def watch(
    settings: Settings,
    only: str | None = None,
    budget_sec: float = math.inf,
    show: Callable[[RunReport], None] = lambda _: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    probes: tuple[str, int | None] = ("", None),
) -> None:
    """Run at every tick of the schedule and show each report. A failed run is logged; the next tick tries again.

    `probes` is at which address and port probes and metrics are served; without a port they are not.

    Raises:
        SettingsError: a handler cannot be loaded.
        UnknownTarget: the target is not configured.
    """
    schedule = Schedule.of(settings.schedule)
    app, stop = _app(settings), _stop_on_signals()
    try:
        targets.named_units(app, only)
        async with _served(app, *probes):
            while not stop.is_set():
                wait_sec = (schedule.next_after(now()) - now()).total_seconds()
                try:
                    await asyncio.wait_for(stop.wait(), max(wait_sec, 0))
                except TimeoutError:
                    reports = await operations.run_now(app, only, budget_sec=budget_sec, stop=stop)
                    for report in reports:
                        show(report)
    finally:
        await app.aclose()


def _served(app: App, address: str, port: int | None) -> AbstractAsyncContextManager[None]:
    """What serves probes and metrics in a block; nothing is loaded for it without a port."""
    if port is None:
        return nullcontext()
    from reclaim.cli.probes import served  # noqa: PLC0415  # few watch so, and it loads a web server

    return served(app, address, port)


def _app(settings: Settings) -> App:
    app = App(settings)
    if app.exporter is not None:
        app.exporter.send_log_if_asked()
    return app


def _stop_on_signals() -> asyncio.Event:
    """An event that the first SIGINT or SIGTERM sets. A second signal kills the process as usual."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def ask() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    return stop
