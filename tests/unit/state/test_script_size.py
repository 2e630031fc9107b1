"""A script handles as many entries as the server handles in a few milliseconds."""

import pytest

from reclaim.state.script_size import LOOKS, SCRIPT_SEC, ScriptSize


def learnt(way_sec: float, entry_sec: float, *extra_sec: float) -> int:
    """The size after a small exchange, and large ones of which each took so much more."""
    size = ScriptSize(500)
    size.learn(20, way_sec + 20 * entry_sec)
    for more in extra_sec:
        size.learn(500, way_sec + 500 * entry_sec + more)
    return size.count


NOTHING = [0.0] * LOOKS


@pytest.mark.parametrize("way_sec", [0.0001, 0.005, 0.1])
def test_a_slow_server_gets_less_at_once_however_far_it_is(way_sec: float) -> None:
    assert learnt(way_sec, SCRIPT_SEC / 100, *NOTHING) in (99, 100)


@pytest.mark.parametrize("way_sec", [0.0001, 0.005, 0.1])
def test_a_quick_server_gets_all_however_far_it_is(way_sec: float) -> None:
    assert learnt(way_sec, 0.000_004, *NOTHING) == 500


def test_what_happens_now_and_then_is_not_taken_for_the_servers_time() -> None:
    assert learnt(0.001, 0.000_004, 0.2, 0.0, 0.3, 0.2) == 500


def test_a_server_that_gets_quicker_gets_more_again() -> None:
    size = ScriptSize(500)
    size.learn(20, 0.001)
    for seconds, wanted in ((0.101, 23), (0.003, 500)):
        for _ in range(LOOKS):
            size.learn(500, seconds)
        assert size.count == max(25, wanted)
