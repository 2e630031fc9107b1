"""Owns what an entry is forwarded as: its fields, and where it comes from."""

from collections.abc import Sequence

from reclaim.entry import Entry

STREAM, GROUP, ID, DELIVERIES = b"reclaim:stream", b"reclaim:group", b"reclaim:id", b"reclaim:deliveries"
_ORIGIN = frozenset({STREAM, GROUP, ID, DELIVERIES})


def forwarded(entry: Entry, stream: bytes, group: bytes) -> Sequence[bytes]:
    """The names and values of the new entry: those of the old one, in their order, and behind them where it comes from.

    If it was forwarded before, its fields with the names of ours are left out: they tell of the last time only.
    """
    origin = (STREAM, stream, GROUP, group, ID, entry.id, DELIVERIES, b"%d" % entry.deliveries)
    names = entry.fields[::2]
    if _ORIGIN.isdisjoint(names):
        return (*entry.fields, *origin)
    kept = [pair for pair in zip(names, entry.fields[1::2], strict=True) if pair[0] not in _ORIGIN]
    return (*(part for pair in kept for part in pair), *origin)
