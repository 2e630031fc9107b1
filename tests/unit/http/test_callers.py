"""Whose name a request has: the platform's, where it signs people in; forged headers count nowhere else."""

import base64
import json

import pytest

from reclaim.http.callers import caller
from reclaim.state.audit import Actor

ON = {"WEBSITE_AUTH_ENABLED": "True"}


def principal(**said: object) -> str:
    return base64.b64encode(json.dumps(said).encode()).decode()


ANN = principal(name_typ="name", claims=[{"typ": "oid", "val": "1"}, {"typ": "name", "val": "Ann"}])


@pytest.mark.parametrize("env", [{}, {"WEBSITE_AUTH_ENABLED": "False"}, {"WEBSITE_AUTH_ENABLED": ""}])
def test_headers_of_the_platform_are_ignored_where_it_signs_nobody_in(env: dict[str, str]) -> None:
    headers = {"X-MS-CLIENT-PRINCIPAL-NAME": "the boss", "X-MS-CLIENT-PRINCIPAL": ANN}

    assert caller(headers, env).actor("bob") == Actor("bob", "http", "")


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({"X-MS-CLIENT-PRINCIPAL-NAME": "ann@example.com", "X-MS-CLIENT-PRINCIPAL": ANN}, "ann@example.com"),
        ({"x-ms-client-principal": ANN}, "Ann"),
        ({"x-ms-client-principal": "!!"}, "bob"),
        ({"x-ms-client-principal": principal(claims=[])}, "bob"),
        ({"x-ms-client-principal": principal(name_typ="name", claims=[{"typ": "name"}])}, "bob"),
        ({"X-MS-CLIENT-PRINCIPAL-NAME": "\x1b[31mred\u202e"}, "\\x1b[31mred\\u202e"),
        ({"X-MS-CLIENT-PRINCIPAL-NAME": "a" * 500}, "a" * 99 + "…"),
        ({"X-MS-CLIENT-PRINCIPAL-NAME": "  "}, "bob"),
        ({}, "bob"),
    ],
)
def test_the_name_is_the_one_that_was_signed_in(headers: dict[str, str], who: str) -> None:
    """Not the one that the request says; bounded, and without anything that steers a terminal."""
    assert caller(headers, ON).actor("bob").who == who


def test_the_address_is_the_one_that_the_front_end_has_seen() -> None:
    """Those before it may be forged; where there is no front end, all of them."""
    headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9:51234"}

    assert caller(headers, {"WEBSITE_INSTANCE_ID": "1"}).place == "203.0.113.9:51234"
    assert caller(headers, {}).place == ""
