"""The ledger of lost entries: what the scripts write is what is read."""

import re

from reclaim.state.lost import LostEntries, LostEntry
from reclaim.state.scripts import script

FIELDS = [b"id", b"5-1", b"consumer", b"worker", b"idle_ms", b"4000", b"deliveries", b"3", b"at", b"0"]


def test_what_is_recorded_is_read() -> None:
    assert LostEntry.read(FIELDS) == LostEntry("5-1", "worker", 3, 4_000, "1970-01-01T00:00:00.000+00:00")


def test_the_scripts_write_the_same_names() -> None:
    """In the same order."""
    written = re.findall(r"'(\w+)', \w+", script("lost_prelude").partition("'*',")[2].partition("\nend")[0])

    assert [name.encode() for name in written] == FIELDS[::2]


def test_what_somebody_else_has_put_into_the_ledger_is_passed_over() -> None:
    """A name is missing, an ID is none, a number is none, a time is beyond all years."""
    good = FIELDS
    strange = [good[:-2], [b"id", b"x", *good[2:]], [*good[:-1], b"soon"], [*good[:-1], b"9" * 30]]

    found = list(LostEntries.read((b"1-0", flat) for flat in [*strange, good]))

    assert found == [LostEntry.read(good)]
