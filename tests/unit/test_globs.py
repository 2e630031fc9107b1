"""The patterns of RECLAIM_TARGETS."""

import pytest

from reclaim.globs import Glob


@pytest.mark.parametrize(
    ("text", "name", "matches"),
    [
        ("orders:*", b"orders:eu", True),
        ("orders:*", b"orders:", True),
        ("orders:*", b"order:eu", False),
        ("*", b"", True),
        ("*", b"a\n\x00\xffb", True),
        ("*:eu:*", b"a:eu:b", True),
        ("*:eu:*", b"a:us:b", False),
        ("a.c*", b"abc", False),
        (r"a\*", b"a*", True),
        (r"a\*", b"ab", False),
        (r"a\\*", b"a\\b", True),
        (r"a\\*", b"ab", False),
        (r"\xac\xed*", b"\xac\xedorders", True),
        (r"\x2a", b"*", True),
        ("a[b]?*", b"a[b]?c", True),
        ("a[b]?*", b"abcd", False),
    ],
)
def test_a_star_stands_for_any_bytes_and_nothing_else_does(text: str, name: bytes, *, matches: bool) -> None:
    """A backslash before the star makes it a plain one."""
    assert Glob.of(text).matches(name) is matches


def test_a_name_is_a_pattern_without_a_star() -> None:
    """Escapes are those of any name."""
    assert [Glob.of(text).is_name for text in ("a", r"a\*", r"a\x2a", "a*", "*")] == [True, True, True, False, False]
    assert Glob.of(r"a\*\xff").literals == (b"a*\xff",)


def test_the_pattern_that_names_more_is_the_more_specific_one() -> None:
    """In bytes; the stars do not count."""
    assert Glob.of("orders:eu:*").weight > Glob.of("orders:*").weight > Glob.of("*").weight == 0


def test_an_escape_that_is_cut_short_is_refused() -> None:
    """As in any name."""
    with pytest.raises(ValueError, match="two hexadecimal digits"):
        Glob.of(r"a\xz*")
