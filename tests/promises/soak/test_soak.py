"""Random worlds, each a few seconds long: every entry is accounted for. `python -m dev.soak` builds them for hours."""

import pytest

from dev.soak.__main__ import soak

pytestmark = [pytest.mark.G1, pytest.mark.G2, pytest.mark.G3, pytest.mark.G4, pytest.mark.G5, pytest.mark.G8]

SEED, WORLDS, SECONDS = 4, 3, 1.5  # worlds with handlers that fail in every way, on two kinds of server


def test_every_entry_of_a_random_world_is_accounted_for() -> None:
    """Producers, consumers, faults, kills and people meet runs at random moments; then everything is healed."""
    count, problems = soak(SEED, minutes=10, seconds=SECONDS, worlds=WORLDS)

    assert problems == []
    assert count["worlds"] == WORLDS
    assert count["entries"] == sum(times for what, times in count.items() if what.startswith("end: "))
    assert count["end: acknowledged and stored"]
