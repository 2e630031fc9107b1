"""Text and lists from outside are shortened, at the boundary of a character, and say that something is missing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclaim.bounded import (
    Most,
    cut,
    cut_bytes,
    cut_for_json,
    cut_start,
    first_few,
    json_within,
    largest,
    shortened,
    tightened,
)

TEXTS = st.text(st.characters(codec=None), max_size=60)  # half surrogate pairs too


@given(TEXTS, st.integers(3, 80))
def test_a_text_takes_at_most_so_many_bytes_and_is_whole_where_it_fits(text: str, most: int) -> None:
    whole = text.encode(errors="backslashreplace").decode()

    start, end = cut(text, most), cut_start(text, most)

    assert max(len(start.encode()), len(end.encode())) <= most
    assert (start == whole) is (end == whole) is (len(whole.encode()) <= most)
    assert whole.startswith(start.removesuffix("…"))
    assert whole.endswith(end.removeprefix("…"))


@given(st.text(max_size=60), st.integers(3, 80))
def test_bytes_are_cut_between_characters(text: str, most: int) -> None:
    value = cut_bytes(text.encode(), most)

    assert len(value) <= most
    assert text.startswith(value.decode().removesuffix("…"))


def test_bytes_that_are_no_text_are_cut_too() -> None:
    assert cut_bytes(b"\xff" * 10, 10) == b"\xff" * 10
    assert cut_bytes(b"\xff" * 11, 10) == b"\xff" * 7 + "…".encode()
    assert len(cut_bytes(b"\x80" * 11, 10)) <= 10


@given(TEXTS, st.integers(10, 200))
def test_a_text_for_json_takes_at_most_so_many_bytes_there(text: str, most: int) -> None:
    kept = cut_for_json(text, most)

    assert len(json.dumps(kept)) <= most
    assert (kept == text) or (text.startswith(kept[:-1]) and len(json.dumps(text)) > most)


@pytest.mark.parametrize("most", [-5, 0, 2, 7])
def test_where_there_is_no_room_for_a_mark_nothing_is_left(most: int) -> None:
    assert cut_for_json("abcdefghij", most) == ""


def test_a_shortened_text_has_so_many_characters() -> None:
    assert [shortened("abcdef", most) for most in (6, 5, 2)] == ["abcdef", "abcd…", "a…"]


@pytest.mark.parametrize(
    ("names", "count", "told"),
    [
        ([], 0, ""),
        (["a"], 1, "a"),
        (["a", "b", "c"], 3, "a, b, c"),
        (["a", "b", "c", "d"], 5_000, "a, b, c and 4,997 more"),
        (["x" * 300], 2, "x" * 199 + "… and 1 more"),
    ],
)
def test_the_first_few_names_are_told_and_how_many_more(names: list[str], count: int, told: str) -> None:
    assert first_few(names, count) == told


def test_the_largest_counts_are_told_and_the_others_together() -> None:
    counts = {"a": 1, "b": 5, "c": 3, "d": 2}

    assert largest(counts, 4, 9, "others") == counts
    assert largest(counts, 2, 9, "others") == {"b": 5, "c": 3, "others": 3}
    assert largest({"name 1": 1, "name 2": 2}, 2, 5, "others") == {"name…": 3}
    assert largest({"others": 5, "b": 1, "c": 1}, 1, 9, "others") == {"others": 7}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | st.just("😀" * 3_000) | st.just("\x00" * 3_000),
    lambda inner: st.lists(inner, max_size=80) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from("abc"), JSON))
def test_json_keeps_its_names_and_fits(value: dict[str, object]) -> None:
    text = json_within(value, 16_000)

    assert json.loads(text).keys() == value.keys()
    if len(json.dumps(value)) <= 4_000 and text != json.dumps(value):
        assert value != tightened(value, Most(50, 300), depth=0)
