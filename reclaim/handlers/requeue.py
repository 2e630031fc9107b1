"""Owns what an entry is given back to its group as: its fields, and how often that has been done."""

from collections.abc import Sequence

from reclaim.counted import how_often
from reclaim.entry import Entry
from reclaim.errors import TooManyRequeues

REQUEUES = b"reclaim:requeues"
_MAX_DIGITS = 18


def requeued(entry: Entry, most: int) -> Sequence[bytes]:
    """The names and values of the new entry: those of the old one, in their order, and the number of requeues.

    A number that is there already is replaced, in its place.

    Raises:
        TooManyRequeues: it was given back `most` times before.
    """
    before = _count(entry)
    if before >= most:
        raise TooManyRequeues(f"it was requeued {how_often(before)}; MAX_REQUEUES is {most}")
    return _with_count(entry.fields, before + 1)


def requeued_anew(entry: Entry) -> Sequence[bytes]:
    """The same for a dead letter that a person replays: the count begins again."""
    return _with_count(entry.fields, 1)


def _count(entry: Entry) -> int:
    """How often it was given back before; what is no number, is somebody else's and counts as none."""
    value = entry.get(REQUEUES)
    if value is None:
        return 0
    return int(value) if value.isdigit() and len(value) <= _MAX_DIGITS else 0


def _with_count(fields: Sequence[bytes], count: int) -> Sequence[bytes]:
    value = b"%d" % count
    names = fields[::2]
    if REQUEUES not in names:
        return (*fields, REQUEUES, value)
    made: list[bytes] = []
    for name, old in zip(names, fields[1::2], strict=True):
        if name != REQUEUES:
            made += (name, old)
        elif REQUEUES not in made[::2]:
            made += (name, value)
    return made
