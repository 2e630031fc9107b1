"""Owns the entry: one stream entry as Redis delivered it, its bytes untouched; and the arithmetic of entry IDs."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

Named = TypeVar("Named", bound=tuple[Any, ...])


class Entry(NamedTuple):
    """One claimed stream entry.

    Attributes:
        id: the entry ID as Redis writes it, ``b"1700000000000-0"``.
        fields: names and values in turn, as XADD took them: ``(name, value, name, value, …)``; never decoded.
        consumer: the consumer that had the entry before it was claimed; empty if there was none.
        idle_ms: milliseconds between its last delivery to that consumer and our claim.
        deliveries: how many times it was delivered, this claim included
            (https://redis.io/docs/latest/commands/xpending/).
    """

    id: bytes
    fields: Sequence[bytes]
    consumer: bytes = b""
    idle_ms: int = 0
    deliveries: int = 1

    def get(self, name: str | bytes) -> bytes | None:
        """The value of a field; None if the entry has no such field.

        If a name occurs twice, its last value counts, because that is the one which HSET keeps.
        """
        wanted = name.encode() if isinstance(name, str) else name
        try:
            return self.fields[-1 - 2 * self.fields[-2::-2].index(wanted)]
        except ValueError:
            return None

    def duplicate_name(self) -> bytes | None:
        """A name that occurs more than once; None if none does."""
        names = self.fields[::2]
        return None if len(set(names)) == len(names) else next(name for name in names if names.count(name) > 1)


def made(of: type[Named], values: Iterable[Iterable[Any]]) -> list[Named]:
    """Many named tuples, each of as many values as it has fields; their class would take three times as long."""
    return list(map(tuple.__new__, repeat(of), values))


def readable(value: bytes | None) -> str:
    r"""Bytes as text; a byte that is not UTF-8 becomes ``\xNN``."""
    return "" if value is None else value.decode(errors="backslashreplace")


def by_name(flat: Sequence[Any]) -> dict[bytes, Any]:
    """A dict of the flat list ``[name, value, name, value, …]`` with which Redis replies."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def id_after(entry_id: bytes) -> bytes | None:
    """The smallest ID greater than this one; None for the greatest.

    It starts a range on Redis 6.0, which has no exclusive ``(``.
    """
    ms, seq = map(int, entry_id.split(b"-"))
    if seq < _MAX_PART:
        return b"%d-%d" % (ms, seq + 1)
    return b"%d-0" % (ms + 1) if ms < _MAX_PART else None


def id_before(entry_id: bytes) -> bytes:
    """The greatest ID smaller than this one; for ``0-0``, which is the smallest of all, ``0-0`` itself."""
    ms, seq = map(int, entry_id.split(b"-"))
    if seq:
        return b"%d-%d" % (ms, seq - 1)
    return b"%d-%d" % (ms - 1, _MAX_PART) if ms else entry_id


def id_number(entry_id: bytes) -> int:
    """The ID as one integer. Integers compare as Redis compares IDs: milliseconds first, then sequence."""
    ms, seq = entry_id.split(b"-")
    return int(ms) << 64 | int(seq)


def id_of(number: int) -> bytes:
    """The ID that `id_number` makes this integer of."""
    return b"%d-%d" % (number >> 64, number & _MAX_PART)


def check_id(entry_id: bytes) -> bytes:
    """Return the ID unchanged if it is one that Redis writes: two numbers of at most 64 bits, with a dash between.

    Raises:
        ValueError: it is no such ID.
    """
    ms, dash, seq = entry_id.partition(b"-")
    if not (dash and ms.isdigit() and seq.isdigit() and max(int(ms), int(seq)) <= _MAX_PART):
        raise ValueError(f"{readable(entry_id)!r} is not an entry ID; allowed: as in 1700000000000-0")
    return entry_id


_MAX_PART = 2**64 - 1
