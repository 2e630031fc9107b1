"""Moments as people say them."""

import pytest

from reclaim.times import moment, said_moment

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("2026-01-31", "2026-01-31T00:00:00.000+00:00"),
        ("2026-01-31T09:30Z", "2026-01-31T09:30:00.000+00:00"),
        ("2026-01-31T09:30:15.250", "2026-01-31T09:30:15.250+00:00"),
        ("2026-01-31T00:30:00+01:30", "2026-01-30T23:00:00.000+00:00"),
        ("2026-01-31T23:30:00-01:00", "2026-02-01T00:30:00.000+00:00"),
        ("2028-02-29", "2028-02-29T00:00:00.000+00:00"),
        ("90m", moment(NOW_MS - 90 * 60_000)),
        ("3d", moment(NOW_MS - 3 * 86_400_000)),
    ],
)
def test_a_moment_is_a_day_a_time_or_how_long_ago(said: str, means: str) -> None:
    assert moment(said_moment(said, NOW_MS)) == means


@pytest.mark.parametrize(
    "said", ["", "yesterday", "2026-13-01", "2026-04-31", "2026-01-01T24:00", "5", "5w", "\u0661h", "5m\n"]
)
def test_anything_else_is_refused_with_what_is_allowed(said: str) -> None:
    with pytest.raises(ValueError, match="is no moment; allowed: a moment as"):
        said_moment(said, NOW_MS)
