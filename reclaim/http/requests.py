"""Owns the types of HTTP requests: one for each operation, with the bounds and a description of each field.

reading.py reads requests into these types, and document.py makes the OpenAPI document from them. So one place says what
is allowed. The first request imports msgspec; an import of the function app does not.
"""

from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from reclaim import visible
from reclaim.errors import BadRequest, shown
from reclaim.ops.words import MAX_REASON_CHARS, MAX_WHO_CHARS
from reclaim.times import MOMENT, MOMENT_ALLOWED

_ID = "(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})"
_SOME_IDS = (
    "all, or a list of 1 to 1000 different IDs of dead letters, or of their entries; an ID that is a dead letter's own"
    " means that one"
)
_END = r"$(?!\n)"  # Python's $ also matches before a newline at the end

Target = Annotated[str, Meta(description="a target of this app, as stream/group")]
Id = Annotated[str, Meta(pattern=f"^{_ID}{_END}", description="an ID as in 1700000000000-0")]
Who = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_WHO_CHARS,
        pattern=visible.ONE_LINE,
        description=f"1 to {MAX_WHO_CHARS} characters on one line that can be seen, not all of them blank: the person's"
        " name; where App Service Authentication has signed a person in, that name counts in its place",
    ),
]
Why = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_REASON_CHARS,
        pattern=visible.ONE_LINE,
        description=f"1 to {MAX_REASON_CHARS} characters on one line that can be seen, not all of them blank: the"
        " reason",
    ),
]
Limit = Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")]


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    """A request whose fields are all in the address."""


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """A request whose fields are all in its body, a JSON object."""


class Nothing(Query, frozen=True):
    """A request without any fields."""


class GetStatus(Query, frozen=True):
    """Which target to tell of in full; without one, the worst."""

    target: Target | UnsetType = UNSET


class LatestFirst(Query, frozen=True):
    """Which page of a list that begins with the latest."""

    target: Target | UnsetType = UNSET
    limit: Limit = 50
    before: Id | UnsetType = UNSET


Words = Annotated[str, Meta(min_length=1, max_length=500, description="1 to 500 characters")]
When = Annotated[str, Meta(pattern=f"^{MOMENT}{_END}", description=MOMENT_ALLOWED)]


class Filter(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What dead letters must be like; they must fit all that is said."""

    reason: Annotated[Words, Meta(description="1 to 500 characters: why it became a dead letter")] | UnsetType = UNSET
    error: Annotated[Words, Meta(description="1 to 500 characters: a part of its error")] | UnsetType = UNSET
    error_group: (
        Annotated[Words, Meta(description="1 to 500 characters: an error_group, as /dead-letters/groups names it")]
        | UnsetType
    ) = UNSET
    consumer: Annotated[Words, Meta(description="1 to 500 characters: who had the entry")] | UnsetType = UNSET
    since: When | UnsetType = UNSET
    until: When | UnsetType = UNSET
    text: Annotated[Words, Meta(description="1 to 500 characters: a part of a value in its body")] | UnsetType = UNSET
    entry_id: (
        Annotated[
            str,
            Meta(
                pattern=f"^{_ID}(,{_ID}){{0,99}}{_END}",
                description="1 to 100 IDs of entries with commas between, as in 1700000000000-0,1700000000000-1",
            ),
        ]
        | UnsetType
    ) = UNSET


class SomeLetters(Filter, Query, frozen=True, kw_only=True):
    """Which dead letters to look at, and where to go on."""

    target: Target | UnsetType = UNSET
    order: Annotated[Literal["oldest", "newest"], Meta(description="oldest or newest: which come first")] = "oldest"
    after: Id | UnsetType = UNSET


class Letters(SomeLetters, frozen=True, kw_only=True):
    """Which dead letters to list, and how."""

    limit: Limit = 50
    format: Annotated[
        Literal["json", "jsonl", "csv"],
        Meta(
            description="json; or jsonl or csv, for a file: there bodies are whole, and the page's X-Reclaim-Next says"
            " where to go on"
        ),
    ] = "json"


class Pending(Query, frozen=True):
    """Which pending entries to list."""

    target: Target | UnsetType = UNSET
    consumer: Annotated[Words, Meta(description="1 to 500 characters: who has them")] | UnsetType = UNSET
    limit: Limit = 50
    after: Id | UnsetType = UNSET


class Discard(Filter, Query, frozen=True, kw_only=True):
    """Which dead letters to remove."""

    ids: Annotated[
        str,
        Meta(
            pattern=f"^(all|{_ID}(,{_ID}){{0,99}}){_END}",
            description="all, or 1 to 100 IDs of dead letters, or of their entries, with commas between, as in"
            " 1700000000000-0,1700000000000-1; an ID that is a dead letter's own means that one",
        ),
    ]
    who: Who
    why: Why
    target: Target | UnsetType = UNSET
    upto: (
        Annotated[Id, Meta(description="an ID: with all, remove only those up to this one; ignored with a list of IDs")]
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
            description="a number from 1 to 200: end the run within this many seconds (RUN_BUDGET_SEC if less)",
        ),
    ] = 200
    park_misfits: Annotated[
        bool,
        Meta(
            description="true or false: make dead letters of the entries that HASH_KEY does not fit, though it fits"
            " none that were looked at; who asked is logged"
        ),
    ] = False
    who: Who = "somebody with a function key"


class Replay(Filter, Body, frozen=True, kw_only=True):
    """Which dead letters to handle once more, and how."""

    ids: Annotated[
        Literal["all"]
        | Annotated[list[Id], Meta(min_length=1, max_length=1000, extra_json_schema={"uniqueItems": True})],
        Meta(description=_SOME_IDS),
    ]
    target: Target | UnsetType = UNSET
    upto: (
        Annotated[
            Id,
            Meta(
                description="an ID: with all, replay only dead letters up to this one, so that a dead letter that fails"
                " again, and gets a new ID, is not tried twice; ignored with a list of IDs"
            ),
        ]
        | UnsetType
    ) = UNSET
    limit: (
        Annotated[
            int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000: replay at most this many")
        ]
        | UnsetType
    ) = UNSET
    rate: (
        Annotated[
            float, Meta(ge=1, le=10_000, description="a number from 1 to 10000: replay at most this many each second")
        ]
        | UnsetType
    ) = UNSET
    dry_run: Annotated[bool, Meta(description="true or false: only count what would be replayed")] = False
    even_if_open: Annotated[bool, Meta(description="true or false: replay even if the circuit is open")] = False
    who: Who = "somebody with a function key"
    budget_sec: Annotated[
        float, Meta(ge=1, le=200, description="a number from 1 to 200: begin nothing after this many seconds")
    ] = 60

    def __post_init__(self) -> None:
        """Refuse an ID that is there twice: msgspec does not check JSON Schema's uniqueItems."""
        if len(set(self.ids)) < len(self.ids) and self.ids != "all":
            raise BadRequest(f"ids is {shown(self.ids)}", _SOME_IDS)


class CircuitChange(Body, frozen=True):
    """Whether to open or to close the circuit, why, and who decides."""

    action: Annotated[Literal["open", "close"], Meta(description="open or close")]
    reason: Why
    target: Target | UnsetType = UNSET
    who: Who = "somebody with a function key"


class Access(Body, frozen=True):
    """A request without any fields: the key alone is asked about."""


# The type of each operation's request, by the operation's ID. The ID is also the name of the function on Azure.
REQUESTS: dict[str, type[Query] | type[Body]] = {
    "get_status": GetStatus,
    "list_runs": LatestFirst,
    "run_now": Run,
    "list_dead_letters": Letters,
    "group_dead_letters": SomeLetters,
    "replay_dead_letters": Replay,
    "discard_dead_letters": Discard,
    "list_lost": LatestFirst,
    "set_circuit": CircuitChange,
    "list_pending": Pending,
    "list_audit": LatestFirst,
    "get_metrics": Nothing,
    "check_access": Access,
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
