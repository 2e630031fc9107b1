"""The format of saved dead letters: what is written comes back byte for byte, and what is wrong is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclaim.entry import Entry, readable
from reclaim.errors import BadRequest
from reclaim.ops.saved import letter_of, line_of
from reclaim.state.dead_letters import DeadLetter

ids = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(lambda two: b"%d-%d" % two)
bodies = st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=20))).map(
    lambda pairs: [part for pair in pairs for part in pair]
)
words = st.text(st.characters(codec="utf-8"), max_size=20)
entries = st.tuples(ids, bodies, st.binary(max_size=8), st.just(0), st.integers(0, 10**17)).map(
    lambda them: Entry(*them)
)
letters = st.builds(DeadLetter, ids, entries, words, words, words, words)


@given(letter=letters)
def test_a_saved_dead_letter_comes_back_byte_for_byte(letter: DeadLetter) -> None:
    """On one line of ASCII."""
    line = line_of(letter)
    assert line.isascii()
    assert "\n" not in line
    assert letter_of(line.encode(), "line 1") == letter


@given(letter=letters)
def test_what_lists_print_of_a_dead_letter_can_be_read_too(letter: DeadLetter) -> None:
    """Text is shown with escapes there: the base64 counts."""
    assert letter_of(json.dumps(letter.to_dict(readable)), "line 1") == letter


def test_what_is_not_needed_to_handle_the_entry_may_be_missing() -> None:
    """And what this release does not know is ignored."""
    line = '{"entry_id": "5-1", "fields": [{"name": {"text": "a"}, "value": {"base64": "/w=="}}], "later": [1]}'
    assert letter_of(line, "line 1").entry == Entry(b"5-1", [b"a", b"\xff"], b"", 0, 0)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("{", "line 7 is no JSON"),
        ("[" * 100_000, "line 7 is no JSON"),
        ("[1]", "line 7 holds"),
        ("{}", "line 7 is no dead letter"),
        ('{"entry_id": "1-0", "fields": {}}', "line 7 is no dead letter"),
        ('{"entry_id": "1", "fields": []}', 'line 7: entry_id is "1"'),
        ('{"entry_id": 5, "fields": []}', "line 7: entry_id"),
        ('{"entry_id": "1-0", "id": "x", "fields": []}', 'line 7: id is "x"'),
        ('{"entry_id": "1-0", "fields": ["a"]}', 'line 7: a field is "a"'),
        ('{"entry_id": "1-0", "fields": [{"name": {"text": "a"}}]}', "line 7: a field's value is null"),
        ('{"entry_id": "1-0", "fields": [{"name": {"base64": "a"}, "value": {}}]}', "line 7: a field's name is no"),
        ('{"entry_id": "1-0", "fields": [{"name": {"text": "\\ud800"}, "value": {}}]}', "half a surrogate pair"),
        ('{"entry_id": "1-0", "fields": [], "error": [1]}', "line 7: error is"),
        ('{"entry_id": "1-0", "fields": [], "consumer": "\\\\x1"}', "line 7: consumer is"),
        ('{"entry_id": "1-0", "fields": [], "deliveries": -1}', "line 7: deliveries is"),
        ('{"entry_id": "1-0", "fields": [], "deliveries": 1e3}', "line 7: deliveries is"),
        ('{"entry_id": "1-0", "fields": [], "format": 2}', "line 7 is in format 2, of a newer release"),
    ],
)
def test_what_is_no_dead_letter_is_refused_by_name(line: str, wrong: str) -> None:
    """Nothing else is raised."""
    with pytest.raises(BadRequest, match="allowed: ") as caught:
        letter_of(line, "line 7")
    assert wrong in str(caught.value)


def test_what_a_newer_release_has_written_is_not_saved() -> None:
    """Something of it might be missing in the file."""
    letter = DeadLetter.read(b"1-0", [b"format", b"2", b"field:a", b"b"])
    with pytest.raises(ValueError, match="of a newer release"):
        line_of(letter)
