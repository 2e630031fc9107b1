"""The kinds of settings: what each one reads, what it refuses, and how it writes a value back."""

from typing import Any

import pytest

from reclaim import kinds
from reclaim.errors import SettingsError
from reclaim.kinds import Kind
from reclaim.reading import REQUIRED, Reader, Setting

OF_NAMES = "allowed: dotted names with commas between them, as in asyncpg.CannotConnectNowError"
OF_CLIENT_ID = "allowed: a GUID: the identity's client ID, not its name, its resource ID or a secret"
OF_AUDIENCE = "allowed: an application ID URI or an application's ID, as in api://orders, without user or query"
OF_OBJECT = 'allowed: a JSON object of strings, as in {"name": "value"}'


def read(kind: Kind[Any], value: object) -> Any:
    """What a setting of this kind makes of a value.

    Raises:
        SettingsError: it refuses the value.
    """
    reader = Reader({"NAME": value})
    made = reader.read(Setting("NAME", None, kind, "a setting"))
    if reader.problems:
        raise SettingsError(reader.problems)
    return made


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (kinds.TEXT, " a b\n", "a b"),
        (kinds.SECRET, " a b \n", " a b "),
        (kinds.whole(1, 9), "9", 9),
        (kinds.whole(1, 9), 9, 9),
        (kinds.number(0, 1), "0.5", 0.5),
        (kinds.milliseconds(0.001, 10), "0.25", 250),
        (kinds.BOOLEAN, "Yes", True),
        (kinds.BOOLEAN, False, False),
        (kinds.choice("json", "text"), "JSON", "json"),
        (kinds.either("auto", other=kinds.whole(0, 9)), "Auto", "auto"),
        (kinds.either("auto", other=kinds.whole(0, 9)), 3, 3),
        (kinds.either("hash", "http", other=kinds.FUNCTION), "my.handlers:handle", "my.handlers:handle"),
        (kinds.NAMES, "a.B, c_1.d.E ,F,", ("a.B", "c_1.d.E", "F")),
        (kinds.OBJECT, '{"x-key": "s3cret"}', {"x-key": "s3cret"}),
        (kinds.OBJECT, {"x-key": "s3cret"}, {"x-key": "s3cret"}),
        (kinds.WEB_ADDRESS, "https://host/path?a=b", "https://host/path?a=b"),
        *(
            (kinds.WEB_ADDRESS, f"https://{host}/", f"https://{host}/")
            for host in (
                "user:p4ss@host:1",
                "10.0.0.1",
                "[fe80::1]:80",
                "my_service",
                "ü.example",
                "host.",
                "1.2.3.com",
            )
        ),
        (kinds.CLIENT_ID, " 0F8FAD5B-D9CB-469F-A165-70867728950E\n", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        (kinds.AUDIENCE, "api://orders", "api://orders"),
        (kinds.AUDIENCE, "https://orders.example.com/", "https://orders.example.com/"),
        (kinds.AUDIENCE, "api://orders/.default", "api://orders"),
        (kinds.AUDIENCE, "0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ],
)
def test_a_good_value_is_read(kind: Kind[Any], given: object, value: object) -> None:
    assert read(kind, given) == value


# Each of these a client refuses to ask, for every entry and every alert.
NO_HOSTS = [
    f"https://{host}/"
    for host in ("", "a b", "x..y", ".example", "a" * 64, "999.1.1.1", "1.2.3", "*", "a%20b", "[::1", "ü" * 64)
]


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (kinds.choice("json", "text"), "xml", "'xml'; allowed: json or text"),
        (kinds.either("auto", other=kinds.whole(0, 9)), "10", "'10'; allowed: auto or a whole number from 0 to 9"),
        (kinds.CLIENT_ID, "my-identity", f"'***'; {OF_CLIENT_ID}"),
        (kinds.CLIENT_ID, "/subscriptions/1/resourceGroups/g", f"'***'; {OF_CLIENT_ID}"),
        (kinds.AUDIENCE, "orders", f"'***'; {OF_AUDIENCE}"),
        (kinds.AUDIENCE, "https://user:secret@orders/", f"'***'; {OF_AUDIENCE}"),
        (kinds.AUDIENCE, "https://orders/?code=secret", f"'***'; {OF_AUDIENCE}"),
        (kinds.AUDIENCE, "api://orders api://others", f"'***'; {OF_AUDIENCE}"),
        (kinds.NAMES, "a b", f"'a b'; {OF_NAMES}"),
        (kinds.NAMES, "a..b", f"'a..b'; {OF_NAMES}"),
        (kinds.NAMES, "1a", f"'1a'; {OF_NAMES}"),
        (kinds.secret(kinds.OBJECT), '{"a": 1}', f"'***'; {OF_OBJECT}"),
        (kinds.secret(kinds.OBJECT), {"s3cret": 1}, f"'***'; {OF_OBJECT}"),
        (kinds.secret(kinds.OBJECT), "s3cret", f"'***'; {OF_OBJECT} (Expecting value in line 1, column 1)"),
        (kinds.secret(kinds.OBJECT), "[]", f"'***'; {OF_OBJECT}"),
        (kinds.secret(kinds.WEB_ADDRESS), "https://[s3cret/", "'***'; allowed: a web address, as in https://host/path"),
        (kinds.secret(kinds.WEB_ADDRESS), ["s3cret"], "***; allowed: a string"),
        (kinds.WEB_ADDRESS, "https://host:port/", "'https://host:port/'; allowed: a web address, as in https://host/path"),
        *((kinds.WEB_ADDRESS, url, f"{url!r}; allowed: a web address, as in https://host/path") for url in NO_HOSTS),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_with_what_is_allowed(kind: Kind[Any], value: object, told: str) -> None:
    """Nothing of a secret is shown, not even by the library that found it bad."""
    with pytest.raises(SettingsError) as caught:
        read(kind, value)

    assert caught.value.problems == [f"NAME is {told}"]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (kinds.whole(0, 10**6), 100_000, "100000"),
        (kinds.number(0, 9), 2.0, "2"),
        (kinds.milliseconds(0.001, 10), 250, "0.25"),
        (kinds.BOOLEAN, True, "true"),
        (kinds.TEXT, "a b", "a b"),
    ],
)
def test_a_value_is_written_as_it_would_be_read(kind: Kind[Any], value: object, text: str) -> None:
    """So that a default can be shown in the words of the environment."""
    assert kind.write(value) == text
    assert read(kind, text) == value


def test_a_setting_that_is_required_is_missing_where_it_is_empty() -> None:
    """And is told of once."""
    reader = Reader({"NAME": " "})

    assert reader.read(Setting("NAME", REQUIRED, kinds.TEXT, "a setting")) == ""
    assert reader.problems == ["NAME is missing"]
