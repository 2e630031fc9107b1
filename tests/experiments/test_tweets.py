"""Each claim of the tweets' experiment fails where what was found does not bear it out."""

from collections.abc import Callable
from typing import Any

import pytest

from dev.tweets import tweets
from experiments.tweets import QUERIES, Found, _document, claims


def good() -> Found:
    dropped = {f"processor-{number}": 60 for number in range(1, 5)}
    return Found(produced=1_000, dropped=dropped, readers=4, searched=dict.fromkeys(QUERIES, (9, 9, 0)))


TAMPERED: dict[str, Callable[[Found], Any]] = {
    "Four processors read": lambda one: setattr(one, "readers", 3),
    "Nothing is pending": lambda one: setattr(one, "pending", 1),
    "Every tweet is a hash": lambda one: setattr(one, "wrong", 1),
    "All seven queries": lambda one: one.searched.update({"hello": (9, 9, 2)}),
}


def test_all_hold_where_all_is_well() -> None:
    assert [claim.holds for claim in claims(good())] == [True] * len(TAMPERED)


@pytest.mark.parametrize("begins", TAMPERED)
def test_a_claim_fails_where_it_is_not_borne_out(begins: str) -> None:
    found = good()
    TAMPERED[begins](found)
    assert [claim.text.startswith(begins) for claim in claims(found) if not claim.holds] == [True]


def test_a_query_that_finds_nothing_shows_nothing() -> None:
    found = good()
    found.searched["hello"] = (0, 0, 0)
    assert [claim.text[:9] for claim in claims(found) if not claim.holds] == ["All seven"]


def test_the_plain_scan_means_what_the_queries_mean() -> None:
    """By hand, of one tweet."""
    (tweet,) = tweets(1)
    made = dict(zip(tweet[::2], tweet[1::2], strict=True))
    made |= {b"user": b"John_7", b"text": b"Say HELLO, world!", b"location": b"India", b"hashtags": b"Covid,cats"}
    one = _document([part for pair in made.items() for part in pair])
    assert [query for query, is_meant in QUERIES.items() if is_meant(one)] == list(QUERIES)
    other = _document(
        [b"id", b"1", b"user", b"mary", b"text", b"hellos", b"location", b"", b"hashtags", b"m\xc3\xa9decine"]
    )
    assert [query for query, is_meant in QUERIES.items() if is_meant(other)] == []
