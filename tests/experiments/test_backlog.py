"""Each claim about the drained backlog fails where what was found speaks against it, and that claim alone."""

from dataclasses import replace
from typing import Any

import pytest

from experiments.backlog import AFTER, BEFORE, DURING, Found, Run, claims

GOOD = Found(
    backlog=1_000,
    added=500,
    handled=500,
    runs=[Run("out_of_time", 9.5, 600, {}), Run("completed", 6.0, 400, {})],
    budget_sec=10,
    pending=0,
    dead=0,
    lost=0,
    missing=0,
    wrong=0,
    beyond=0,
    p50_ms={BEFORE: 1.0, DURING: 1.5, AFTER: 1.0},
    p99_ms={BEFORE: 10.0, DURING: 30.0, AFTER: 9.0},
    rate={BEFORE: 1_000.0, DURING: 990.0, AFTER: 1_000.0},
    memory=[(0, 60.0), (1, 61.0), (2, 69.0)],
)
FIRST, LAST = GOOD.runs


def test_all_claims_hold_where_all_is_well() -> None:
    """Else the tests below would show nothing."""
    assert [claim for claim in claims(GOOD) if not claim.holds] == []


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ({"runs": [FIRST, replace(LAST, acknowledged=399)]}, "acknowledge each entry of the backlog once"),
        ({"runs": [FIRST, replace(LAST, acknowledged=401)]}, "acknowledge each entry of the backlog once"),
        ({"runs": [replace(FIRST, others={"failed": 1}), LAST]}, "acknowledge each entry of the backlog once"),
        ({"pending": 1}, "Nothing is pending"),
        ({"dead": 1}, "Nothing is pending"),
        ({"lost": 1}, "Nothing is pending"),
        ({"missing": 1}, "hash is there"),
        ({"wrong": 1}, "hash is there"),
        ({"beyond": 1}, "hash is there"),
        ({"handled": 499}, "handle all that the live producer adds"),
        ({"handled": 501}, "handle all that the live producer adds"),
        ({"added": 0, "handled": 0}, "handle all that the live producer adds"),
        ({"rate": {**GOOD.rate, DURING: 899.0}}, "entries a second"),
        ({"p99_ms": {BEFORE: 10.0, DURING: 30.1, AFTER: 9.0}}, "99th percentile"),
        ({"p99_ms": {BEFORE: 1.0, DURING: 20.1, AFTER: 9.0}}, "99th percentile"),
        ({"runs": [replace(FIRST, seconds=11.1), LAST]}, "longer than its budget"),
        ({"runs": [replace(FIRST, outcome="completed"), LAST]}, "longer than its budget"),
        ({"memory": [(0, 60.0), (1, 61.0), (2, 69.1)]}, "memory stays level"),
    ],
)
def test_a_claim_fails_where_what_was_found_is_tampered_with(tampering: dict[str, Any], broken: str) -> None:
    """That claim, and no other."""
    failed = [claim.text for claim in claims(replace(GOOD, **tampering)) if not claim.holds]

    assert len(failed) == 1
    assert broken in failed[0]
