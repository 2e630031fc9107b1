"""Owns what the command line prints: lines for a pipe, JSON for a program, messages; tables.py has a person's tables.

Text that anybody may have written goes through `for_a_terminal`, so that no printed character can steer a terminal.

`typer.echo` prints everything, and writes it immediately. If the reader of a pipe goes away (`| head`), Typer ends the
command with exit code 1 and prints no error. If a standard stream is closed, Typer prints nothing there.
"""

import json
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any, TextIO

import typer

from reclaim.errors import said
from reclaim.visible import for_a_terminal


def use_any_encoding() -> None:
    """Let the standard streams print an escape for a character that their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # it is None if it is closed
            stream.reconfigure(errors="backslashreplace")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal, at which a person sits; a closed stream is None."""
    return stream is not None and stream.isatty()


def is_for_a_person() -> bool:
    """Whether standard output goes to a terminal."""
    return is_terminal(sys.stdout)


def say(text: str) -> None:
    """Print a message for a person to standard error."""
    typer.echo("\n".join(map(for_a_terminal, text.split("\n"))), err=True)


def show_line(*values: Any) -> None:
    """Print a line for a pipe, the values with tabs between them."""
    shown = (for_a_terminal(value if isinstance(value, bytes) else str(value)) for value in values)
    _print("\t".join(shown))


def show_json(value: Any, indent: int | None = 2) -> None:
    """Print JSON for a program. It is all ASCII, with escapes for the rest, so that any encoding can carry it."""
    _print(json.dumps(value, indent=indent))


def show_text(text: str) -> None:
    """Print lines of ASCII that are ready for a file."""
    _print(text, end="")


def _print(text: str, end: str = "\n") -> None:
    """Print to standard output. If its disk is full, end the program with one line and exit code 1."""
    try:
        typer.echo(f"{text}{end}", file=sys.stdout, nl=False)
    except BrokenPipeError:
        raise  # Typer ends the program
    except OSError as exc:
        sys.stdout = None  # else Python tries to write once more when it ends, and fails
        raise SystemExit(f"standard output cannot be written to: {exc.strerror or said(exc)}") from exc


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table for a person, or its lines for a pipe."""
    if is_for_a_person():
        from reclaim.cli.tables import show, table  # noqa: PLC0415  # a pipe need not load what draws

        show(table(columns, rows))
        return
    for row in (columns, *rows):
        show_line(*row)
