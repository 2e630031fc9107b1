r"""Names as text: any bytes can be written, and what is written is read as the same bytes again."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reclaim
from reclaim.entry import Entry
from reclaim.errors import SettingsError
from reclaim.keys import Keys, Template
from reclaim.names import name_bytes, written
from reclaim.settings import Settings

LEAST = {"REDIS_HOST": "cache.example.net", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}
JAVA = r"\xac\xed\x00\x05t\x00\x06orders"
ODD = [b"\\", b"x", b"4", b" ", b"\x00", b"\xff", b"n", "ü".encode(), "\u202e".encode(), b"\n"]


@given(st.binary() | st.lists(st.sampled_from(ODD)).map(b"".join))
def test_every_name_can_be_written_and_read_again(name: bytes) -> None:
    """On one line, with nothing unseen in it, and nothing at its ends that a setting would lose."""
    text = written(name)

    assert name_bytes(text) == name
    assert text.isprintable()
    assert text == text.strip()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("orders", b"orders"),
        ('"orders"', b'"orders"'),  # as Jackson writes a string
        (JAVA, b"\xac\xed\x00\x05t\x00\x06orders"),
        (r"\x5c\\", rb"\\"),
        (r"C:\temp", rb"C:\temp"),
        (r"a\*", rb"a\*"),
        ("über:1", "über:1".encode()),
    ],
)
def test_what_stands_for_a_byte_and_what_for_itself(text: str, name: bytes) -> None:
    """A backslash is an escape only before an x or another backslash."""
    assert name_bytes(text) == name


def test_an_escape_that_is_cut_short_is_refused_with_how_to_write_a_backslash() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | {"STREAM_NAME": r"a\x4", "STREAM_CONSUMER_GROUP_NAME": r"\xag"})

    assert len(caught.value.problems) == 2
    for problem in caught.value.problems:
        assert r"(\x takes two hexadecimal digits; a backslash is \\)" in problem


@pytest.mark.G9
def test_names_of_a_target_are_bytes_and_are_shown_in_one_way() -> None:
    """However they were written."""
    env = {
        "STREAM_NAME": r"\xAC\xED\x00\x05t\x00\x06\x6frders",
        "STREAM_CONSUMER_GROUP_NAME": r"\xff",
        "MONITORING_CONSUMER_NAME": r"me\x00",
        "HASH_VERSION_FIELD": r"\x01v",
    }
    (target,) = Settings.from_env(LEAST | env).targets

    assert target.name == rf"{JAVA}/\xff"
    assert target.keys == Keys.of(b"\xac\xed\x00\x05t\x00\x06orders", b"\xff")
    assert target.keys.lease == b"{\xac\xed\x00\x05t\x00\x06orders}:reclaim:\xff:lease"
    assert (target.group_bytes, target.consumer_bytes, target.version_field_bytes) == (b"\xff", b"me\x00", b"\x01v")


def test_one_stream_that_is_written_in_two_ways_is_one_stream() -> None:
    """So it may not be listed twice."""
    listed = r'[{"stream": "s", "group": "g"}, {"stream": "\\x73", "group": "g"}]'
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"REDIS_HOST": "cache", "RECLAIM_TARGETS": listed})

    assert caught.value.problems == ["RECLAIM_TARGETS is 's/g'; allowed: each stream and group once"]


def test_braces_that_are_bytes_make_a_hash_tag_too() -> None:
    """Redis sees bytes alone."""
    (target,) = Settings.from_env(LEAST | {"STREAM_NAME": r"\x7bt\x7dx"}).targets
    assert target.keys.lease == b"{t}x:reclaim:g:lease"

    with pytest.raises(SettingsError):
        Settings.from_env(LEAST | {"STREAM_NAME": r"a\x7d"})


def test_a_template_names_fields_by_their_bytes() -> None:
    r"""``\x7d`` is a brace in a field's name."""
    template = Template(r"\xff{\xac\x00id}{a\x7db}:\x5c")

    assert template.pattern == b"\xff**:\\\\"
    assert template.render(Entry(b"1-0", [b"\xac\x00id", b"7", b"a}b", b"8"])) == b"\xff78:\\"


def test_no_command_is_given_the_text_of_a_name() -> None:
    """Redis has the bytes: `Target.group_bytes` and its like. The text is for people."""
    package = Path(reclaim.__file__).parent
    texts = {path.name: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}

    assert [name for name, text in texts.items() if re.search(r"\.(stream|group|consumer)\.encode\(", text)] == []
