"""Owns the command line: its main commands, and where the others hang."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Collection
from dataclasses import asdict, astuple
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from reclaim import __version__
from reclaim.app import App, Unit
from reclaim.cli import circuit as cli_circuit
from reclaim.cli import dead as cli_dead
from reclaim.cli import loop as watch
from reclaim.cli import views
from reclaim.cli.output import is_for_a_person, say, show, show_json, show_line, show_table, standard_streams
from reclaim.cli.session import (
    BAD_USAGE,
    JsonOption,
    TargetOption,
    check_target,
    exit_if,
    told,
    unit_of,
    units_of,
    with_app,
)
from reclaim.errors import RunFailed
from reclaim.ops import doctor as doctors
from reclaim.ops.health import Health, worst
from reclaim.ops.status import status
from reclaim.run.report import RunReport
from reclaim.settings import Settings
from reclaim.state.lost import LostEntries, LostEntry

RUNS_AT_ONCE = 100


class Commands(TyperGroup):
    """All commands; each of them, and their help, with streams that can be used."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        with standard_streams():
            return super().main(*arguments, **options)


cli = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    name="reclaim",
)
cli.add_typer(cli_dead.commands, name="dead", help="List, show, replay and discard dead letters.")
cli.add_typer(cli_circuit.commands, name="circuit", help="Show, open and close the circuit.")


def _show_version(asked: bool) -> None:  # noqa: FBT001  # as Typer calls it
    if asked:
        show_line(f"reclaim {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", help="Say which version this is.", callback=_show_version, is_eager=True)
]


@cli.callback()
def main(version: VersionOption = False) -> None:  # its callback has seen to it
    """Take over Redis Streams entries that a consumer read and never acknowledged.

    Settings come from the environment, as on Azure: REDIS_HOST, STREAM_NAME, STREAM_CONSUMER_GROUP_NAME and more.

    Exit codes: 0 all went well, 1 it failed or something is wrong, 2 the settings or the arguments are bad, 130 or 143
    Ctrl-C or SIGTERM interrupted it.

    \b
    Examples:
      export REDIS_HOST=localhost REDIS_TLS=false STREAM_NAME=s STREAM_CONSUMER_GROUP_NAME=g
      python -m reclaim doctor
      python -m reclaim status
      python -m reclaim run --watch
      python -m reclaim dead list --json
    """  # noqa: D301  # \b is one character: it keeps the lines


@cli.command()
def run(
    watch_: Annotated[bool, typer.Option("--watch", help="Run again and again, as RECLAIM_SCHEDULE says.")] = False,
    target: Annotated[
        str | None, typer.Option("--target", metavar="STREAM/GROUP", help="Only this target; without it, all.")
    ] = None,
    budget_sec: Annotated[
        float, typer.Option("--budget-sec", min=1, max=3600, help="End each run in so long, or in RUN_BUDGET_SEC.")
    ] = 3600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print each report as a line of JSON.")] = False,
) -> None:
    """Reclaim now, or again and again by the schedule.

    It says what became of each target, also of one whose run failed. With --watch the log says it, and --json too.

    Exit codes: 0 the runs went well (also if there was nothing to do), 1 one failed, 2 the settings are bad.
    With --watch a failed run is logged and tried again at the next tick; SIGINT and SIGTERM end it after what is in
    work, with 0.

    \b
    Examples:
      REDIS_HOST=localhost REDIS_TLS=false STREAM_NAME=s STREAM_CONSUMER_GROUP_NAME=g python -m reclaim run
      python -m reclaim run --target s/g --budget-sec 60 --json
    """  # noqa: D301  # \b is one character: it keeps the lines
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    with told():
        settings = Settings.from_env(os.environ)
        check_target(target, [one.name for one in settings.targets])
        if watch_:
            asyncio.run(watch.watch(settings, target, budget_sec, tell=_show_as_json if as_json else _show_nothing))
            return
        reports = asyncio.run(watch.once(settings, target, budget_sec))
        for report in reports:
            if as_json:
                _show_as_json(report)
            else:
                show_line(watch.sentence(report))
        failed = watch.failure(reports)
        if failed:
            raise RunFailed(failed)


def _show_as_json(report: RunReport) -> None:
    show_json(json.loads(report.to_json()), indent=None)


def _show_nothing(_: RunReport) -> None:
    """Without --json the log says it all."""


@cli.command("status")
def show_status(target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Say how each target is.

    It tells what is pending, the circuit, dead letters, lost entries and the latest runs, and what the doctor found: in
    a pipe only what fails, on standard error.

    Exit codes: 0 ok or warn, 1 a target's health is fail, 2 the settings or the arguments are bad.

    Example: python -m reclaim status --json
    """

    async def look(app: App) -> dict[str, Any]:
        others = app.units.keys() - {unit.target.name for unit in units_of(app, target)}
        return _without(others, await status(app))

    found = with_app(look)
    if as_json:
        show_json(found)
    elif is_for_a_person():
        show(views.status_header(found), *views.status_checks(found))
        for one in found["targets"]:
            show(*views.status_view(one))
    else:
        show_table(views.STATUS_COLUMNS, [views.status_row(one) for one in found["targets"]])
        for one in found["doctor"]["findings"]:
            if one["health"] == Health.FAIL.value:
                say(f"the doctor found {views.finding_line(one)}")
    exit_if(any(one["health"] == Health.FAIL.value for one in found["targets"]))


def _without(others: Collection[str], found: dict[str, Any]) -> dict[str, Any]:
    """The status without these targets: how all is, and what the doctor found, are then of those that are left."""
    targets = [one for one in found["targets"] if one["target"] not in others]
    health = Health.FAIL if found["error"] else worst([Health(one["health"]) for one in targets])
    findings = [one for one in found["doctor"]["findings"] if one["about"] not in others]
    doctor = {**found["doctor"], "findings": findings}
    return {**found, "health": health.value, "doctor": doctor, "targets": targets}


@cli.command("runs")
def list_runs(
    target: TargetOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="List at most so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the reports of runs, the latest first.

    About 2,000 are kept; of runs that found nothing one every five minutes.

    Example: python -m reclaim runs --limit 10
    """

    async def look(app: App) -> tuple[Unit, list[dict[str, Any]]]:
        unit = unit_of(app, target)
        return unit, [one async for one in _latest_runs(unit, limit)]

    unit, runs = with_app(look)
    if as_json:
        show_json({"target": unit.target.name, "runs": runs})
        return
    show_table(views.RUN_COLUMNS, [views.run_row(run) for run in runs])
    say(f"{unit.target.name}: {len(runs):,} {'run' if len(runs) == 1 else 'runs'}")


async def _latest_runs(unit: Unit, limit: int) -> AsyncIterator[dict[str, Any]]:
    """The latest reports with their IDs, asked for a few at a time: they may be large."""
    left, before = limit, None
    while left:
        asked = min(left, RUNS_AT_ONCE)
        found, before = await unit.history.latest(asked, before)
        for entry_id, report in found:
            yield {**report, "id": entry_id.decode()}
        if before is None:
            return
        left -= asked


@cli.command("lost")
def list_lost(
    target: TargetOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="List at most so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List lost entries: trimmed or deleted while they were pending. The one found last comes first.

    Example: python -m reclaim lost --limit 10
    """

    async def look(app: App) -> tuple[Unit, int, list[LostEntry]]:
        unit = unit_of(app, target)
        entries = LostEntries(app.server, unit.target)
        return unit, await entries.count(), (await entries.latest(limit))[0]

    unit, count, found = with_app(look)
    if as_json:
        show_json({"target": unit.target.name, "count": count, "lost": [asdict(one) for one in found]})
        return
    show_table(views.LOST_COLUMNS, [astuple(one) for one in found])
    say(f"{unit.target.name}: {len(found):,} of {count:,} lost entries")


@cli.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what is wrong and what to do about it.

    It looks at the settings, the server, permissions and targets, and changes nothing.

    Exit codes: 0 ok or warn, 1 something fails, 2 the settings are bad.

    Example: python -m reclaim doctor
    """
    findings = asyncio.run(doctors.doctor(os.environ))
    found = [one.to_dict() for one in findings]
    if as_json:
        show_json(found)
    elif is_for_a_person():
        show(views.finding_view(found))
    else:
        show_table(views.FINDING_COLUMNS, [views.finding_row(one) for one in found])
    failed = [one for one in findings if one.health is Health.FAIL]
    if any(one.about == doctors.SETTINGS for one in failed):
        raise typer.Exit(BAD_USAGE)
    exit_if(bool(failed))
