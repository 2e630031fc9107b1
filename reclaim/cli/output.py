"""Owns what the command line prints: tables where a person reads, tab-separated lines in a pipe, JSON for a program.

What comes from anybody's bytes goes through `visible`: nothing that is printed can steer a terminal.
"""

import asyncio
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from reclaim.entry import readable
from reclaim.run.replay import ReplayReport

OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
LINE_EVERY_SEC = 1.0  # of progress, in a pipe
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def visible(value: bytes | str) -> str:
    r"""Text with everything that is not to be seen as what it is escaped: ``\x1b``, ``\n``, ``\u202e``, ``\xff``."""
    text = readable(value) if isinstance(value, bytes) else value
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Streams that can be used, whatever the program was started with; what was printed is written at the end."""
    _open_the_closed()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # typeshed has them as TextIO
    try:
        yield
    except OSError as exc:  # of Typer's, which prints the help by itself
        if exc.errno not in OF_WRITING:
            raise
        _end_unwritten(exc)
    finally:
        with _telling():
            sys.stderr.flush()
        with _writing():
            sys.stdout.flush()


def _open_the_closed() -> None:
    """Put nothing in the place of a closed stream, which is None; a connection would be given its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  # it stays open to the end
            setattr(sys, name, nothing)


@contextmanager
def _writing() -> Iterator[None]:
    """End the program where standard output cannot be written to; without a word where its reader has gone away."""
    try:
        yield
    except OSError as exc:
        _end_unwritten(exc)


def _end_unwritten(exc: OSError) -> NoReturn:
    _abandon(sys.stdout)
    if not isinstance(exc, BrokenPipeError):
        say(f"standard output cannot be written to: {exc.strerror}")
    raise SystemExit(1) from exc


@contextmanager
def _telling() -> Iterator[None]:
    """Go on where standard error cannot be written to: nobody can be told."""
    try:
        yield
    except OSError:
        _abandon(sys.stderr)


def _abandon(stream: TextIO) -> None:
    """Have what is left in its buffer go nowhere: Python writes it at its end, and would fail once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def is_for_a_person() -> bool:
    """Whether what is printed goes to a terminal."""
    return sys.stdout.isatty()


def say(text: str) -> None:
    """Tell the person on standard error."""
    with _telling():
        print("\n".join(map(visible, text.split("\n"))), file=sys.stderr)  # noqa: T201  # that is what it is for


def show(*what: RenderableType) -> None:
    """Print for a person."""
    console = Console(markup=False, emoji=False, highlight=False)
    with _writing():
        for one in what:
            console.print(one)


def show_line(*values: Any) -> None:
    """Print a line for a pipe, the values with tabs between them."""
    shown = (visible(value if isinstance(value, bytes) else str(value)) for value in values)
    _print("\t".join(shown))


def show_json(value: Any, indent: int | None = 2) -> None:
    """Print for a program, at once. All that is not ASCII is escaped, so that it comes through any encoding."""
    _print(json.dumps(value, indent=indent), flush=True)


def _print(text: str, *, flush: bool = False) -> None:
    with _writing():
        print(text, flush=flush)  # noqa: T201  # that is what it is for


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
    text = visible(str(value))
    return Text(text.upper() if text in STYLES else text, style=STYLES.get(text, ""))


@contextmanager
def replay_progress() -> Iterator[Callable[[ReplayReport], None]]:
    """What to tell about how far a replay is; it says so on standard error, and at the end where it is interrupted."""
    last: ReplayReport | None = None
    try:
        with _bar() if sys.stderr.isatty() else nullcontext(_Lines()) as show_progress:

            def tell(report: ReplayReport) -> None:
                nonlocal last
                last = report
                show_progress(report)

            yield tell
    except asyncio.CancelledError:
        say(f"interrupted{_how_far_at_least(last)}")
        raise


def _how_far_at_least(report: ReplayReport | None) -> str:
    if report is None:
        return " before the first page was done"
    return f": {_how_far(report)}, not counting those in work; the rest are dead letters still"


@contextmanager
def _bar() -> Iterator[Callable[[ReplayReport], None]]:
    """Shows a person how far a replay is."""
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=None)
        yield lambda report: progress.update(task, total=report.chosen, completed=_done(report))


class _Lines:
    """Says in a pipe how far a replay is, at most once a second."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    def __call__(self, report: ReplayReport) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + LINE_EVERY_SEC
            say(_how_far(report))


def _how_far(report: ReplayReport) -> str:
    return f"{_done(report)} of {report.chosen} done, {report.replayed} replayed"


def _done(report: ReplayReport) -> int:
    return report.replayed + report.failed + report.retried + report.held
