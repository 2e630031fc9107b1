"""The order experiment over four processes that are killed at random, smaller than `python -m dev.order` does it."""

import os

import pytest

from dev.order import Experiment, Plan
from dev.storage import is_installed

pytestmark = [pytest.mark.G2, pytest.mark.G3, pytest.mark.G6]


@pytest.mark.skipif(
    not is_installed() and os.environ.get("CI", "").lower() != "true",
    reason="Azurite is not installed here: `make azurite` installs it",
)
def test_every_number_of_every_key_is_there_in_order_whoever_dies() -> None:
    """Every tenth entry of a key throws once; what a killed process held is taken up when its lease is over."""
    plan = Plan(keys=20, each=200, throw_every=10, kills=4, between_sec=0.5, give_up_sec=150)

    found = Experiment(plan, say=lambda _: None).run()

    assert found.wrong == []
    assert found.kills >= 1
