"""Owns what HTTP requests may say: a type for each operation, and the reading of requests into these types.

The OpenAPI document is made from the same types (document.py), so that what is allowed stands in one place. The first
request imports msgspec; an import of the function app does not.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from reclaim import visible
from reclaim.errors import BadRequest, shown
from reclaim.ops.operations import MAX_REASON_CHARS, MAX_WHO_CHARS

MAX_BODY_BYTES = 65_536

# What the Functions host itself takes from the query: a key, and which key it is.
HOST_PARAMETERS = frozenset({"code", "clientId"})

_ID = "(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})"
_END = r"$(?!\n)"  # Python's $ also matches before a newline at the end

Target = Annotated[str, Meta(description="a target of this app, as stream/group")]
Id = Annotated[str, Meta(pattern=f"^{_ID}{_END}", description="an ID as in 1700000000000-0")]
Limit = Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")]


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything is said in the address."""


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything is said in a JSON object."""


class Nothing(Query, frozen=True):
    """Nothing is said."""


class LatestFirst(Query, frozen=True):
    """Which page of a list that begins with the latest."""

    target: Target | UnsetType = UNSET
    limit: Limit = 50
    before: Id | UnsetType = UNSET


class OldestFirst(Query, frozen=True):
    """Which page of a list that begins with the oldest."""

    target: Target | UnsetType = UNSET
    limit: Limit = 50
    after: Id | UnsetType = UNSET


class Discard(Query, frozen=True):
    """Which dead letters to remove."""

    ids: Annotated[
        str,
        Meta(
            pattern=f"^(all|{_ID}(,{_ID}){{0,99}}){_END}",
            description="all, or 1 to 100 IDs with commas between, as in 1700000000000-0,1700000000000-1",
        ),
    ]
    target: Target | UnsetType = UNSET
    upto: (
        Annotated[
            Id, Meta(description="an ID: of all, remove only those up to this one; it means nothing with a list of IDs")
        ]
        | UnsetType
    ) = UNSET


class Run(Body, frozen=True):
    """What to run now; without a target, all of them."""

    target: Target | UnsetType = UNSET
    budget_sec: Annotated[
        float,
        Meta(
            ge=1,
            le=200,
            description="a number from 1 to 200: end the run in so many seconds; RUN_BUDGET_SEC if that is less",
        ),
    ] = 200


class Replay(Body, frozen=True):
    """Which dead letters to handle once more, and how."""

    ids: Annotated[
        Literal["all"]
        | Annotated[list[Id], Meta(min_length=1, max_length=1000, extra_json_schema={"uniqueItems": True})],
        Meta(description="all, or a list of 1 to 1000 different IDs"),
    ]
    target: Target | UnsetType = UNSET
    upto: (
        Annotated[
            Id,
            Meta(
                description="an ID: of all, replay only those up to this one, so that one that fails again, and gets a"
                " new ID, is not tried twice; it means nothing with a list of IDs"
            ),
        ]
        | UnsetType
    ) = UNSET
    limit: (
        Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000: replay at most so many")]
        | UnsetType
    ) = UNSET
    rate: (
        Annotated[
            float, Meta(ge=1, le=10_000, description="a number from 1 to 10000: replay at most so many each second")
        ]
        | UnsetType
    ) = UNSET
    dry_run: Annotated[bool, Meta(description="true or false: only say how many would be replayed")] = False
    even_if_open: Annotated[bool, Meta(description="true or false: replay although the circuit is open")] = False
    budget_sec: Annotated[
        float, Meta(ge=1, le=200, description="a number from 1 to 200: begin nothing after so many seconds")
    ] = 60

    def __post_init__(self) -> None:
        """JSON Schema's uniqueItems is none of msgspec's constraints."""
        if len(set(self.ids)) < len(self.ids) and self.ids != "all":
            raise BadRequest(f"ids is {shown(self.ids)}", described(Replay)["ids"]["description"])


class CircuitChange(Body, frozen=True):
    """Whether to open or to close the circuit, why, and who decides."""

    action: Annotated[Literal["open", "close"], Meta(description="open or close")]
    reason: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_REASON_CHARS,
            pattern=visible.ONE_LINE,
            description=f"1 to {MAX_REASON_CHARS} characters on one line that can be seen, not all of them blank",
        ),
    ]
    target: Target | UnsetType = UNSET
    who: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_WHO_CHARS,
            pattern=visible.ONE_LINE,
            description=f"1 to {MAX_WHO_CHARS} characters on one line that can be seen, not all of them blank: the"
            " person's name",
        ),
    ] = "somebody with a function key"


# By the operation's ID in the document, which is also the name of the function on Azure.
REQUESTS: dict[str, type[Query] | type[Body]] = {
    "get_status": Nothing,
    "list_runs": LatestFirst,
    "run_now": Run,
    "list_dead_letters": OldestFirst,
    "replay_dead_letters": Replay,
    "discard_dead_letters": Discard,
    "list_lost": LatestFirst,
    "set_circuit": CircuitChange,
    "openapi": Nothing,
}


@cache
def schemas() -> dict[str, Any]:
    """The JSON Schema of each request type, by the type's name."""
    _, found = msgspec.json.schema_components(REQUESTS.values(), ref_template="#/components/schemas/{name}")
    return found


def described(kind: type[Query] | type[Body]) -> dict[str, Any]:
    """The JSON Schema of each of the type's fields."""
    found: dict[str, Any] = schemas()[kind.__name__]["properties"]
    return found


def read(operation_id: str, query: Mapping[str, str], body: bytes) -> Any:
    """The request of an operation, as the operation's type in REQUESTS.

    Args:
        operation_id: as in the document.
        query: the parameters in the address.
        body: the body as it was sent.

    Raises:
        BadRequest: the request is not as its type asks for.
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
    """The JSON value of a body; an empty object where there is no body."""
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(f"the body has {len(body)} bytes", f"at most {MAX_BODY_BYTES}")
    try:
        return json.loads(body, **_STRICTLY) if body else {}
    except (ValueError, RecursionError) as exc:
        raise BadRequest(f"the body is not JSON ({exc})", "a JSON object") from exc


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is none of its numbers")


def _number(text: str) -> float:
    """JSON Schema calls 5.0 an integer too."""
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


_PLACE = re.compile(r"`\$\.(\w+)(?:\[(\d+)\])?`$")  # at the end of what msgspec says


def _bad(said: str, values: Mapping[str, Any], fields: Mapping[str, Any]) -> BadRequest:
    """The error in the words that all of ours have: the field, its value, what is allowed."""
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
