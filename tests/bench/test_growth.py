"""What is reckoned of growth keeps to what there is: cores, messages and lanes."""

import pytest

from bench.growth import Work, simulate

COMPUTES = Work(ours_us=2_000, server_us=8)
WAITS = Work(ours_us=70, server_us=8, most_per_sec=640)


@pytest.mark.parametrize("instances", [1, 2, 4])
def test_a_handler_that_computes_takes_what_the_cores_can_give(instances: int) -> None:
    outcome = simulate(8, 1_000, COMPUTES, instances, a_run_us=0, at_once=min(4, 8 // instances))

    assert outcome.seconds == pytest.approx(8 * 1_000 * 0.002 / instances, rel=0.1, abs=2.1)


def test_a_handler_that_waits_takes_what_the_lanes_of_six_runs_can_give() -> None:
    assert simulate(4, 6_400, WAITS, 1, a_run_us=0).seconds == pytest.approx(10, rel=0.1)


def test_the_servers_core_is_the_limit_of_all_instances_together() -> None:
    outcome = simulate(64, 10_000, Work(ours_us=10, server_us=100), 64, a_run_us=0, at_once=1)

    assert outcome.seconds == pytest.approx(64, rel=0.05)
    assert outcome.server_busy > 0.9


def test_a_tick_enqueues_500_at_most() -> None:
    assert simulate(501, 1, COMPUTES, 64, a_run_us=0).seconds >= 20
