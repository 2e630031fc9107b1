"""Owns every Redis key name: the names of our own keys, and the templates that make a key from an entry.

All keys of a target are in its stream's hash slot. So one script or one MULTI may use several of them
(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
"""

import re
from dataclasses import dataclass, replace
from enum import Enum
from string import Formatter

from reclaim.entry import Entry
from reclaim.errors import MissingField, said
from reclaim.json_path import ARROW, JsonPath
from reclaim.names import name_bytes, written

_NAMES = (
    "lease",
    "circuit",
    "failures",
    "seen",
    "tries",
    "dead",
    "lost",
    "runs",
    "alerts",
    "waiting",
    "shards",
    *("audit", "totals"),
)
_OURS = re.compile(rb".*\{.+\}.*:reclaim:.+:(%b)(:.*)?" % "|".join(_NAMES).encode(), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one target: a stream and its group.

    `lease` and `waiting` may be those of one of its shards.
    """

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
    waiting: bytes
    shards: bytes
    audit: bytes
    totals: bytes

    @classmethod
    def of(cls, stream: bytes, group: bytes) -> "Keys":
        """The keys for `stream` and `group`."""
        prefix = b"%b:reclaim:%b:" % (_tagged(stream), group)
        return cls(stream, *(prefix + name.encode() for name in _NAMES))

    def of_shard(self, index: int) -> "Keys":
        """The keys of one of the target's shards."""
        return replace(self, lease=b"%b:%d" % (self.lease, index), waiting=b"%b:%d" % (self.waiting, index))


def _tagged(stream: bytes) -> bytes:
    """The stream's name with a hash tag, so that a key that begins with it is in the stream's slot.

    If the stream has a tag of its own (``a{tag}``), its name stays as it is; else the whole name becomes the tag.
    """
    _, opened, rest = stream.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return stream if opened and closed and tag else b"{%b}" % stream


def is_ours(key: bytes) -> bool:
    """Whether a key is one of those that `Keys` names, of whatever target; most keys are told in 0.03 µs."""
    return key.find(b":reclaim:") >= 0 and _OURS.fullmatch(key) is not None  # `in` makes an exception, and drops it


def glob_of(name: bytes) -> bytes:
    """The pattern that matches this name alone (https://redis.io/docs/latest/commands/keys/)."""
    return re.sub(rb"[*?\[\]\\^]", rb"\\\g<0>", name)


class Template:
    r"""A key made from an entry: ``tweet:{id}`` takes the value of the field ``id``; ``{{`` is a brace.

    Between braces: a field's name; a path into a field's JSON (``{data->customer.id}``, see `JsonPath`); ``{@id}``, the
    entry's ID; ``{@stream}`` and ``{@group}``. ``\xNN`` is any byte, in names of fields too (`reclaim.names`): a field
    whose name begins with ``@`` is written ``{\x40…}``, one with ``->`` in it ``{…\x2d\x3e…}``.

    Attributes:
        text: as it was written.
        names_one_entry: whether it names anything that differs from entry to entry.
    """

    def __init__(self, text: str, stream: bytes = b"", group: bytes = b"") -> None:
        """Read it.

        Args:
            text: the template.
            stream: what ``{@stream}`` stands for.
            group: what ``{@group}`` stands for.

        Raises:
            ValueError: the text is not such a template, or has nothing in braces.
        """
        self.text = text
        fixed = {"@stream": stream, "@group": group}
        parts: list[tuple[bytes, _Source | None]] = []
        named = False
        for literal, name, spec, conversion in Formatter().parse(text):
            if name == "" or spec or conversion:
                raise ValueError("between braces stands a field's name, a path or a word with @, and nothing else")
            named = named or name is not None
            parts.append((name_bytes(literal), None if name is None or name in fixed else _source(name)))
            if name in fixed:
                parts.append((fixed[name], None))
        if not named:
            raise ValueError("it names no field, so that every entry would have the same key")
        self._parts = parts
        self.names_one_entry = any(source is not None for _, source in parts)

    @property
    def head(self) -> bytes:
        """The text that every key of the template begins with; it may be empty."""
        head = b""
        for literal, source in self._parts:
            head += literal
            if source is not None:
                break
        return head

    @property
    def pattern(self) -> bytes:
        """A glob pattern for all keys that the template makes."""
        return b"".join(glob_of(literal) + (b"" if source is None else b"*") for literal, source in self._parts)

    @property
    def example(self) -> bytes:
        """A key as the template makes them, of an entry that does not exist."""
        return b"".join(literal + (b"" if source is None else b"example") for literal, source in self._parts)

    def render(self, entry: Entry) -> bytes:
        """The key of this entry.

        Raises:
            MissingField: the entry lacks something that the template names, or has an empty value there: all entries
                without a value would share one key.
        """
        key = b""
        for literal, source in self._parts:
            key += literal
            if isinstance(source, bytes):
                value = entry.get(source)
                if not value:
                    what = "no" if value is None else "an empty"
                    raise MissingField(f"{what} field '{written(source)}' for '{self.text}'")
                key += value
            elif source is not None:
                key += self._other(entry, source)
        return key

    def _other(self, entry: Entry, source: "JsonPath | _EntryId") -> bytes:
        try:
            return entry.id if isinstance(source, _EntryId) else source.value(entry)
        except MissingField as exc:
            raise MissingField(f"{said(exc)} for '{self.text}'") from exc


class _EntryId(Enum):
    """What stands for the entry's ID."""

    ID = "@id"


_Source = bytes | JsonPath | _EntryId  # a field's name, a path into one, or the entry's ID


def _source(name: str) -> _Source:
    if name == _EntryId.ID.value:
        return _EntryId.ID
    if name.startswith("@"):
        raise ValueError(r"the words with @ are {@id}, {@stream} and {@group}; a field's @ is written \x40")
    return JsonPath.of(name) if ARROW in name else name_bytes(name)
