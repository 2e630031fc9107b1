"""Reasons that differ only in what differs from entry to entry are one; a person is told the most frequent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclaim.reasons import MAX_REASONS, OTHER_REASONS, Reasons, masked, top_reasons


@pytest.mark.parametrize(
    ("reason", "as_one"),
    [
        ("ValueError: bad (order 3)", "ValueError: bad (order #)"),
        ("ValueError: 12.50 EUR on 2026-11-26T01:02:03Z", "ValueError: # EUR on #-#-#T#:#:#Z"),
        ("a.b.Error5: id 0xDEADbeef", "a.b.Error5: id #"),
        ("E: no user 6f1c2d3e-0000-4aaa-8bbb-123456789abc here", "E: no user # here"),
        ("E: commit 9f86d081884c7d65 is gone", "E: commit # is gone"),
        ("E: defaced effaced", "E: defaced effaced"),
        ("E: no stock of 'A-7' and \"b\" and `c`", "E: no stock of '…' and \"…\" and `…`"),
        ("E: can't, won't, shan't", "E: can't, won't, shan't"),
        ("KeyError: 'sku'", "KeyError: 'sku'"),
        ("KeyError: 'sku-17'", "KeyError: 'sku-#'"),
        ("E: 'a' is not 'b'", "E: '…' is not '…'"),
        ("delivered 6 times; MAX_DELIVERIES is 5", "delivered # times; MAX_DELIVERIES is #"),
        ("TimeoutError", "TimeoutError"),
        ("", ""),
    ],
)
def test_what_differs_from_entry_to_entry_is_masked(reason: str, as_one: str) -> None:
    assert masked(reason) == as_one


MESSAGES = st.text(st.sampled_from("ab5x#…'\"`-.,: \n\u0661(0") | st.characters(), max_size=30)


@given(MESSAGES)
def test_what_is_masked_stays_as_it_is(reason: str) -> None:
    assert masked(masked(reason)) == masked(reason)


def test_a_reason_is_told_as_it_was_said_until_it_is_said_in_other_words() -> None:
    reasons = Reasons()

    new = [reasons.add(f"ValueError: bad (order {number})", 2) for number in (0, 0, 3)]
    reasons.add("KeyError: 'sku'")
    reasons.add("ValueError: 2 of 3")
    reasons.add("ValueError: 2 of 3")

    assert new == [True, False, False]
    assert reasons.counts() == {"ValueError: bad (order #)": 6, "KeyError: 'sku'": 1, "ValueError: 2 of 3": 2}


def test_reasons_beyond_the_first_twenty_are_one() -> None:
    reasons = Reasons()

    new = [reasons.add("E" * number) for number in range(1, 30)]
    reasons.add("E")
    reasons.add(OTHER_REASONS, 5)

    assert new == [True] * MAX_REASONS + [False] * 9
    assert len(reasons.counts()) == MAX_REASONS + 1
    assert (reasons.counts()["E"], reasons.counts()[OTHER_REASONS]) == (2, 14)


def test_the_counts_of_two_runs_come_together() -> None:
    reasons = Reasons()
    reasons.add_all({"E: 1": 2, OTHER_REASONS: 1})
    reasons.add_all({"E: 2": 3, OTHER_REASONS: 1})

    assert reasons.counts() == {"E: #": 5, OTHER_REASONS: 2}


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({}, ""),
        ({"a": 1}, "a (1)"),
        ({"a": 1, "b": 3_000, OTHER_REASONS: 7, "c": 2, "d": 1}, "b (3,000); c (2); a (1); other reasons (8)"),
        ({"x" * 500: 1}, "x" * 119 + "… (1)"),
    ],
)
def test_a_person_is_told_the_three_most_frequent(counts: dict[str, int], told: str) -> None:
    assert top_reasons(counts) == told
