"""The records of tries, as they are kept."""

import pytest

from reclaim.errors import Unreachable
from reclaim.settings import Settings
from reclaim.state.connection import connect
from reclaim.state.tries import MAX_REASON, Tries, Try
from tests.support import a_target


@pytest.mark.parametrize(
    "one",
    [
        Try(),
        Try(2, 1_700_000_000_000, 1_700_000_090_000, 3, "fail", b"\x00\xff345678", "ValueError: two words\nand a line"),
        Try(0, 0, 0, 11, "none", b"", ""),
    ],
)
def test_a_record_is_read_as_it_was_written_but_for_its_reason(one: Try) -> None:
    """Reasons are for people; a run does not keep them in memory."""
    assert Try.from_bytes(one.to_bytes()) == one._replace(reason="")


def test_a_record_is_bounded() -> None:
    """The reason is cut, and a character that cannot be encoded is written as an escape."""
    written = Try(reason="\udcff" + "x" * 10_000).to_bytes()

    assert written.endswith(b"\\udcff" + b"x" * (MAX_REASON - 1))


@pytest.mark.parametrize("written", [b"2 1 0 0 1 fail - x", b"", b"1 2", b"1 a b c d fail - x", b"1 1 0 0 1 fail zz x"])
def test_a_record_of_another_version_is_no_record(written: bytes) -> None:
    """Nor is what cannot be read."""
    assert Try.from_bytes(written) is None


async def test_why_records_are_not_written_is_told_in_words(caplog: pytest.LogCaptureFixture) -> None:
    """Where the error has none, by its class; and what a client quotes is told without its secrets."""
    server = connect(Settings("h", 1, (a_target(),)))

    Tries(server, a_target()).warn([1, TimeoutError(), Unreachable("no redis://:c4n4ry@h: ")])

    assert [line.partition("written down: ")[2] for line in caplog.messages] == ["TimeoutError", "no redis://***@h"]
