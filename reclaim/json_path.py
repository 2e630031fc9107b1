"""Owns paths into JSON: what of a field's JSON a template takes, or what of it becomes a hash.

Numbers stay as they are spelt: a key made of ``1.0`` or of a number with thirty digits is the same key in every
language that made the JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reclaim.entry import Entry
from reclaim.errors import MissingField, NoObject, said
from reclaim.names import name_bytes, written

ARROW = "->"  # between the field and the members


class _Number(str):
    """A number as it is spelt."""

    __slots__ = ()


class _Object(dict[str, Any]):
    """An object that keeps all its members: of two with one name a dict has the last one only, and nobody would know.

    Attributes:
        pairs: names and values, in the order of the text.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A field, and the way to a value in its JSON: names of members, or places in lists, counted from 0.

    Attributes:
        field: the field's name.
        members: from the outermost on.
        text: as a template writes it.
    """

    field: bytes
    members: Sequence[str]
    text: str

    @classmethod
    def of(cls, text: str) -> "JsonPath":
        r"""The path that a template writes: ``data->order.items.0``; ``\xNN`` is any byte, a dot in a name for one.

        Raises:
            ValueError: the field or a member has no name, or a member's name is no UTF-8.
        """
        field, _, way = text.partition(ARROW)
        members = [name_bytes(member).decode() for member in way.split(".")]
        if not field or not all(members):
            raise ValueError("a path has a part without a name; it is written as in data->customer.id")
        return cls(name_bytes(field), tuple(members), text)

    def value(self, entry: Entry) -> bytes:
        """The value at the path: a string's text, a number as it is spelt, or true or false.

        Raises:
            MissingField: there is none, or it is null, an object, a list or an empty text.
        """
        found: Any = document(entry, self.field)
        for member in self.members:
            if isinstance(found, dict) and member in found:
                found = found[member]
            elif isinstance(found, list) and member.isdecimal() and int(member) < len(found):
                found = found[int(member)]
            else:
                raise MissingField(f"no '{member}' at '{self.text}'")
        if found is None or isinstance(found, dict | list) or found == "":
            raise MissingField(f"{_kind(found)} at '{self.text}'")
        return _scalar(found, self.text)


def document(entry: Entry, field: bytes, objects: type[_Object] | None = None) -> Any:
    """The JSON of a field, its numbers as strings of their own class, and so its objects, where `objects` says which.

    Raises:
        MissingField: the entry has no such field, or it holds no JSON.
    """
    text = entry.get(field)
    if text is None:
        raise MissingField(f"no field '{written(field)}'")
    try:
        return json.loads(
            text, parse_int=_Number, parse_float=_Number, parse_constant=_refuse, object_pairs_hook=objects
        )
    except (ValueError, RecursionError) as exc:
        raise MissingField(f"no JSON in the field '{written(field)}'") from exc


def members(entry: Entry, field: bytes) -> list[bytes]:
    """Names and values in turn of the JSON object in a field: nested values as compact JSON, without what is null.

    A name that occurs twice is there twice, as in an entry.

    Raises:
        NoObject: the field holds no JSON object, or one of which nothing would be left.
    """
    name = written(field)
    try:
        found = document(entry, field, _Object)
        if not isinstance(found, _Object):
            raise NoObject(f"{_kind(found)} in the field '{name}', where HASH_FROM needs a JSON object")
        values = [(member, value) for member, value in found.pairs if value is not None]
        flat = [part for member, value in values for part in (_encoded(member, name), _scalar(value, name))]
    except NoObject:
        raise
    except MissingField as exc:
        raise NoObject(f"{said(exc)}, where HASH_FROM needs a JSON object") from exc
    if not flat:
        raise NoObject(f"an object without values in the field '{name}', where HASH_FROM needs some")
    return flat


def _scalar(value: Any, place: str) -> bytes:
    if isinstance(value, str):
        return _encoded(value, place)
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return _encoded(_compact(value), place)


def _compact(value: Any) -> str:
    """JSON without spaces, its numbers as they were spelt."""
    match value:
        case _Number():
            return value
        case _Object():
            inner = ",".join(f"{_quoted(name)}:{_compact(one)}" for name, one in value.pairs)
            return f"{{{inner}}}"
        case list():
            return f"[{','.join(map(_compact, value))}]"
        case str():
            return _quoted(value)
        case _:  # true, false or null
            return json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _encoded(text: str, place: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:  # JSON can name half a surrogate pair
        raise MissingField(f"text that is no Unicode at '{place}'") from exc


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "a list"
        case "":
            return "an empty text"
        case _:
            return "no object"


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
