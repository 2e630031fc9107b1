"""Owns the reading of HTTP requests into their types. It refuses a bad request, and names the field that is bad."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from reclaim.errors import BadRequest, said, shown
from reclaim.http.requests import REQUESTS, Body, Query, described, schemas

MAX_BODY_BYTES = 65_536

# Query parameters that are meant for the Functions host: a function key, and the key's name.
HOST_PARAMETERS = frozenset({"code", "clientId"})


def read(operation_id: str, query: Mapping[str, str], body: bytes) -> Any:
    """The request of an operation, as the operation's type in REQUESTS.

    Args:
        operation_id: as in the document.
        query: the parameters in the address.
        body: the body as it was sent.

    Raises:
        BadRequest: the request does not fit its type.
    """
    kind = REQUESTS[operation_id]
    said = {name: text for name, text in query.items() if name not in HOST_PARAMETERS}
    if issubclass(kind, Query):
        if body:
            raise BadRequest("there is a body", "none, everything is said in the address")
        return _converted(said, kind, strict=False)
    for name in said:
        raise BadRequest(f"{shown(name)} is not known", "nothing in the address")
    return _converted(_json(body), kind, strict=True)


def _json(body: bytes) -> Any:
    """The JSON value of a body; an empty object if there is no body."""
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(f"the body has {len(body)} bytes", f"at most {MAX_BODY_BYTES}")
    try:
        return json.loads(body, **_STRICTLY) if body else {}
    except (ValueError, RecursionError) as exc:
        raise BadRequest(f"the body is not JSON ({said(exc)})", "a JSON object") from exc


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is none of its numbers")


def _number(text: str) -> float:
    """A JSON number as Python's: 5.0 becomes the integer 5, because JSON Schema calls it an integer too."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{shown(name)} occurs twice")
    return made


_STRICTLY: Any = {"parse_constant": _no_number, "parse_float": _number, "object_pairs_hook": _object}


def _converted(values: Any, kind: type[Query] | type[Body], *, strict: bool) -> Query | Body:
    if not isinstance(values, dict):
        raise BadRequest(f"the body is {shown(values)}", "a JSON object")
    fields = described(kind)
    for name in values:
        if name not in fields:
            raise BadRequest(f"{shown(name)} is not known", ", ".join(fields) or "nothing")
    for name in schemas()[kind.__name__]["required"]:
        if name not in values:
            raise BadRequest(f"{name} is missing", fields[name]["description"])
    try:
        return msgspec.convert(values, kind, strict=strict)
    except msgspec.ValidationError as exc:
        raise _bad(str(exc), values, fields) from exc


_PLACE = re.compile(r"`\$\.(\w+)(?:\[(\d+)\])?`$")  # the field and its index, at the end of msgspec's message


def _bad(said: str, values: Mapping[str, Any], fields: Mapping[str, Any]) -> BadRequest:
    """An error of msgspec in the form that all our errors have: the field, its value, what is allowed."""
    place = _PLACE.search(said)
    if place is None:
        return BadRequest(
            f"the body is {shown(values)} ({said})", "a JSON object as GET /api/openapi.json describes it"
        )
    name, at = place.groups()
    if at is None:
        return BadRequest(f"{name} is {shown(values[name])}", fields[name]["description"])
    (items,) = (one["items"] for one in fields[name]["anyOf"] if "items" in one)
    return BadRequest(f"{name}[{at}] is {shown(values[name][int(at)])}", items["description"])
