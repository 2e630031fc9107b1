"""Owns the command that shows the status, once or again and again."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from reclaim.app import App
from reclaim.cli import views
from reclaim.cli.output import is_for_a_person, say, show_json, show_table
from reclaim.cli.session import JsonOption, TargetOption, a_number, exit_if, with_app
from reclaim.cli.tables import clear, show
from reclaim.ops import operations
from reclaim.ops.health import Health
from reclaim.ops.overview import worst_first

commands = typer.Typer(add_completion=False, rich_markup_mode=None)


@commands.command("status")
def show_status(
    target: TargetOption = None,
    as_json: JsonOption = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C. With --json: a line each time.")
    ] = False,
    every_sec: Annotated[
        float,
        typer.Option(
            "--every",
            metavar="SECONDS",
            callback=a_number,
            min=1,
            max=3600,
            help="With --watch: so many seconds lie between two looks.",
        ),
    ] = 3.0,
) -> None:
    """Show the health of each target.

    The command shows pending entries, the circuit, dead letters, lost entries, the latest runs, and what the doctor
    found wrong. The worst target comes first. At a terminal a table of all targets comes before them; those that are
    well are in it only. In a pipe it prints the doctor's failed checks to standard error, and leaves out the other
    checks.

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
    targets = worst_first(found["targets"])
    if as_json:
        show_json({**found, "targets": targets}, indent)
    elif is_for_a_person():
        show(views.status_header(found), *views.status_checks(found))
        if len(targets) > 1:
            show("", views.status_table(targets))
        for one in targets:
            if len(targets) == 1 or one["health"] != Health.OK.value:
                show(*views.status_view(one))
    else:
        show_table(views.STATUS_COLUMNS, [views.status_row(one) for one in targets])
        for one in found["doctor"]["findings"]:
            if one["health"] == Health.FAIL.value:
                say(f"the doctor found {views.check_line(one)}")
