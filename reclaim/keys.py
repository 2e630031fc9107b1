"""Owns every Redis key name: the names of our own keys, and the templates that make a key from an entry.

All keys of a target are in its stream's hash slot. So one script or one MULTI may use several of them
(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
"""

import re
from dataclasses import dataclass
from string import Formatter

from reclaim.entry import Entry
from reclaim.errors import MissingField
from reclaim.names import name_bytes, written


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one target: a stream and its group."""

    stream: bytes
    lease: bytes
    circuit: bytes
    failures: bytes
    seen: bytes
    tries: bytes
    dead: bytes
    lost: bytes
    runs: bytes
    alerts: bytes

    @classmethod
    def of(cls, stream: bytes, group: bytes) -> "Keys":
        """The keys for `stream` and `group`."""
        prefix = b"%b:reclaim:%b:" % (_tagged(stream), group)
        names = ("lease", "circuit", "failures", "seen", "tries", "dead", "lost", "runs", "alerts")
        return cls(stream, *(prefix + name.encode() for name in names))


def _tagged(stream: bytes) -> bytes:
    """The stream's name with a hash tag, so that a key that begins with it is in the stream's slot.

    If the stream has a tag of its own (``a{tag}``), its name stays as it is; else the whole name becomes the tag.
    """
    _, opened, rest = stream.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return stream if opened and closed and tag else b"{%b}" % stream


def glob_of(name: bytes) -> bytes:
    """The pattern that matches this name alone (https://redis.io/docs/latest/commands/keys/)."""
    return re.sub(rb"[*?\[\]\\^]", rb"\\\g<0>", name)


class Template:
    r"""A key made from an entry's fields: ``tweet:{id}`` takes the value of the field ``id``; ``{{`` is a brace.

    ``\xNN`` is any byte, in names of fields too (`reclaim.names`).

    Raises:
        ValueError: the text is not such a template, or names no field.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        parts: list[tuple[bytes, bytes | None]] = []
        for literal, name, spec, conversion in Formatter().parse(text):
            if name == "" or spec or conversion:
                raise ValueError("a field is a name in braces and nothing else")
            parts.append((name_bytes(literal), None if name is None else name_bytes(name)))
        if all(name is None for _, name in parts):
            raise ValueError("it names no field, so that every entry would have the same key")
        self._parts = parts

    @property
    def fields(self) -> list[bytes]:
        """The names of the fields that the key is made from, in their order."""
        return [name for _, name in self._parts if name is not None]

    @property
    def pattern(self) -> bytes:
        """A glob pattern for all keys that the template makes."""
        return b"".join(glob_of(literal) + (b"" if name is None else b"*") for literal, name in self._parts)

    def render(self, entry: Entry) -> bytes:
        """The key of this entry.

        Raises:
            MissingField: the entry lacks a field that the template names, or has an empty one: all entries without a
                value would share one key.
        """
        key = b""
        for literal, name in self._parts:
            key += literal
            if name is not None:
                value = entry.get(name)
                if value is None:
                    raise MissingField(f"no field '{written(name)}' for '{self.text}'")
                if not value:
                    raise MissingField(f"an empty field '{written(name)}' for '{self.text}'")
                key += value
        return key
