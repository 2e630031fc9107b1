"""What a probe takes (G4)."""

import pytest

from reclaim.run.probing import Candidate, choose, spread
from reclaim.state.pending import Row

OPENED_MS = 1000


def candidates(*tried_ms: int) -> list[Candidate]:
    """One for each of these times of the last try; 0 is one never tried."""
    return [Candidate(Row(b"%d-0" % number, b"w", 1, 1), tried) for number, tried in enumerate(tried_ms, 1)]


def numbers(rows: list[Row]) -> list[int]:
    return [int(row.id.partition(b"-")[0]) for row in rows]


@pytest.mark.parametrize(
    ("count", "chosen"),
    [(0, []), (1, [9]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, list(range(10))), (11, list(range(10)))],
)
def test_values_are_spread_over_all_of_them_with_both_ends(count: int, chosen: list[int]) -> None:
    """One alone is the last."""
    assert spread(range(10), count) == chosen


@pytest.mark.G4
def test_a_probe_takes_what_was_never_tried_from_everywhere_in_the_list() -> None:
    """Half of it, and what was tried before the circuit opened. Nothing that was tried since."""
    chosen = choose(candidates(*[500] * 40, *[0] * 41, *[2000] * 9), OPENED_MS, 4)

    assert numbers(chosen) == [1, 40, 41, 81]


@pytest.mark.G4
def test_a_probe_takes_what_was_tried_longest_ago_where_all_were_tried_since() -> None:
    """So the next probe takes others."""
    assert numbers(choose(candidates(2004, 2001, 2003, 2002), OPENED_MS, 2)) == [2, 4]


@pytest.mark.parametrize(
    ("tried", "chosen"),
    [
        ((0, 0, 500), [1, 2, 3]),
        ((0, 0, 0, 0, 0), [1, 3, 5]),
        ((500, 500, 500, 500, 500), [1, 3, 5]),
        ((0, 2000), [1, 2]),
    ],
)
def test_a_probe_is_filled_from_what_there_is(tried: tuple[int, ...], chosen: list[int]) -> None:
    """Whichever kind there is too little of."""
    assert numbers(choose(candidates(*tried), OPENED_MS, 3)) == chosen
