import re
from pathlib import Path

import pytest

import reclaim
from reclaim.counted import are, how_often, many

PACKAGE = Path(reclaim.__file__).parent
THINGS = (
    "entries|letters|consumers|groups|failures|tries|runs|deliveries|times|targets|streams|records|replicas|primaries"
)
# A number in a string, and right behind it what is counted.
BY_HAND = re.compile(rf"(%d|\{{[^{{}}]*\}}) (?:\w+ )?(?:{THINGS})\b")

ALLOWED = {
    "{address} runs",  # a verb
    "{wanted} replicas",  # 0 of 1 replicas
    "{streak} runs",  # there are two at least
}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (many(1, "entry"), "1 entry"),
        (many(0, "entry"), "0 entries"),
        (many(5000, "lost entry"), "5,000 lost entries"),
        (many(2, "dead letter"), "2 dead letters"),
        (many(1, "entry was", "entries were"), "1 entry was"),
        (many(2, "entry was", "entries were"), "2 entries were"),
        (are(1, "dead letter"), "is 1 dead letter"),
        (are(2, "dead letter"), "are 2 dead letters"),
        (how_often(1), "once"),
        (how_often(1200), "1,200 times"),
    ],
)
def test_a_number_of_things_is_said_as_a_person_says_it(said: str, expected: str) -> None:
    assert said == expected


def test_no_number_of_things_is_said_in_another_way() -> None:
    """``f"{count} entries"`` says ``1 entries``."""
    found = [
        f"{path.relative_to(PACKAGE)}: {one[0]}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for one in BY_HAND.finditer(path.read_text())
        if path.name != "counted.py" and one[0] not in ALLOWED
    ]

    assert found == []
