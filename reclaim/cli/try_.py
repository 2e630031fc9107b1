"""Owns the command that tries one entry."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from reclaim.app import App
from reclaim.cli import views
from reclaim.cli.output import is_for_a_person, is_terminal, show_json, show_line
from reclaim.cli.session import JsonOption, TargetOption, asking, exit_if, id_of, with_app
from reclaim.cli.tables import pairs, show
from reclaim.entry import readable
from reclaim.errors import said
from reclaim.ops import choosing
from reclaim.ops.choosing import Found
from reclaim.ops.trying import Trial, Tried
from reclaim.ops.trying import pairs as name_value
from reclaim.verdicts import Verdict
from reclaim.visible import for_a_terminal

commands = typer.Typer(add_completion=False, rich_markup_mode=None)


@commands.command("try")
def try_one(
    entry_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="An entry's ID, or a dead letter's.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="A JSON object of an entry's fields, or dead letters as they are saved; - for standard input.",
        ),
    ] = None,
    target: TargetOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Call what has to be called without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what would become of one entry, without claiming or acknowledging it.

    The entry may be pending, a dead letter, any other one of the stream, or in a file. With HANDLER=hash, requeue or
    forward the command shows what would be written, and writes nothing. A function of yours, or the service of
    HTTP_URL, is really called, once: the command asks first. If no person sits at the terminal, --yes is needed.

    Exit codes: 0 the entry would be done, 1 it would not, or you said no, 2 the settings or the arguments are bad.

    \b
    Examples:
      python -m reclaim try 1700000000000-0
      python -m reclaim try --file entry.json --yes
    """  # noqa: D301  # \b is one character: it keeps the lines
    found, calls = with_app(lambda app: _chosen(app, entry_id, file, target), log_level=logging.INFO)
    if calls and not yes:
        _ask(found, calls)
    tried = with_app(lambda app: _try(app, found), log_level=logging.INFO)
    if as_json:
        show_json(tried.to_dict())
    else:
        _show(tried)
    exit_if(tried.verdict is not Verdict.DONE)


async def _chosen(app: App, entry_id: str | None, file: Path | None, target: str | None) -> tuple[Found, str]:
    """The entry, and what has to be called for it; empty if nothing has."""
    wanted = None if entry_id is None else id_of(entry_id)
    if file is not None:
        content, name = await asyncio.to_thread(_content, file)
        found = choosing.in_file(app, content, name, wanted, target)
    elif wanted is not None:
        found = await choosing.find(app, wanted, target)
    else:
        raise typer.BadParameter("give an ID, or --file")
    return found, (await Trial.of(app, found)).calls


async def _try(app: App, found: Found) -> Tried:
    return await (await Trial.of(app, found)).go()


def _content(file: Path) -> tuple[bytes, str]:
    """What the file holds, and what messages call it."""
    if str(file) == "-":
        return sys.stdin.buffer.read(), "standard input"
    try:
        return file.read_bytes(), str(file)
    except OSError as exc:
        raise typer.BadParameter(f"{file} cannot be read: {exc.strerror or said(exc)}", param_hint="--file") from exc


def _ask(found: Found, calls: str) -> None:
    """Ask the person. No event loop runs meanwhile: it would catch Ctrl-C."""
    if not is_terminal(sys.stdin):
        raise typer.BadParameter(f"the entry is really {calls}, and nobody can be asked here; say --yes to do so")
    with asking():
        typer.confirm(f"The entry {readable(found.entry.id)} is now really {calls}. Go on?", abort=True, err=True)


def _show(tried: Tried) -> None:
    rows = _pairs(tried)
    if is_for_a_person():
        show(pairs([(name, views.shortened(value)) for name, value in rows]))
    else:
        for name, value in rows:
            show_line(name, value)


def _pairs(tried: Tried) -> list[tuple[str, Any]]:
    """What would become of an entry, and what would be written or sent."""
    preview, frames = tried.preview, tried.traceback.splitlines()
    rows: list[tuple[str, Any]] = [("entry", f"{readable(tried.found.entry.id)}, {tried.found.where}")]
    if preview is not None:
        rows.append(("was" if tried.called else "would be", preview.does))
        rows += preview.about
        rows += ((f"field {for_a_terminal(name)}", value) for name, value in name_value(preview.fields))
    if preview is not None and preview.body is not None:
        rows.append(("body", preview.body))
    rows.append(("so", tried.sentence))
    if tried.error:
        rows.append(("because", tried.error))
    rows += (("traceback" if at == 0 else "", line) for at, line in enumerate(frames))
    return [*rows, *(("note", note) for note in tried.notes)]
