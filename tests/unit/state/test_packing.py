"""A request is made of commands as hiredis makes it, whatever their words are."""

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as some

from reclaim.state.ask import Command
from reclaim.state.packing import SHORT, pack_all

A_WORD = some.binary(max_size=20) | some.text(max_size=20) | some.integers()
A_COMMAND = some.tuples(some.sampled_from(["HSET", "XACK", b"GET"]), some.lists(A_WORD, max_size=5))


def as_hiredis_packs(commands: list[Command]) -> bytes:
    return b"".join(hiredis.pack_command(command) for command in commands)


@given(some.lists(A_COMMAND, max_size=5))
def test_many_commands_are_packed_as_hiredis_packs_each(
    drawn: list[tuple[str | bytes, list[bytes | str | int]]],
) -> None:
    commands: list[Command] = [(name, *words) for name, words in drawn]

    assert pack_all(commands) == as_hiredis_packs(commands)


@pytest.mark.parametrize("length", [0, 1, SHORT - 1, SHORT, SHORT + 1])
def test_a_word_of_any_length_is_packed(length: int) -> None:
    commands: list[Command] = [("HSET", b"key", b"name", b"x" * length), ("HSET", b"key", b"\r\n", b"")]

    assert pack_all(commands) == as_hiredis_packs(commands)
