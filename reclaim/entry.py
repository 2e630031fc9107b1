"""Owns the entry: one stream entry as Redis delivered it, its bytes untouched; and the arithmetic of entry IDs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

from reclaim.errors import RejectEntry, said
from reclaim.names import written

Named = TypeVar("Named", bound=tuple[Any, ...])
Texts = dict[str, str]  # by this name, because `dict` is a method of an entry
Part = str | bytes | int | float  # a name or a value, as it is given to `Entry.of`


class Entry(NamedTuple):
    """One claimed stream entry.

    `fields` and `get` give bytes, as Redis has them. `text`, `json`, `dict` and `items` decode them as UTF-8. If that
    cannot be done, or the field is not there, they raise `RejectEntry`: nobody can ever handle such an entry.

    Attributes:
        id: the entry ID as Redis writes it, ``b"1700000000000-0"``.
        fields: names and values in turn, as XADD took them: ``(name, value, name, value, …)``; never decoded.
        consumer: the consumer that had the entry before it was claimed; empty if there was none.
        idle_ms: how many milliseconds before the run began it was last delivered to that consumer, at least; below 0 if
            that consumer has given it back (XNACK).
        deliveries: how many times it was delivered, this claim included
            (https://redis.io/docs/latest/commands/xpending/).
        stream: the stream's name, as STREAM_NAME writes it.
        group: the name of its consumer group, as STREAM_CONSUMER_GROUP_NAME writes it.
        is_last_delivery: whether the entry becomes a dead letter if it fails now.
    """

    id: bytes
    fields: Sequence[bytes]
    consumer: bytes = b""
    idle_ms: int = 0
    deliveries: int = 1
    stream: str = ""
    group: str = ""
    is_last_delivery: bool = False

    @classmethod
    def of(
        cls,
        fields: Mapping[Any, Any] | Iterable[tuple[Part, Part]],
        *,
        id: str | bytes = b"1-0",  # noqa: A002  # it is what the attribute is called
        consumer: str | bytes = b"",
        idle_ms: int = 0,
        deliveries: int = 1,
        stream: str = "stream",
        group: str = "group",
        is_last_delivery: bool = False,
    ) -> "Entry":
        """An entry with these fields, for a handler's own tests: ``Entry.of({"text": "hi"})``.

        Pairs instead of a mapping may have the same name twice. Text and numbers become what Redis would keep of them.

        Raises:
            TypeError: a name or a value is none of these, or what is given is no pairs.
        """
        pairs: list[Any] = list(fields.items() if isinstance(fields, Mapping) else fields)
        if any(isinstance(pair, str | bytes) or len(pair) != _PAIR for pair in pairs):
            raise TypeError(f"{pairs!r} are no fields of an entry; allowed: pairs of a name and a value, or a mapping")
        flat = tuple(_as_bytes(part) for pair in pairs for part in pair)
        return cls(_as_bytes(id), flat, _as_bytes(consumer), idle_ms, deliveries, stream, group, is_last_delivery)

    def get(self, name: str | bytes) -> bytes | None:
        """The value of a field; None if the entry has no such field.

        If a name occurs twice, its last value counts, because that is the one which HSET keeps.
        """
        wanted = name.encode() if isinstance(name, str) else name
        try:
            return self.fields[-1 - 2 * self.fields[-2::-2].index(wanted)]
        except ValueError:
            return None

    def text(self, name: str | bytes) -> str:
        """The value of a field as text; the last one, if the name occurs twice.

        Raises:
            RejectEntry: there is no such field, or it is not UTF-8.
        """
        return _decoded(self._value(name), name)

    def json(self, name: str | bytes) -> Any:
        """What the JSON in a field stands for; the last one, if the name occurs twice.

        Raises:
            RejectEntry: there is no such field, or it is no JSON.
        """
        try:
            return json.loads(self._value(name))
        except (ValueError, RecursionError) as exc:
            raise RejectEntry(f"the field {_shown(name)} is no JSON: {said(exc)}") from exc

    def items(self) -> list[tuple[str, str]]:
        """All names and values as text, in their order; a name that occurs twice is there twice.

        Raises:
            RejectEntry: a name or a value is not UTF-8.
        """
        names, values = self.fields[::2], self.fields[1::2]
        return [(_decoded(name, name), _decoded(value, name)) for name, value in zip(names, values, strict=True)]

    def duplicate_name(self) -> bytes | None:
        """A name that occurs more than once; None if none does."""
        names = self.fields[::2]
        return None if len(set(names)) == len(names) else next(name for name in names if names.count(name) > 1)

    def _value(self, name: str | bytes) -> bytes:
        value = self.get(name)
        if value is None:
            raise RejectEntry(f"there is no field {_shown(name)}")
        return value

    def dict(self) -> Texts:
        """All names and values as text; the last value of a name that occurs twice.

        Raises:
            RejectEntry: a name or a value is not UTF-8.
        """
        return Texts(self.items())


def _as_bytes(part: Part) -> bytes:
    if not isinstance(part, str | bytes | int | float):
        raise TypeError(f"{part!r} is no part of an entry; allowed: text, bytes, numbers")
    return part if isinstance(part, bytes) else str(part).encode()


def _decoded(value: bytes, name: str | bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise RejectEntry(f"the field {_shown(name)} is not UTF-8: {said(exc)}") from exc


def _shown(name: str | bytes) -> str:
    """A field's name as messages show it."""
    return f"'{written(name.encode() if isinstance(name, str) else name)}'"


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
_PAIR = 2  # a name and a value
