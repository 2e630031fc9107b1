"""Owns every Redis key name: the names of our own keys, and the templates that make a key from an entry.

All keys of a target are in its stream's hash slot. So one script or one MULTI may use several of them
(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
"""

from dataclasses import dataclass
from string import Formatter

from reclaim.entry import Entry
from reclaim.errors import MissingField


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one target: a stream and its group."""

    stream: bytes
    lease: bytes
    circuit: bytes
    failures: bytes
    dead: bytes
    lost: bytes
    runs: bytes
    alerts: bytes

    @classmethod
    def of(cls, stream: str, group: str) -> "Keys":
        """The keys for `stream` and `group`."""
        prefix = f"{_tagged(stream)}:reclaim:{group}:"
        names = ("lease", "circuit", "failures", "dead", "lost", "runs", "alerts")
        return cls(stream.encode(), *(f"{prefix}{name}".encode() for name in names))


def _tagged(stream: str) -> str:
    """The stream's name with a hash tag, so that a key that begins with it is in the stream's slot.

    If the stream has a tag of its own (``a{tag}``), its name stays as it is; else the whole name becomes the tag.
    """
    _, opened, rest = stream.partition("{")
    tag, closed, _ = rest.partition("}")
    return stream if opened and closed and tag else f"{{{stream}}}"


class Template:
    """A key made from an entry's fields: ``tweet:{id}`` takes the value of the field ``id``; ``{{`` is a brace.

    Raises:
        ValueError: the text is not such a template, or names no field.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        parts: list[tuple[bytes, bytes | None]] = []
        for literal, name, spec, conversion in Formatter().parse(text):
            if name == "" or spec or conversion:
                raise ValueError("a field is a name in braces and nothing else")
            parts.append((literal.encode(), None if name is None else name.encode()))
        if all(name is None for _, name in parts):
            raise ValueError("it names no field, so that every entry would have the same key")
        self._parts = parts

    def render(self, entry: Entry) -> bytes:
        """The key of this entry.

        Raises:
            MissingField: the entry lacks a field that the template names.
        """
        key = b""
        for literal, name in self._parts:
            key += literal
            if name is not None:
                value = entry.get(name)
                if value is None:
                    raise MissingField(f"no field {name.decode()!r} for {self.text!r}")
                key += value
        return key
