"""Owns the command that says what is wrong, and what to do about it."""

import asyncio
import os

import typer

from reclaim.cli import views
from reclaim.cli.output import is_for_a_person, show_json, show_table
from reclaim.cli.session import BAD_USAGE, JsonOption, TargetOption, errors_end_the_command, exit_if
from reclaim.cli.tables import show
from reclaim.ops import doctor as doctors
from reclaim.ops.health import SEVERITY, Health

commands = typer.Typer(add_completion=False, rich_markup_mode=None)


@commands.command("doctor")
def doctor(target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Say what is wrong and what to do about it.

    The command checks the settings, the server, permissions and targets. It changes nothing. What is wrong comes first.
    With --target it leaves out what is about other targets.

    Exit codes: 0 every check is ok or warn, 1 a check fails, 2 the settings are bad.

    Example: python -m reclaim doctor
    """
    checks = asyncio.run(doctors.doctor(os.environ))
    if target is not None:
        with errors_end_the_command():
            checks = doctors.without_others(checks, target, os.environ)
    checks = sorted(checks, key=lambda one: SEVERITY[one.health])
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
