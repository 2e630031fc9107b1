"""The sizes: how many entries the next page may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclaim.state.page_size import LEAST_PAGE_SEC, PAGE_BYTES, PAGE_SEC, SHORT, PageSize

MIN_IDLE_MS = 10_000
LIGHT = 100  # bytes


@given(
    page_size=st.integers(1, 1000),
    first=st.integers(1, 1024),
    min_idle_ms=st.integers(1, 604_800_000),
    pages=st.lists(st.tuples(st.integers(1, 300), st.integers(4, 20_000), st.floats(0, 1e6)), max_size=5),
)
def test_a_page_has_at_least_one_entry_and_at_most_the_page_size(
    page_size: int, first: int, min_idle_ms: int, pages: list[tuple[int, int, float]]
) -> None:
    """However large or slow the pages before it were."""
    sizes = PageSize(page_size, first, min_idle_ms)
    assert sizes.count == min(page_size, first)
    for count, size, seconds in pages:
        sizes.learn(count, size, seconds)
        assert 1 <= sizes.count <= page_size
        assert sizes.count * size <= PAGE_BYTES or sizes.count == 1


def test_the_first_page_is_small_and_not_known_to_be_quick() -> None:
    """Nothing is known of the entries yet."""
    sizes = PageSize(500, 20, MIN_IDLE_MS)

    assert (sizes.count, sizes.is_quick) == (20, False)


def test_light_and_quick_entries_fill_the_page() -> None:
    """As many as PAGE_SIZE says, from the second page on."""
    sizes = PageSize(500, 20, MIN_IDLE_MS)

    sizes.learn(20, LIGHT, 0.001)

    assert (sizes.count, sizes.is_quick) == (500, True)


@pytest.mark.G7
def test_large_entries_come_to_so_many_bytes() -> None:
    """Not more than 4 MiB at once; one alone may be larger."""
    sizes = PageSize(500, 20, MIN_IDLE_MS)

    sizes.learn(20, PAGE_BYTES // 8, 0.001)
    assert sizes.count == 8
    sizes.learn(1, 2 * PAGE_BYTES, 0.001)
    assert sizes.count == 1


@pytest.mark.G7
def test_slow_entries_come_to_so_many_seconds() -> None:
    """And the next page is not claimed ahead."""
    sizes = PageSize(500, 20, MIN_IDLE_MS)

    sizes.learn(20, LIGHT, 2 * PAGE_SEC)

    assert (sizes.count, sizes.is_quick) == (10, False)


def test_a_short_idle_time_makes_for_short_pages() -> None:
    """A quarter of it, before anybody else may claim what we have; but never so short that nothing gets done."""
    sizes = PageSize(500, 20, 1000)
    sizes.learn(20, LIGHT, 0.5)
    assert (sizes.count, sizes.is_quick) == (10, False)

    sizes = PageSize(500, 20, 1)
    sizes.learn(20, LIGHT, LEAST_PAGE_SEC)
    assert (sizes.count, sizes.is_quick) == (20, True)


def test_after_a_short_page_there_may_be_growth_whatever_it_took() -> None:
    """Stored at once, twenty entries take hardly longer than one; but a page that took too long is too long."""
    sizes = PageSize(500, 20, MIN_IDLE_MS, growth=25)

    sizes.learn(20, LIGHT, SHORT * PAGE_SEC)
    assert sizes.count == 500
    sizes.learn(500, LIGHT, 2 * PAGE_SEC)
    assert sizes.count == 250


@pytest.mark.G7
def test_a_page_that_took_what_it_may_is_followed_by_none_that_is_larger() -> None:
    """Else the next one would take 25 times as long: so it was where a server took 4 ms for a hash."""
    sizes = PageSize(500, 20, MIN_IDLE_MS, growth=25)

    sizes.learn(20, LIGHT, PAGE_SEC)

    assert sizes.count == 20


def test_a_page_that_took_no_time_fills_the_next() -> None:
    """Clocks are coarse."""
    sizes = PageSize(500, 20, MIN_IDLE_MS)

    sizes.learn(1, LIGHT, 0.0)

    assert sizes.count == 500


def test_a_slow_page_is_forgotten_after_a_quick_one() -> None:
    """The last page is what counts."""
    sizes = PageSize(500, 20, MIN_IDLE_MS)
    sizes.learn(20, LIGHT, 60.0)
    assert sizes.count == 1

    sizes.learn(1, LIGHT, 0.001)

    assert (sizes.count, sizes.is_quick) == (500, True)


def test_a_page_with_nothing_in_it_teaches_nothing() -> None:
    """All that was asked for had been deleted meanwhile: the next look need not be at one entry only."""
    sizes = PageSize(500, 20, MIN_IDLE_MS)
    sizes.learn(20, LIGHT, 0.001)

    sizes.learn(0, 0, 0.001)

    assert sizes.count == 500
