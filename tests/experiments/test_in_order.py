"""Each claim of the order experiment fails where what was found does not bear it out."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments.in_order import SIZES, Found, claims
from experiments.result import Size

SIZES_OF_TESTS = SIZES[Size.QUICK]
VARIANTS = ("once", "always", "minute", "database", "hash")


def good() -> dict[str, Found]:
    """What there is where all is well."""
    numbers = list(range(1, SIZES_OF_TESTS.each + 1))
    found = {name: Found(name, kills=1, kills_away=1, deliveries=1, opened=1) for name in VARIANTS}
    for one in found.values():
        one.lists = {f"k{key}": list(numbers) for key in range(SIZES_OF_TESTS.keys)}
    found["always"].dead = {f"k{key}": [100] for key in range(SIZES_OF_TESTS.keys)}
    return found


def swapped(one: Found) -> None:
    one.lists["k3"][4], one.lists["k3"][5] = one.lists["k3"][5], one.lists["k3"][4]


TAMPERED: list[tuple[str, Callable[[Found], Any], list[str]]] = [
    *((name, swapped, [f"{name.capitalize()}: each key's list"]) for name in VARIANTS),
    *(
        (name, lambda one: one.lists["k0"].pop(), [f"{name.capitalize()}: each key's list"])
        for name in VARIANTS
        if name != "always"
    ),
    *(
        (name, lambda one: setattr(one, "pending", 1), [f"{name.capitalize()}: nothing is pending"])
        for name in VARIANTS
    ),
    *((name, lambda one: setattr(one, "lost", 1), [f"{name.capitalize()}: nothing is pending"]) for name in VARIANTS),
    *(
        (name, lambda one: one.lists["k1"].extend([7] * 1_001), [f"{name.capitalize()}: only what a killed process"])
        for name in VARIANTS
        if name != "hash"
    ),
    ("always", lambda one: one.dead.pop("k2"), ["Always: exactly the entries"]),
    ("always", lambda one: setattr(one, "dead_left", 1), ["Always: their replay empties"]),
    ("minute", lambda one: setattr(one, "opened", 2), ["Minute: exactly one event"]),
    ("minute", lambda one: setattr(one, "opened", 0), ["Minute: exactly one event"]),
    ("minute", lambda one: setattr(one, "deliveries", 3), ["Minute: the outage cost"]),
    ("database", lambda one: setattr(one, "deliveries", 3), ["Database: the outage cost"]),
    ("database", lambda one: setattr(one, "deliveries", 0), ["Database: the outage cost"]),
    ("hash", lambda one: setattr(one, "old_versions", 1), ["Hash: none was stored twice"]),
]


def test_all_hold_where_all_is_well() -> None:
    assert all(claim.holds for claim in claims(list(good().values()), SIZES_OF_TESTS))


@pytest.mark.parametrize(("variant", "change", "begin"), TAMPERED, ids=map(str, range(len(TAMPERED))))
def test_a_claim_fails_where_it_is_not_borne_out(
    variant: str, change: Callable[[Found], Any], begin: list[str]
) -> None:
    found = good()
    change(found[variant])
    failed = [claim.text for claim in claims(list(found.values()), SIZES_OF_TESTS) if not claim.holds]
    assert [text.startswith(start) for text, start in zip(failed, begin, strict=True)] == [True]


def test_dead_letters_come_after_their_replay() -> None:
    """In order too, behind all others of their key."""
    found = good()
    for numbers in found["always"].lists.values():
        numbers.remove(100)
        numbers.append(100)
    assert all(claim.holds for claim in claims(list(found.values()), SIZES_OF_TESTS))


def test_every_claim_has_been_seen_to_fail() -> None:
    texts = [claim.text for claim in claims(list(good().values()), SIZES_OF_TESTS)]
    begins = [begin for *_, (begin,) in TAMPERED]
    assert [text for text in texts if not any(text.startswith(one) for one in begins)] == []
