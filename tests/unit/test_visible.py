"""Characters that act instead of being seen: what is shown in their place, and what no reason and no name may hold."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reclaim import visible

PACKAGE = Path(visible.__file__).parent
STEERING = [chr(code) for code in range(0x10000) if re.match(f"[{visible.STEERING}]", chr(code))]


def test_the_page_escapes_the_same_characters() -> None:
    """JavaScript cannot import ours, so it has them once more."""
    sources = [path.read_text(encoding="utf-8") for path in (PACKAGE / "http" / "dashboard").glob("*.js")]

    (pattern,) = [found for source in sources for found in re.findall(r"const HIDDEN = /(.+)/gu;", source)]

    controls = r"\u0000-\u001f\u007f-\u009f"  # Python has no \p{Cc}
    hidden = re.compile(pattern.replace(r"\p{Cc}", controls))
    assert [char for char in map(chr, range(0x10000)) if hidden.match(char)] == STEERING


@pytest.mark.parametrize("show", [lambda text: visible.for_a_page(text.encode(), 10), visible.for_a_terminal])
def test_nothing_that_steers_is_shown_as_it_is(show: Callable[[str], str]) -> None:
    """Each such character is an escape, and a letter stays what it is."""
    assert len(STEERING) > 70
    for char in STEERING:
        shown = show(f"a{char}")
        assert re.fullmatch(r"a\\[a-zx0-9]+", shown), shown


def test_a_page_keeps_lines_and_a_terminal_gets_one() -> None:
    """A page has room for a value's own lines; a line of a table has not."""
    assert visible.for_a_page(b"a\tb\nc\r\x1b\xff", 99) == "a\tb\nc\\x0d\\x1b\\xff"
    assert visible.for_a_terminal(b"a\tb\nc\r\x1b\xff") == "a\\tb\\nc\\r\\x1b\\xff"


def test_the_beginning_of_bytes_is_cut_between_characters() -> None:
    """A character that the cut goes through is left out, and is no escape."""
    assert visible.for_a_page("üüü".encode(), 2) == "üü"
    assert visible.for_a_page("😀".encode() * 3, 2) == "😀😀"


@pytest.mark.parametrize("text", ["moving", " moving ", "שלום", "it's 5 o'clock", "a\u00a0b"])
def test_one_line_that_can_be_read(text: str) -> None:
    assert visible.is_one_line(text)


@pytest.mark.parametrize("text", ["", " ", "\u3000", "a\n", "a\nb", "a\tb", "a\u200bb", "\u00ad", "\ud800", "a\u202eb"])
def test_what_cannot_be_read_is_not_one_line(text: str) -> None:
    assert not visible.is_one_line(text)


def test_every_steering_character_is_unseen() -> None:
    """No reason can hold what would be escaped where it is shown."""
    assert not [char for char in STEERING if visible.is_one_line(f"a{char}")]
