"""Owns the tables that a person sees: they fit the terminal, and no ID and no word is split."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reclaim.visible import for_a_terminal

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def show(*what: RenderableType) -> None:
    """Print for a person."""
    console = Console(markup=False, emoji=False, highlight=False)
    for one in what:
        console.print(one)


def clear() -> None:
    """Empty the person's screen."""
    Console().clear()


def table(columns: Sequence[str] | None, rows: Sequence[Sequence[Any]]) -> RenderableType:
    """A table for a person, with a header if its columns have names. Columns of numbers are aligned to the right.

    No word is split. If the longest words of all columns do not fit beside each other, each row is a list of names and
    values instead.
    """
    return _Fitting(columns, rows)


@dataclass(frozen=True, slots=True)
class _Fitting:
    """Rows, as a table if there is room for one."""

    columns: Sequence[str] | None
    rows: Sequence[Sequence[Any]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        shown = [[cell(value) for value in row] for row in self.rows]
        names = list(self.columns or [""] * len(shown[0]))
        widths = _widths([[Text(name) for name in names], *shown], options.max_width)
        if widths is not None:
            yield self._table(names, shown, widths)
            return
        if self.columns is None:  # what the values are is seen without a name: the last one goes below the others
            for row in shown:
                yield Text("  ").join(row[:-1])
                yield Padding(row[-1], (0, 0, 0, 4))
            return
        for at, values in enumerate(self.rows):
            yield from ([Text()] if at else [])
            yield pairs(list(zip(names, values, strict=True)))

    def _table(self, names: Sequence[str], shown: Sequence[Sequence[Text]], widths: Sequence[int]) -> Table:
        made = Table(box=None, pad_edge=False, header_style="bold", show_header=self.columns is not None)
        for at, name in enumerate(names):
            is_number = bool(self.rows) and all(isinstance(row[at], int | float) for row in self.rows)
            made.add_column(name, justify="right" if is_number else "left", overflow="fold", width=widths[at])
        for row in shown:
            made.add_row(*row)
        return made


GAP = 2  # blanks between two columns


def _widths(lines: Sequence[Sequence[Text]], width: int) -> list[int] | None:
    """How wide each column is: no word is split, and what room is left goes to those that have more to say.

    Returns:
        The widths; None if the longest words do not fit beside each other.
    """
    columns = list(zip(*lines, strict=True))
    least = [max(cell_len(word) for one in column for word in one.plain.split() or [""]) for column in columns]
    whole = [max(cell_len(line) for one in column for line in one.plain.split("\n")) for column in columns]
    spare = width - sum(least) - GAP * (len(columns) - 1)
    if spare < 0:
        return None
    found = list(least)
    for done, at in enumerate(sorted(range(len(columns)), key=lambda at: whole[at] - least[at])):
        more = min(whole[at] - least[at], spare // (len(columns) - done))
        found[at] += more
        spare -= more
    return found


def pairs(rows: Sequence[tuple[str, Any]]) -> Table:
    """A table of names and their values, for a person."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(cell(name), value if isinstance(value, Table | _Fitting) else cell(value))
    return made


def moment(text: str) -> str:
    """A moment of ISO 8601 as a person reads it, in UTC, as all of ours are; any other text as it is."""
    return f"{text[:10]} {text[11:19]}Z" if MOMENT.fullmatch(text) else text


def cell(value: Any) -> Text:
    """A value as a person reads it. The words ok, warn and fail have their colours."""
    if isinstance(value, int | float):
        return Text(f"{value:,}" if isinstance(value, int) else f"{value:,.2f}")
    text = moment(for_a_terminal(str(value)))
    return Text(text.upper() if text in STYLES else text, style=STYLES.get(text, ""))
