"""Whatever happens in whatever order, the promises hold: a state machine against real servers.

MODEL_EXAMPLES (150) and MODEL_STEPS (25) say how much is tried on each kind of server; what was is printed at the end.
"""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from dev.server import available
from tests.promises.model.machine import Machine
from tests.promises.model.place import Place

pytestmark = [pytest.mark.G1, pytest.mark.G2, pytest.mark.G3, pytest.mark.G4, pytest.mark.G5, pytest.mark.G8]

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "150"))
STEPS = int(os.environ.get("MODEL_STEPS", "25"))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", available())
def test_nothing_is_lost_nothing_is_out_of_order(kind: str, servers: Any) -> None:
    """Runs with and without faults among producers, consumers, trimming, deaths and replays: G1 to G5 and G8 hold."""
    with Place(kind, servers.get(kind).server_port) as place:
        machine = type("Machine", (Machine,), {"place": place})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
