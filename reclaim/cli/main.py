"""Owns the command line: its main commands, and the groups of commands below it."""

import asyncio
import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from reclaim import __version__
from reclaim.app import App
from reclaim.cli import circuit as cli_circuit
from reclaim.cli import dead as cli_dead
from reclaim.cli import loop, views
from reclaim.cli import try_ as cli_try
from reclaim.cli.output import clear, is_for_a_person, say, show, show_json, show_line, show_table, use_any_encoding
from reclaim.cli.session import (
    BAD_USAGE,
    JsonOption,
    TargetOption,
    errors_end_the_command,
    exit_if,
    id_of,
    me,
    with_app,
)
from reclaim.counted import many
from reclaim.entry import readable
from reclaim.errors import RunFailed
from reclaim.ops import doctor as doctors
from reclaim.ops import operations
from reclaim.ops.health import Health
from reclaim.ops.overview import worst_first
from reclaim.run.report import MEANINGS, RunReport, failures_in
from reclaim.settings import Settings
from reclaim.state.connection import connect


class Commands(TyperGroup):
    """All commands. They and their help can print to streams of any encoding."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        use_any_encoding()
        return super().main(*arguments, **options)


cli = typer.Typer(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    name="reclaim",
)
cli.add_typer(cli_dead.commands, name="dead", help="List, group, show, replay, discard and import dead letters.")
cli.command("try")(cli_try.try_one)
cli.add_typer(cli_circuit.commands, name="circuit", help="Show, open and close the circuit.")


def _show_version(asked: bool) -> None:  # noqa: FBT001  # Typer calls it so
    if asked:
        show_line(f"reclaim {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
]


UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The Redis to use, as in rediss://host:6380/0, in place of REDIS_HOST, REDIS_URL, REDIS_TLS and REDIS_DB."
        " Keep the password in REDIS_PASSWORD: others on this machine can read arguments.",
    ),
]


@cli.callback()
def main(version: VersionOption = False, url: UrlOption = None) -> None:  # noqa: ARG001  # its callback shows it
    """Take over Redis Streams entries that a consumer read and never acknowledged.

    Settings come from the environment, as on Azure: REDIS_HOST, STREAM_NAME, STREAM_CONSUMER_GROUP_NAME and more.

    Exit codes: 0 all went well, 1 the command failed or found something wrong, 2 the settings or the arguments are bad,
    130 Ctrl-C interrupted the command, 143 SIGTERM did.

    \b
    Examples:
      export REDIS_HOST=localhost REDIS_TLS=false STREAM_NAME=s STREAM_CONSUMER_GROUP_NAME=g
      python -m reclaim doctor
      python -m reclaim status
      python -m reclaim run --watch
      python -m reclaim dead list --json
    """  # noqa: D301  # \b is one character: it keeps the lines
    if url is not None:
        for name in ("REDIS_HOST", "REDIS_TLS", "REDIS_DB"):
            os.environ.pop(name, None)
        os.environ["REDIS_URL"] = url


OUTCOMES = "\b\nOutcomes, each with its exit code:\n" + "\n".join(
    f"  {outcome.value:<18}{meaning.exit_code}  {meaning.sentence}" for outcome, meaning in MEANINGS.items()
)


@cli.command(epilog=OUTCOMES)
def run(
    watch: Annotated[
        bool, typer.Option("--watch", help="Run again and again, by the schedule in RECLAIM_SCHEDULE.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="STREAM/GROUP", help="Run only this target; without this option, all."),
    ] = None,
    budget_sec: Annotated[
        float,
        typer.Option(
            "--budget-sec",
            min=1,
            max=3600,
            help="End each run after this many seconds, or after RUN_BUDGET_SEC if that is less.",
        ),
    ] = 3600.0,
    park_misfits: Annotated[
        bool,
        typer.Option(
            "--park-misfits", help="Make dead letters of entries that HASH_KEY does not fit, even if it fits none."
        ),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also if a run made dead letters.")] = False,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65_535, help="With --watch: serve /live, /health and /metrics at this port."),
    ] = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS", help="Where --port is served; 0.0.0.0: on all addresses.")
    ] = "127.0.0.1",
    as_json: Annotated[bool, typer.Option("--json", help="Print each report as a line of JSON.")] = False,
) -> None:
    """Run now, or again and again by the schedule.

    The command prints one line for each target, also if the target's run failed. With --watch it writes the reports to
    the log; with --watch --json it also prints them.

    The exit code is that of the worst run; see below. It is 2 if the settings or the arguments are bad. With --watch a
    run that failed is logged, and the next tick tries again. SIGINT and SIGTERM let the run finish the entries in work,
    and end the command with the run's exit code.

    \b
    Examples:
      REDIS_HOST=localhost REDIS_TLS=false STREAM_NAME=s STREAM_CONSUMER_GROUP_NAME=g python -m reclaim run
      python -m reclaim run --target s/g --budget-sec 60 --json
    """  # noqa: D301  # \b is one character: it keeps the lines
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if watch and park_misfits:
        raise typer.BadParameter("it is for one run, so not with --watch", param_hint="--park-misfits")
    if port is not None and not watch:
        raise typer.BadParameter("it is for --watch", param_hint="--port")
    with errors_end_the_command():
        settings = Settings.from_env(os.environ)
        if watch:
            shown = _show_as_json if as_json else _show_nothing
            asyncio.run(loop.watch(settings, target, budget_sec, shown, probes=(listen, port)))
            return
        reports = asyncio.run(loop.once(settings, target, budget_sec, me(), park_misfits=park_misfits))
        for report in reports:
            if as_json:
                _show_as_json(report)
            else:
                show_line(loop.sentence(report))
        failed = failures_in(reports, strict=strict)
        if failed:
            raise RunFailed(failed)


def _show_as_json(report: RunReport) -> None:
    show_json(json.loads(report.to_json()), indent=None)


def _show_nothing(_: RunReport) -> None:
    """Print nothing: without --json a report is only in the log."""


@cli.command("status")
def show_status(
    target: TargetOption = None,
    as_json: JsonOption = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C. With --json: a line each time.")
    ] = False,
    every_sec: Annotated[
        float, typer.Option("--every", min=1, max=3600, help="With --watch: so many seconds lie between two looks.")
    ] = 3.0,
) -> None:
    """Show the health of each target.

    The command shows pending entries, the circuit, dead letters, lost entries, the latest runs, and what the doctor
    found wrong. Of several targets, a table comes first, the worst on top; those that are well are in it only. In a
    pipe it prints the doctor's failed checks to standard error, and leaves out the other checks.

    Exit codes: 0 every health is ok or warn, 1 a target's health is fail, 2 the settings or the arguments are bad.

    \b
    Examples:
      python -m reclaim status --json
      python -m reclaim status --watch
    """  # noqa: D301  # \b is one character: it keeps the lines

    async def watch_it(app: App) -> None:
        while True:
            found = (await operations.read_status(app, target)).found
            if is_for_a_person() and not as_json:
                clear()
            _show_found(found, as_json=as_json, indent=None)
            await asyncio.sleep(every_sec)

    if watch:
        with_app(watch_it)
    found = with_app(lambda app: operations.read_status(app, target)).found
    _show_found(found, as_json=as_json)
    exit_if(any(one["health"] == Health.FAIL.value for one in found["targets"]))


def _show_found(found: Mapping[str, Any], *, as_json: bool, indent: int | None = 2) -> None:
    """Show a status: as JSON, for a person, or as lines for a pipe."""
    if as_json:
        show_json(found, indent)
    elif is_for_a_person():
        targets = worst_first(found["targets"])
        show(views.status_header(found), *views.status_checks(found))
        if len(targets) > 1:
            show("", views.status_table(targets))
        for one in targets:
            if len(targets) == 1 or one["health"] != Health.OK.value:
                show(*views.status_view(one))
    else:
        show_table(views.STATUS_COLUMNS, [views.status_row(one) for one in found["targets"]])
        for one in found["doctor"]["findings"]:
            if one["health"] == Health.FAIL.value:
                say(f"the doctor found {views.check_line(one)}")


@cli.command("runs")
def list_runs(
    target: TargetOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="List at most this many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the reports of runs, the latest first.

    About 2,000 reports are kept. Of the runs that found nothing, one report is kept every five minutes.

    Example: python -m reclaim runs --limit 10
    """
    found = with_app(lambda app: operations.list_runs(app, target, limit=limit))
    if as_json:
        show_json({"target": found.target, "runs": found.runs})
        return
    show_table(views.RUN_COLUMNS, [views.run_row(run) for run in found.runs])
    say(f"{found.target}: {len(found.runs):,} {'run' if len(found.runs) == 1 else 'runs'}")


@cli.command("lost")
def list_lost(
    target: TargetOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="List at most this many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List lost entries, the latest found first. They were trimmed or deleted while they were pending.

    Example: python -m reclaim lost --limit 10
    """
    found = with_app(lambda app: operations.list_lost(app, target, limit=limit))
    if as_json:
        show_json(
            {
                "target": found.target,
                "count": found.count,
                "full": found.full,
                "lost": [asdict(one) for one in found.lost],
            }
        )
        return
    show_table(views.LOST_COLUMNS, [views.lost_row(one) for one in found.lost])
    full = ", and the record is full: earlier ones are no longer on it" if found.full else ""
    say(f"{found.target}: {len(found.lost):,} of {many(found.count, 'lost entry')}{full}")


@cli.command("survey")
def show_survey(
    limit: Annotated[int, typer.Option("--limit", min=1, max=2000, help="Show at most this many groups.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Look at every stream and group of a server, the worst first. It changes nothing.

    The command needs an address only: REDIS_HOST or REDIS_URL, and how to sign in. It says what a setting
    RECLAIM_TARGETS for what it has found would look like.

    Example: REDIS_URL=redis://localhost python -m reclaim survey
    """
    from reclaim.ops import survey as surveys  # noqa: PLC0415  # no other command needs it

    async def look() -> surveys.Survey:
        server = connect(surveys.settings_of(os.environ))
        try:
            return await surveys.survey(server)
        finally:
            await server.aclose()

    with errors_end_the_command():
        found = asyncio.run(look())
    if as_json:
        show_json({**asdict(found), "worst": [asdict(one) for one in found.worst[:limit]]})
        return
    show_table(views.SURVEY_COLUMNS, [views.survey_row(one) for one in found.worst[:limit]])
    pending = many(found.pending, "pending entry")
    counts = f"{many(found.streams, 'stream')}, {many(found.groups, 'group')}, {pending}"
    say(f"{found.address}: {counts}")
    if found.targets:
        say(f"To let reclaim take them over, set:\nRECLAIM_TARGETS={shlex.quote(found.targets)}")


@cli.command("pending")
def show_pending(
    target: TargetOption = None,
    consumer: Annotated[
        str | None, typer.Option("--consumer", metavar="NAME", help="Only those that this consumer has.")
    ] = None,
    after: Annotated[str | None, typer.Option("--after", metavar="ID", help="Begin after this entry.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="List at most this many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List what is pending now, the smallest ID first, and why the last run left it. It changes nothing.

    Example: python -m reclaim pending --consumer worker-7
    """
    start, name = None if after is None else id_of(after), None if consumer is None else os.fsencode(consumer)
    page = with_app(lambda app: operations.list_pending(app, target, consumer=name, limit=limit, after=start))
    entries = [one.to_dict(readable) for one in page.entries]
    next_id = None if page.next is None else page.next.decode()
    if as_json:
        show_json({"target": page.target, "entries": entries, "all_records": page.all_records, "next": next_id})
        return
    show_table(views.PENDING_COLUMNS, [views.pending_row(one) for one in entries])
    more = f"; continue with --after {next_id}" if next_id else ""
    say(f"{page.target}: {many(len(entries), 'pending entry')}{more}")


@cli.command("audit")
def show_audit(
    target: TargetOption = None,
    before: Annotated[str | None, typer.Option("--before", metavar="ID", help="Begin before this record.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=2000, help="List at most this many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List what people did, the latest first: replays, discards, imports, changes of the circuit, runs by hand.

    A record without an end is under way, or its process died. Redis keeps about the latest 2,000.

    Example: python -m reclaim audit --limit 10
    """
    start = None if before is None else id_of(before)
    found = with_app(lambda app: operations.list_audit(app, target, limit=limit, before=start))
    if as_json:
        show_json(asdict(found))
        return
    show_table(views.AUDIT_COLUMNS, [views.audit_row(one) for one in found.records])
    more = f"; continue with --before {found.next}" if found.next else ""
    say(f"{found.target}: {many(len(found.records), 'record')}{more}")


@cli.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what is wrong and what to do about it.

    The command checks the settings, the server, permissions and targets. It changes nothing.

    Exit codes: 0 every check is ok or warn, 1 a check fails, 2 the settings are bad.

    Example: python -m reclaim doctor
    """
    checks = asyncio.run(doctors.doctor(os.environ))
    found = [one.to_dict() for one in checks]
    if as_json:
        show_json(found)
    elif is_for_a_person():
        show(views.check_view(found))
    else:
        show_table(views.CHECK_COLUMNS, [views.check_row(one) for one in found])
    failed = [one for one in checks if one.health is Health.FAIL]
    if any(one.about == doctors.SETTINGS for one in failed):
        raise typer.Exit(BAD_USAGE)
    exit_if(bool(failed))
