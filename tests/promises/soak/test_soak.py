"""Random worlds, each a few seconds long: every entry is accounted for. `python -m dev.soak` builds them for hours."""

from collections import Counter

import pytest

from dev.soak.__main__ import KINDS, happened, soak

pytestmark = [pytest.mark.G1, pytest.mark.G2, pytest.mark.G3, pytest.mark.G4, pytest.mark.G5, pytest.mark.G8]

SEED, WORLDS, SECONDS = 4, 3, 1.5  # worlds with handlers that fail in every way, on two kinds of server


def test_every_entry_of_a_random_world_is_accounted_for() -> None:
    """Producers, consumers, faults, kills and people meet runs at random moments; then everything is healed."""
    count, problems = soak(SEED, minutes=10, seconds=SECONDS, worlds=WORLDS)

    assert problems == []
    assert count["worlds"] == WORLDS
    assert count["entries"] == sum(times for what, times in count.items() if what.startswith("end: "))
    assert count["end: acknowledged and stored"]


def test_a_kind_of_fault_that_was_only_arranged_did_not_happen() -> None:
    """A rule that no command met, a slow link that nothing passed: the soak of half an hour has to show each kind."""
    arranged = Counter({"fault: link slow": 3, "fault: OOM": 1, "fault: endpoint dead": 2, "happened: OOM": 0})

    assert not any(happened(arranged).values())
    assert happened(Counter({"entry: foreign: dapr": 2, "entry: foreign: java": 1}))["foreign entries"] == 3
    assert KINDS.keys() > {"slow links", "failovers", "dead endpoints", "poison in bulk", "answers: READONLY"}
