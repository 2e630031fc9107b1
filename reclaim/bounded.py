"""Owns the bounds of what is said: how text and lists from outside are shortened before they are logged or kept.

Anybody can name a consumer, raise an error with a megabyte of text, or leave five thousand consumers behind. What is
said of them has a bound: a line of the log LINE_BYTES, a record in Redis and a text in telemetry RECORD_BYTES.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from typing import Any, NamedTuple

LINE_BYTES = 8_000
RECORD_BYTES = 16_000

NAME_CHARS = 200  # of the name of a consumer, a stream or a group
REASON_CHARS = 300  # of a reason that is counted
ERROR_CHARS = 1_000  # of an error that is told once

_MARK = "…"


class Most(NamedTuple):
    """How many items of each list are said, and how many characters of each text."""

    items: int
    chars: int


# One after another, until what is said fits. The last fits always: 12 bytes a character are the most that JSON takes.
_TIGHTER = (Most(50, REASON_CHARS), Most(20, REASON_CHARS), Most(10, 150), Most(5, 80), Most(3, 30))


def shortened(text: str, most_chars: int) -> str:
    """The text, or so many characters of it, the last one a mark that something is missing."""
    return text if len(text) <= most_chars else f"{text[: most_chars - 1]}{_MARK}"


def cut(text: str, most_bytes: int) -> str:
    """The text, or its beginning with a mark, in at most so many bytes of UTF-8; half a surrogate pair is an escape."""
    start = text[: most_bytes + 1].encode(errors="backslashreplace")
    if len(text) <= most_bytes and len(start) <= most_bytes:
        return start.decode()
    return start[: most_bytes - len(_MARK.encode())].decode(errors="ignore") + _MARK


def cut_bytes(value: bytes, most_bytes: int) -> bytes:
    """The bytes, or their beginning with a mark; a character of UTF-8 is not cut apart."""
    if len(value) <= most_bytes:
        return value
    mark = _MARK.encode()
    end = most_bytes - len(mark)
    while end and value[end] & 0xC0 == 0x80:  # a later byte of a character
        end -= 1
    return value[:end] + mark


def cut_start(text: str, most_bytes: int) -> str:
    """The text, or its end behind a mark, in at most so many bytes of UTF-8."""
    end = text[-most_bytes - 1 :].encode(errors="backslashreplace")
    if len(text) <= most_bytes and len(end) <= most_bytes:
        return end.decode()
    return _MARK + end[len(end) - most_bytes + len(_MARK.encode()) :].decode(errors="ignore")


def cut_for_json(text: str, most_bytes: int) -> str:
    """The text, or its beginning with a mark, so that as JSON in ASCII it takes at most so many bytes.

    Where that is not even enough for the mark, which takes eight, it is empty.
    """
    kept = text
    while (size := len(json.dumps(kept))) > most_bytes:
        if kept in {_MARK, ""}:
            return ""
        kept = f"{text[: (len(kept) - 1) * max(most_bytes, 0) // size]}{_MARK}"
    return kept


def first_few(names: Iterable[str], count: int, most: int = 3) -> str:
    """The first few of `count` names, and how many more there are: ``a, b, c and 4,997 more``."""
    few = [shortened(name, NAME_CHARS) for name in islice(names, most)]
    more = count - len(few)
    return ", ".join(few) + (f" and {more:,} more" if more > 0 else "")


def largest(counts: Mapping[str, int], most: int, chars: int, others: str) -> dict[str, int]:
    """The largest of these counts, their names shortened; all smaller ones together, under the name `others`."""
    told: dict[str, int] = {}
    few = nlargest(most, counts.items(), key=lambda one: one[1]) if len(counts) > most else counts.items()
    for name, count in few:
        short = shortened(name, chars)
        told[short] = told.get(short, 0) + count
    rest = sum(counts.values()) - sum(told.values())
    if rest:
        told[others] = told.get(others, 0) + rest
    return told


def fitting(say: Callable[[Most], str], most_bytes: int) -> str:
    """What `say` says with the widest bounds with which it takes at most so many bytes."""
    for most in _TIGHTER[:-1]:
        said = say(most)
        if len(said) <= most_bytes and len(said.encode(errors="replace")) <= most_bytes:
            return said
    return say(_TIGHTER[-1])


def json_within(value: Any, most_bytes: int) -> str:
    """The value as JSON of at most so many bytes: lists, objects and texts inside it are shortened where it is larger.

    What is one level deep stays, as an object's members have names that others rely on.
    """
    return fitting(lambda most: json.dumps(tightened(value, most, depth=0)), most_bytes)


def tightened(value: Any, most: Most, depth: int = 1) -> Any:
    """The value, with at most so many items in each list and object and so many characters in each text."""
    match value:
        case str():
            return shortened(value, most.chars)
        case Mapping():
            items = value.items() if depth == 0 else islice(value.items(), most.items)
            return {shortened(str(name), most.chars): tightened(one, most, depth + 1) for name, one in items}
        case Sequence():
            return [tightened(one, most, depth + 1) for one in value[: most.items]]
        case _:
            return value
