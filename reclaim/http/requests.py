"""Owns the contract of the HTTP API: openapi.json, and the check of a request against it.

What a request may say stands in one place, the document, in a small part of JSON Schema
(https://json-schema.org/draft/2020-12): type, enum, const, oneOf, minimum, maximum, minLength,
maxLength, pattern, minItems, maxItems, uniqueItems, items, properties, required, additionalProperties and $ref.
"""

import copy
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from reclaim import __version__
from reclaim.errors import ReclaimError

MAX_BODY_BYTES = 65_536
MAX_SHOWN_CHARS = 60

# What the Functions host itself takes from the query: a key, and which key it is.
HOST_PARAMETERS = frozenset({"code", "clientId"})

Schema = Mapping[str, Any]


class BadRequest(ReclaimError):
    """A request is not as the document asks for; the message names the field, its value and what is allowed."""


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_bytes())
    return document


def document(targets: Sequence[str]) -> dict[str, Any]:
    """The OpenAPI document of an app with these targets."""
    made = copy.deepcopy(_document())
    made["info"]["version"] = __version__
    made["components"]["schemas"]["Target"]["enum"] = list(targets)
    if len(targets) > 1:
        made["components"]["parameters"]["Target"]["required"] = True
        for name in ("Replay", "CircuitChange"):
            made["components"]["schemas"][name]["required"].append("target")
    return made


def check(method: str, path: str, query: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """What a request asks for, by name: the values of its query or of its JSON body, and the defaults of the others.

    Args:
        method: as in ``GET``.
        path: as in the document.
        query: the parameters in the address.
        body: the body as it was sent.

    Raises:
        BadRequest: the request is not as the document has it.
    """
    operation = _document()["paths"][path][method.lower()]
    parameters = [_resolved(parameter) for parameter in operation.get("parameters", ())]
    schema = {
        "type": "object",
        "properties": {parameter["name"]: parameter["schema"] for parameter in parameters},
        "required": [parameter["name"] for parameter in parameters if parameter.get("required")],
        "additionalProperties": False,
    }
    values = {name: _parsed(name, text, schema) for name, text in query.items() if name not in HOST_PARAMETERS}
    asked: dict[str, Any] = _checked("", values, schema)
    if "requestBody" in operation:
        asked |= _checked("", _json(body), operation["requestBody"]["content"]["application/json"]["schema"])
    elif body:
        raise BadRequest("there is a body; allowed: none, everything is said in the address")
    return asked


def words(name: str, text: str) -> str:
    """The reason or the name that a person gives, without blanks around it.

    Raises:
        BadRequest: there is nothing of it, or something that cannot be seen.
    """
    if not _WORDS.fullmatch(text):
        raise BadRequest(
            f"{name} is {_shown(text)}; allowed: characters that can be seen, on one line, and one at least"
        )
    return text.strip()


# What can be seen: no controls, no marks that turn the direction of text, not blanks alone. openapi.json says the same.
_ACTS = r"\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_BLANK = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_WORDS = re.compile(f"[^{_ACTS}]*[^{_ACTS}{_BLANK}][^{_ACTS}]*")


def _json(body: bytes) -> Any:
    """The JSON value of a body; an empty object where there is no body."""
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(f"the body has {len(body)} bytes; allowed: at most {MAX_BODY_BYTES}")
    try:
        return json.loads(body, parse_constant=_refused, object_pairs_hook=_object) if body else {}
    except (ValueError, RecursionError) as exc:
        raise BadRequest(f"the body is not JSON ({exc}); allowed: a JSON object") from exc


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is none of its numbers")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{_shown(name)} occurs twice")
    return made


def _parsed(name: str, text: str, schema: Schema) -> Any:
    """The value that the text of a query parameter stands for; the text itself where it is no such value."""
    if _resolved(schema["properties"].get(name, {})).get("type") != "integer":
        return text
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text


def _checked(name: str, value: Any, schema: Schema) -> Any:
    """The value with the defaults put in; BadRequest if it is not as the schema has it."""
    schema = _resolved(schema)
    if "oneOf" in schema:
        return _checked(name, value, _one_of(name, value, schema))
    if not _is_of_type(value, schema.get("type")) or not _is_allowed(value, schema):
        raise _bad(name, value, schema)
    if isinstance(value, dict):
        return _checked_object(name, value, schema)
    if isinstance(value, list):
        return [_checked(f"{name}[{at}]", item, schema["items"]) for at, item in enumerate(value)]
    return int(value) if schema.get("type") == "integer" else value


def _checked_object(name: str, value: dict[str, Any], schema: Schema) -> dict[str, Any]:
    known = schema["properties"]
    for one in value:
        if one not in known:
            raise BadRequest(f"{_shown(_inside(name, one))} is not known; allowed: {', '.join(known) or 'nothing'}")
    for one in schema.get("required", ()):
        if one not in value:
            described = _resolved(known[one]).get("description", "")
            raise BadRequest(f"{_inside(name, one)} is missing; allowed: {described}")
    defaults = {one: _resolved(of)["default"] for one, of in known.items() if "default" in _resolved(of)}
    return defaults | {one: _checked(_inside(name, one), item, known[one]) for one, item in value.items()}


def _one_of(name: str, value: Any, schema: Schema) -> Schema:
    """The alternative that has the value's type."""
    for alternative in map(_resolved, schema["oneOf"]):
        if _is_of_type(value, alternative.get("type")):
            return {"description": schema["description"], **alternative}
    raise _bad(name, value, schema)


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _is_of_type(value: Any, type_name: str | None) -> bool:
    if type_name == "integer" and isinstance(value, float) and value.is_integer():
        return True
    if isinstance(value, bool) and type_name != "boolean":
        return False
    return type_name is None or isinstance(value, _TYPES[type_name])


def _is_allowed(value: Any, schema: Schema) -> bool:
    """Whether a value of the right type is within the schema's bounds."""
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        return False
    match value:
        case str():
            return _is_within(len(value), schema, "minLength", "maxLength") and _is_text(value, schema.get("pattern"))
        case list():
            are_unique = len({json.dumps(item) for item in value}) == len(value)
            return _is_within(len(value), schema, "minItems", "maxItems") and are_unique >= schema.get("uniqueItems", 0)
        case int() | float():
            return _is_within(value, schema, "minimum", "maximum")
        case _:
            return True


def _is_within(value: float, schema: Schema, least: str, most: str) -> bool:
    return not (value < schema.get(least, value) or value > schema.get(most, value))


def _is_text(value: str, pattern: str | None) -> bool:
    """Whether it has the pattern, and can be encoded: JSON may hold half a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return pattern is None or re.fullmatch(pattern, value) is not None


def _resolved(schema: Schema) -> Schema:
    """The schema that a ``$ref`` stands for, a description beside it kept."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Any = _document()
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return {**found, **{name: value for name, value in schema.items() if name != "$ref"}}


def _bad(name: str, value: Any, schema: Schema) -> BadRequest:
    return BadRequest(f"{name or 'the body'} is {_shown(value)}; allowed: {schema.get('description', 'a JSON object')}")


def _inside(name: str, one: str) -> str:
    return f"{name}.{one}" if name else one


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"
