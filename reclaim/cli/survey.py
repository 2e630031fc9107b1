"""Owns the command that looks at every stream and group of a server."""

import asyncio
import os
import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from reclaim.cli import views
from reclaim.cli.output import say, show_json, show_table
from reclaim.cli.session import JsonOption, errors_end_the_command
from reclaim.counted import many
from reclaim.ops import survey as surveys
from reclaim.state.connection import connect

commands = typer.Typer(add_completion=False, rich_markup_mode=None)


@commands.command("survey")
def show_survey(
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=2000, help="Show at most this many groups.")
    ] = 30,
    as_json: JsonOption = False,
) -> None:
    """Look at every stream and group of a server, the worst first. It changes nothing.

    The command needs an address only: REDIS_HOST or REDIS_URL, and how to sign in. It says what a setting
    RECLAIM_TARGETS for what it has found would look like.

    Example: REDIS_URL=redis://localhost python -m reclaim survey
    """

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
