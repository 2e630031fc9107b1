"""Each claim of the bad day fails where what was found does not bear it out."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from experiments.bad_day import CLOCK, FAULTS, SIZES, VANISH, Found, claims
from experiments.result import Size

SIZES_OF_TESTS = SIZES[Size.QUICK]


def good() -> Found:
    """What there is where all is well."""
    vanished = {f"9-{number}" for number in range(VANISH)}
    found = Found(
        happened=Counter({f"fault {number}": 1 for number in range(FAULTS)}),
        acknowledged={"1-0"}, stored={"2-0"}, dead={"3-0", "4-0"}, lost={"5-0"}, unread={"6-0"},
        vanished=vanished, lost_at_most=VANISH,
    )  # fmt: skip
    found.added = dict.fromkeys({"1-0", "2-0", "5-0", "6-0"} | vanished, "ok") | {"3-0": "poison", "4-0": "bad"}
    told = ["entries.dead_lettered", "entries.lost", "run.failed", "run.recovered", "circuit.opened", "circuit.closed"]
    found.events = [(f"reclaim.{kind}", str(number)) for number, kind in enumerate(told)] + [(CLOCK, "c")]
    return found


TAMPERED: list[tuple[str, Callable[[Found], Any]]] = [
    ("Every fault happened", lambda one: one.happened.pop("fault 3")),
    ("Every entry is accounted for", lambda one: one.added.update({"7-0": "ok"})),
    ("No dead letter is anywhere else", lambda one: one.stored.add("3-0")),
    ("Nothing is pending", lambda one: one.pending.add("2-0")),
    ("Only poison and bad entries", lambda one: one.added.update({"4-0": "ok"})),
    ("What vanished with the group", lambda one: setattr(one, "lost_at_most", VANISH - 1)),
    ("Alerts that are told once", lambda one: one.events.append(("reclaim.entries.lost", "x"))),
    ("Alerts that are told once", lambda one: one.events.append((CLOCK, "x"))),
    ("Alerts that are told once", lambda one: one.events.pop()),
    ("Each `reclaim.run.failed`", lambda one: one.events.append(("reclaim.run.failed", "x"))),
    ("Each `reclaim.run.failed`", lambda one: one.events.pop(3)),
    ("Each `reclaim.circuit.opened`", lambda one: one.events.insert(5, ("reclaim.circuit.opened", "x"))),
]


def test_all_hold_where_all_is_well() -> None:
    assert [claim.text for claim in claims(good(), SIZES_OF_TESTS) if not claim.holds] == []


@pytest.mark.parametrize(("begins", "change"), TAMPERED, ids=map(str, range(len(TAMPERED))))
def test_a_claim_fails_where_it_is_not_borne_out(begins: str, change: Callable[[Found], Any]) -> None:
    found = good()
    change(found)
    assert [claim.text.startswith(begins) for claim in claims(found, SIZES_OF_TESTS) if not claim.holds] == [True]


def test_every_claim_has_been_seen_to_fail() -> None:
    texts = [claim.text for claim in claims(good(), SIZES_OF_TESTS)]
    assert [text for text in texts if not any(text.startswith(begins) for begins, _ in TAMPERED)] == []


def test_each_entry_is_counted_in_one_place() -> None:
    account = good().account()
    assert {place: sum(counts.values()) for place, counts in account.items()} == {
        "a dead letter": 2,
        "acknowledged by the live consumer": 1,
        "stored by us, and acknowledged": 1,
        "lost, and named": 1,
        "gone with the group, and counted": VANISH,
        "pending": 0,
        "not read yet": 1,
        "nowhere": 0,
    }
