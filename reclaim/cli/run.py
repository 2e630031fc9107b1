"""Owns the command that runs: now, or again and again by the schedule."""

import json
import logging
import os
from collections.abc import Sequence
from typing import Annotated

import typer

from reclaim.cli import ending, logs, loop
from reclaim.cli.output import is_for_a_person, show_json, show_line
from reclaim.cli.report_line import sentence
from reclaim.cli.session import a_number, errors_end_the_command, exit_if, me
from reclaim.errors import RunFailed
from reclaim.run.report import MEANINGS, RunReport, failures_in
from reclaim.settings import Settings

commands = typer.Typer(add_completion=False, rich_markup_mode=None)


OUTCOMES = "\b\nOutcomes, each with its exit code:\n" + "\n".join(
    f"  {outcome.value:<18}{meaning.exit_code}  {meaning.sentence}" for outcome, meaning in MEANINGS.items()
)


@commands.command("run", epilog=OUTCOMES)
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
            metavar="SECONDS",
            callback=a_number,
            min=1,
            max=3600,
            show_default=False,
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
        typer.Option(
            "--port",
            metavar="PORT",
            min=1,
            max=65_535,
            help="With --watch: serve /live, /health and /metrics at this port.",
        ),
    ] = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS", help="Where --port is served; 0.0.0.0: on all addresses.")
    ] = "127.0.0.1",
    as_json: Annotated[bool, typer.Option("--json", help="Print each report as a line of JSON.")] = False,
) -> None:
    """Run now, or again and again by the schedule.

    The command prints one line for each target, also if the target's run failed. With --watch it writes the reports to
    the log; with --watch --json it also prints them. The log goes to standard error: a readable line for each run at a
    terminal, JSON elsewhere (LOG_FORMAT).

    The exit code is that of the worst run; see below. It is 2 if the settings or the arguments are bad. With --watch a
    run that failed is logged, and the next tick tries again. SIGINT and SIGTERM let the run finish the entries in work,
    and end the command with the run's exit code.

    \b
    Examples:
      REDIS_HOST=localhost REDIS_TLS=false STREAM_NAME=s STREAM_CONSUMER_GROUP_NAME=g python -m reclaim run
      python -m reclaim run --target s/g --budget-sec 60 --json
    """  # noqa: D301  # \b is one character: it keeps the lines
    if watch and park_misfits:
        raise typer.BadParameter("it is for one run, so not with --watch", param_hint="--park-misfits")
    if port is not None and not watch:
        raise typer.BadParameter("it is for --watch", param_hint="--port")
    with errors_end_the_command():
        settings = Settings.from_env(os.environ)
        told = is_for_a_person() and not watch
        logs.begin(settings.log_format, level=logging.INFO, runs_are_told=told)
        if watch:
            shown = _show_as_json if as_json else _show_nothing
            ending.run(loop.watch(settings, target, budget_sec, shown, probes=(listen, port)))
            return
        reports = ending.run(loop.once(settings, target, budget_sec, me(), park_misfits=park_misfits))
        for report in reports:
            if as_json:
                _show_as_json(report)
            else:
                show_line(sentence(report))
        _end(reports, strict=strict, are_told=told)


def _end(reports: Sequence[RunReport], *, strict: bool, are_told: bool) -> None:
    """End with exit code 1 if a run failed, and say so where neither the person nor the log was told."""
    failed = failures_in(reports, strict=strict)
    if not failed:
        return
    exit_if(are_told or (logs.is_for_a_program() and bool(failures_in(reports))))
    raise RunFailed(failed)


def _show_as_json(report: RunReport) -> None:
    show_json(json.loads(report.to_json()), indent=None)


def _show_nothing(_: RunReport) -> None:
    """Print nothing: without --json a report is only in the log."""
