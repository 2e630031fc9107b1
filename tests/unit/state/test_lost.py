"""The ledger of lost entries: what is written is what is read, by the scripts as by us."""

import re

from reclaim.state.lost import LostEntries, LostEntry, record
from reclaim.state.pending import Row
from reclaim.state.scripts import script

ROW = Row(b"5-1", b"worker", 4_000, 3)


def fields(row: Row, at_ms: int) -> list[bytes]:
    """The names and values that the ledger gets, as Redis gives them back."""
    command = record(b"lost", row, at_ms)
    return [part if isinstance(part, bytes) else str(part).encode() for part in command[command.index("*") + 1 :]]


def test_what_is_recorded_is_read() -> None:
    assert LostEntry.read(fields(ROW, 0)) == LostEntry("5-1", "worker", 3, 4_000, "1970-01-01T00:00:00.000+00:00")


def test_the_scripts_write_the_same_names() -> None:
    """In the same order."""
    written = re.findall(r"'(\w+)', (\w+)", script("lost_prelude").partition("'*'")[2])

    names = [name.decode() for name in fields(ROW, 0)[::2]]
    assert [name for name, _ in written] == names
    assert [variable.removesuffix("_ms") for _, variable in written] == [name.removesuffix("_ms") for name in names]


def test_what_somebody_else_has_put_into_the_ledger_is_passed_over() -> None:
    """A name is missing, an ID is none, a number is none, a time is beyond all years."""
    good = fields(ROW, 0)
    strange = [good[:-2], [b"id", b"x", *good[2:]], [*good[:-1], b"soon"], [*good[:-1], b"9" * 30]]

    found = list(LostEntries.read((b"1-0", flat) for flat in [*strange, good]))

    assert found == [LostEntry.read(good)]
