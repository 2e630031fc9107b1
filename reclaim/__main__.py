"""Owns the command line: reclaim as a plain program, for cron, Kubernetes or a terminal."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer
from croniter import croniter

from reclaim.app import App
from reclaim.errors import RunFailed, SettingsError
from reclaim.report import Outcome, RunReport
from reclaim.settings import Settings

EXIT_FAILED, EXIT_BAD_SETTINGS = 1, 2

cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@cli.callback()
def main() -> None:
    """Take over Redis Streams entries that a consumer read and never acknowledged.

    Settings come from the environment, as on Azure: REDIS_HOST, STREAM_NAME, STREAM_CONSUMER_GROUP_NAME and more.
    """


@cli.command()
def run(
    watch: Annotated[bool, typer.Option("--watch", help="Run again and again, as RECLAIM_SCHEDULE says.")] = False,
) -> None:
    """Reclaim what is pending and idle, once or by the schedule.

    Exit codes: 0 the run went well (also if there was nothing to do), 1 it failed, 2 the settings are bad.
    With --watch a failed run is logged and tried again at the next tick; SIGINT and SIGTERM end it after what is in
    work, with 0.

    Example: REDIS_HOST=localhost REDIS_TLS=false STREAM_NAME=s STREAM_CONSUMER_GROUP_NAME=g python -m reclaim run
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = Settings.from_env(os.environ)
        asyncio.run(_watch(settings) if watch else _once(settings))
    except SettingsError as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(EXIT_BAD_SETTINGS) from exc
    except RunFailed as exc:
        typer.echo(f"the run failed: {exc}", err=True)
        raise typer.Exit(EXIT_FAILED) from exc


async def _once(settings: Settings) -> None:
    app, stop = App(settings), _stop_on_signals()
    try:
        for report in await app.run(stop):
            typer.echo(_sentence(report))
    finally:
        await app.aclose()


async def _watch(settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
    app, stop = App(settings), _stop_on_signals()
    # NCRONTAB puts seconds first, and wants both the day of the month and the weekday to match.
    ticks = croniter(settings.schedule, now(), second_at_beginning=True, day_or=False)
    try:
        while not stop.is_set():
            wait_sec = (ticks.get_next(datetime, start_time=now()) - now()).total_seconds()
            try:
                await asyncio.wait_for(stop.wait(), max(wait_sec, 0))
            except TimeoutError:
                await _tick(app, stop)
    finally:
        await app.aclose()


async def _tick(app: App, stop: asyncio.Event) -> None:
    try:
        await app.run(stop)
    except RunFailed as exc:
        logging.getLogger("reclaim").warning("the next tick tries again: %s", exc)


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


def _sentence(report: RunReport) -> str:
    if report.outcome in (Outcome.NOTHING_PENDING, Outcome.LEASE_HELD, Outcome.GROUP_MISSING):
        return f"{report.target}: {report.outcome.value.replace('_', ' ')} {report.reason}".rstrip()
    counts = ("claimed", "acknowledged", "parked", "retried", "failed", "held", "given_back", "lost")
    told = ", ".join(f"{getattr(report, name)} {name.replace('_', ' ')}" for name in counts if getattr(report, name))
    return (
        f"{report.target}: {report.outcome.value.replace('_', ' ')}, {told or 'nothing idle'}, {report.seconds:.2f} s"
    )


if __name__ == "__main__":
    cli()
