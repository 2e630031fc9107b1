"""An entry gives bytes as Redis has them, and text, JSON and dicts of them; what cannot be decoded is a bad entry."""

import pytest

from reclaim import Entry, RejectEntry


def test_an_entry_for_a_test_is_made_of_what_redis_would_keep() -> None:
    entry = Entry.of({"name": "Ada", b"raw": b"\xff", "count": 3}, id="7-1", deliveries=2, is_last_delivery=True)

    assert entry == Entry(
        b"7-1", (b"name", b"Ada", b"raw", b"\xff", b"count", b"3"), b"", 0, 2, "stream", "group", is_last_delivery=True
    )


def test_text_and_json_are_decoded() -> None:
    entry = Entry.of({"text": "grüße", "data": '{"a": [1, null]}'})

    assert (entry.get("text"), entry.text("text"), entry.json("data")) == (
        "grüße".encode(),
        "grüße",
        {"a": [1, None]},
    )


def test_a_name_that_occurs_twice_is_there_twice_in_items_and_last_elsewhere() -> None:
    entry = Entry.of([("tag", "a"), ("id", "1"), ("tag", "b")])

    assert entry.items() == [("tag", "a"), ("id", "1"), ("tag", "b")]
    assert entry.dict() == {"tag": "b", "id": "1"}
    assert entry.text("tag") == "b"


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda entry: entry.text("missing"), "there is no field 'missing'"),
        (lambda entry: entry.json(b"missing"), "there is no field 'missing'"),
        (lambda entry: entry.text("raw"), "the field 'raw' is not UTF-8"),
        (lambda entry: entry.json("raw"), "the field 'raw' is no JSON"),
        (lambda entry: entry.json("deep"), "the field 'deep' is no JSON"),
        (lambda entry: entry.items(), "the field 'raw' is not UTF-8"),
        (lambda entry: entry.dict(), "the field 'raw' is not UTF-8"),
    ],
    ids=range(7),
)
def test_what_cannot_be_decoded_is_a_bad_entry(ask: object, told: str) -> None:
    entry = Entry.of({"deep": "[" * 100_000, "raw": b"\xff"})

    with pytest.raises(RejectEntry, match=told):
        ask(entry)


def test_what_redis_would_not_take_is_refused() -> None:
    with pytest.raises(TypeError, match="None is no part of an entry"):
        Entry.of({"text": None})


@pytest.mark.parametrize("pairs", [[("a",)], [("a", "b", "c")], ["abc"]])
def test_what_is_no_pair_is_refused(pairs: list) -> None:
    """Else the entry would have a name without a value."""
    with pytest.raises(TypeError, match="allowed: pairs of a name and a value"):
        Entry.of(pairs)
