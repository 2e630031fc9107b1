"""While runs are under way Python looks for garbage less often; afterwards as often as before."""

import gc
from collections.abc import Iterator

import pytest

from reclaim.run.collector import collecting_less_often


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(("first", "meanwhile"), [(700, 10_000), (50_000, 50_000), (0, 0)])
def test_it_is_less_often_in_a_run_and_what_somebody_has_set_higher_or_switched_off_stays(
    first: int, meanwhile: int
) -> None:
    gc.set_threshold(first, 11, 12)
    with collecting_less_often():
        found = gc.get_threshold()
    assert (found, gc.get_threshold()) == ((meanwhile, 11, 12), (first, 11, 12))


def test_it_is_set_back_after_the_last_of_several_runs() -> None:
    gc.set_threshold(700, 11, 12)
    one, other = collecting_less_often(), collecting_less_often()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    between = gc.get_threshold()
    other.__exit__(None, None, None)
    assert (between, gc.get_threshold()) == ((10_000, 11, 12), (700, 11, 12))


def test_what_somebody_sets_during_a_run_stays() -> None:
    gc.set_threshold(700, 11, 12)
    with collecting_less_often():
        gc.set_threshold(2_000, 5, 5)
    assert gc.get_threshold() == (2_000, 5, 5)
