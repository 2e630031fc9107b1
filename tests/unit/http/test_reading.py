"""What a request is read as, and in which words one is refused; over HTTP the whole list of refusals is tested."""

import json
from typing import Any

import msgspec
import pytest

from reclaim.errors import BadRequest
from reclaim.http import reading
from reclaim.http.document import document
from reclaim.http.reading import read
from reclaim.http.requests import REQUESTS, CircuitChange, LatestFirst, Query, Replay, Run
from reclaim.http.routes import ROUTES


def body(**values: Any) -> bytes:
    return json.dumps(values).encode()


def test_what_is_left_out_has_its_default() -> None:
    """And what the host takes from the address is no parameter of ours."""
    assert read("list_runs", {"code": "key", "clientId": "default"}, b"") == LatestFirst(limit=50)
    assert read("run_now", {}, b"") == Run(budget_sec=200)
    assert read("set_circuit", {}, body(action="open", reason="x")) == CircuitChange(
        action="open", reason="x", who="somebody with a function key"
    )


def test_what_is_said_has_its_type() -> None:
    """JSON Schema calls 5.0 a whole number too, and 2 a number."""
    assert read("list_runs", {"target": "s/g", "limit": "7", "before": "1-0"}, b"") == LatestFirst(
        target="s/g", limit=7, before="1-0"
    )
    assert read("replay_dead_letters", {}, b'{"ids": ["1-0"], "limit": 5.0, "rate": 2}') == Replay(
        ids=["1-0"], limit=5, rate=2.0
    )


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"limit": "0"}, 'limit is "0"; allowed: a whole number from 1 to 100'),
        ({"before": "x" * 99}, f'before is "{"x" * 59}…; allowed: an ID as in 1700000000000-0'),
        ({"x": "1"}, '"x" is not known; allowed: target, limit, before'),
    ],
)
def test_a_query_is_refused_with_the_field_its_value_and_what_is_allowed(asked: dict[str, str], says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read("list_runs", asked, b"")

    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (b"[]", "the body is []; allowed: a JSON object"),
        (b"{}", "ids is missing; allowed: all, or a list of 1 to 1000 different IDs"),
        (b'{"ids": []}', "ids is []; allowed: all, or a list of 1 to 1000 different IDs"),
        (b'{"ids": ["1-0", "x"]}', 'ids[1] is "x"; allowed: an ID as in 1700000000000-0'),
        (
            b'{"ids": "all", "rate": null}',
            "rate is null; allowed: a number from 1 to 10000: replay at most this many each",
        ),
    ],
)
def test_a_body_is_refused_in_the_same_words(asked: bytes, says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read("replay_dead_letters", {}, asked)

    assert str(caught.value).startswith(says)


def test_a_refusal_without_a_place_tells_what_msgspec_says() -> None:
    """Should it ever say where a value is wrong in other words, the request is refused all the same."""
    refused = reading._bad("something is wrong", {"ids": "all"}, {})

    assert str(refused).startswith('the body is {"ids": "all"} (something is wrong); allowed: a JSON object')


def test_every_route_has_a_request_type_and_a_place_in_the_document() -> None:
    """One list of operations, three times: as functions, as types, and for clients."""
    made = document(["s/g"])["paths"]
    operations = {
        one["operationId"]: (method.upper(), path) for path, methods in made.items() for method, one in methods.items()
    }

    open_to_all = {"dashboard", "dashboard_file", "get_health"}  # they take nothing, and no key
    assert {name: route for name, route in operations.items() if name not in open_to_all} == ROUTES
    assert REQUESTS.keys() == ROUTES.keys()


@pytest.mark.parametrize("kind", [kind for kind in dict.fromkeys(REQUESTS.values()) if kind.__struct_fields__])
def test_every_field_says_what_is_allowed(kind: type[msgspec.Struct]) -> None:
    """A refusal quotes the description, so none may lack it."""
    (schema,) = (found for name, found in reading.schemas().items() if name == kind.__name__)

    assert all(field["description"] for field in schema["properties"].values())
    assert issubclass(kind, Query) or schema["additionalProperties"] is False
