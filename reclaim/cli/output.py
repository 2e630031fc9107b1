"""Owns what the command line prints: tables where a person reads, tab-separated lines in a pipe, JSON for a program.

Text that anybody can write goes through `for_a_terminal`: nothing that is printed can steer a terminal.

Everything is printed by `typer.echo`, which writes at once. So a reader that goes away (`| head`) ends the command with
exit code 1 and without a word: Typer sees to that. Where a standard stream is closed, nothing is printed there.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from reclaim.visible import for_a_terminal

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def use_any_encoding() -> None:
    """Show characters that the encoding of the standard streams does not have as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # one that is closed
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # typeshed has it as TextIO


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sits before the stream; it is None where it is closed."""
    return stream is not None and stream.isatty()


def is_for_a_person() -> bool:
    """Whether what is printed goes to a terminal."""
    return is_terminal(sys.stdout)


def say(text: str) -> None:
    """Tell the person on standard error."""
    typer.echo("\n".join(map(for_a_terminal, text.split("\n"))), err=True)


def show(*what: RenderableType) -> None:
    """Print for a person."""
    console = Console(markup=False, emoji=False, highlight=False)
    for one in what:
        console.print(one)


def show_line(*values: Any) -> None:
    """Print a line for a pipe, the values with tabs between them."""
    shown = (for_a_terminal(value if isinstance(value, bytes) else str(value)) for value in values)
    _print("\t".join(shown))


def show_json(value: Any, indent: int | None = 2) -> None:
    """Print for a program, at once. All that is not ASCII is escaped, so that it comes through any encoding."""
    _print(json.dumps(value, indent=indent))


def _print(text: str) -> None:
    """Print to standard output; a disk that is full ends the program with exit code 1 and one line."""
    try:
        typer.echo(text, file=sys.stdout)
    except BrokenPipeError:
        raise  # Typer ends the program
    except OSError as exc:
        sys.stdout = None  # or Python tries once more at its end, and fails
        raise SystemExit(f"standard output cannot be written to: {exc.strerror}") from exc


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table for a person, or its lines for a pipe."""
    if is_for_a_person():
        show(table(columns, rows))
        return
    for row in (columns, *rows):
        show_line(*row)


def table(columns: Sequence[str] | None, rows: Sequence[Sequence[Any]]) -> Table:
    """A table for a person, with a header if its columns have names; numbers stand to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_header=columns is not None)
    for at, name in enumerate(columns or [""] * len(rows[0])):
        is_number = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
        made.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    return made


def pairs(rows: Sequence[tuple[str, Any]]) -> Table:
    """Names and what they are, for a person."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(cell(name), value if isinstance(value, Table) else cell(value))
    return made


def cell(value: Any) -> Text:
    """A value as a person reads it; a word for how something is has its colour too."""
    if isinstance(value, int | float):
        return Text(f"{value:,}" if isinstance(value, int) else f"{value:,.2f}")
    text = for_a_terminal(str(value))
    return Text(text.upper() if text in STYLES else text, style=STYLES.get(text, ""))
