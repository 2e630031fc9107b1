"""Owns how commands become bytes (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import cast

import hiredis

from reclaim.state.ask import Command

SHORT = 1024  # bytes of a word whose length is not written anew each time

# hiredis packs three times as fast as redis-py's connection does; its type says that a command is one word.
pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # see above

_LENGTHS = [b"\r\n$%d\r\n" % length for length in range(SHORT)]


def pack_all(commands: Sequence[Command]) -> bytes:
    """Commands as one request.

    A page's stores are many commands of short words. They are joined here, in two thirds of the time that hiredis takes
    for them. It packs the others: those that have a number, text or a long word behind their name.
    """
    try:
        return _joined(commands)
    except (TypeError, IndexError):
        return b"".join(map(pack, commands))


def _joined(commands: Sequence[Command]) -> bytes:
    """The same, of commands of which each word but the first is short, and bytes.

    Raises:
        TypeError: a word is a number or text.
        IndexError: a word is long; or there is no command.
    """
    words = cast("list[bytes]", list(chain.from_iterable(commands)))  # any other word raises below
    parts = [b""] * (2 * len(words))
    parts[::2] = map(_LENGTHS.__getitem__, map(len, words))
    parts[1::2] = words
    at = 0
    for command in commands:
        parts[at], parts[at + 1] = _head(len(command), command[0]), b""
        at += 2 * len(command)
    parts[0] = parts[0][2:]
    parts.append(b"\r\n")
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _head(count: int, name: bytes | str | int) -> bytes:
    """What a command of so many words begins with, behind the end of the command before it."""
    text = name if isinstance(name, bytes) else str(name).encode()
    return b"\r\n*%d\r\n$%d\r\n%b" % (count, len(text), text)
