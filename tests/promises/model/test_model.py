"""Whatever happens in whatever order, the promises hold: a state machine against real servers.

By default 150 examples run on the embedded server and 30 on each other kind; half as many with two
shards, and a tenth where entries are moved.
MODEL_EXAMPLES=1000 runs so many on every kind, and a tenth; MODEL_STEPS (25) is how many steps an example may have.
At the end pytest prints how much was done; with -v also how often each thing happened.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from dev.server import KINDS, Server, available, free_port
from reclaim.state.slots import SLOTS
from tests.promises.model.machine import Machine, ShardedMachine
from tests.promises.model.moving import MovingMachine
from tests.promises.model.place import Place
from tests.support import raw_client

pytestmark = [pytest.mark.G1, pytest.mark.G2, pytest.mark.G3, pytest.mark.G4, pytest.mark.G5, pytest.mark.G8]

EXAMPLES, EXAMPLES_ELSEWHERE = 150, 30
CLUSTER = "a cluster"
STEPS = int(os.environ.get("MODEL_STEPS", "25"))


def examples(kind: str) -> int:
    """How many examples run on this kind of server."""
    return int(os.environ.get("MODEL_EXAMPLES", EXAMPLES if kind == KINDS[0] else EXAMPLES_ELSEWHERE))


@contextmanager
def a_cluster_of_one() -> Iterator[Server]:
    """A node that serves every slot: as in any cluster, it takes no script and no MULTI with keys of several slots."""
    with Server(KINDS[0], cluster_enabled="yes", cluster_port=str(free_port())) as server:
        with raw_client(server.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                time.sleep(0.01)
        yield server


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", [*available(), CLUSTER])
def test_nothing_is_lost_nothing_is_out_of_order(
    kind: str, servers: Any, record_property: Callable[[str, object], None]
) -> None:
    """Runs with and without faults among producers, consumers, trimming, deaths and replays: G1 to G5 and G8 hold."""
    _try_out(Machine, examples(kind), kind, servers, record_property)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", [*available(), CLUSTER])
def test_two_shards_on_two_instances_lose_nothing_either(
    kind: str, servers: Any, record_property: Callable[[str, object], None]
) -> None:
    """The same where two shards, each with connections of its own, work on the target at the same time."""
    _try_out(ShardedMachine, max(1, examples(kind) // 2), kind, servers, record_property)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", available())
def test_what_is_moved_is_in_one_place(kind: str, servers: Any, record_property: Callable[[str, object], None]) -> None:
    """The same where entries are requeued or forwarded: no copy is missing, and there is no second one (G2)."""
    _try_out(MovingMachine, max(1, examples(kind) // 10), kind, servers, record_property)


def _try_out(
    machine_of: type[RuleBasedStateMachine],
    most: int,
    kind: str,
    servers: Any,
    record_property: Callable[[str, object], None],
) -> None:
    with ExitStack() as stack:
        is_cluster = kind == CLUSTER
        port = stack.enter_context(a_cluster_of_one()).port if is_cluster else servers.get(kind).server_port
        place = stack.enter_context(Place(kind, port, is_cluster=is_cluster))
        machine = type(machine_of.__name__, (machine_of,), {"place": place})
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=most,
                    stateful_step_count=STEPS,
                    deadline=None,
                    print_blob=True,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            record_property(f"state machine ({machine_of.__name__}) on {kind}", dict(place.count))
