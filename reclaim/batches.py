"""Owns the mark of a handler function that takes many entries at a time: a batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Never, TypeVar

from reclaim.entry import Entry

MOST: Final = 1000  # as many as a page may have

Failures = Mapping[bytes, Exception]  # why entries of a batch failed, by their IDs

F = TypeVar("F", bound=Callable[[Sequence[Entry]], Any])


def batch(*forgotten: Never, most: int = 100) -> Callable[[F], F]:
    """Mark a function, async or not, that takes a sequence of entries.

    The entries are in ID order, and no two of them have the same order key. The function returns None if all are done,
    or else which failed and why: ``{entry.id: ValueError("no such shop")}``. An error there means what it would mean if
    a function of one entry raised it. If the function itself raises an error that is no outage, each entry is given to
    it once more, alone.

    Args:
        forgotten: nothing may be given here. Python passes the function if the brackets of the decorator are forgotten.
        most: how many entries one call may get.

    Raises:
        TypeError: the brackets are forgotten, or the number is given without its name.
        ValueError: `most` is no whole number from 1 to 1000.
    """
    if forgotten:
        raise TypeError("write @reclaim.batch(most=100), with the brackets and with most=")
    if type(most) is not int or not 1 <= most <= MOST:
        raise ValueError(f"most is {most!r}; allowed: a whole number from 1 to {MOST}")

    def mark(function: F) -> F:
        setattr(function, _MARK, most)
        return function

    return mark


def most_of(function: object) -> int | None:
    """How many entries one call of the function may get; None if it takes one, and not as a sequence."""
    most: int | None = getattr(function, _MARK, None)
    return most


_MARK = "reclaim_most"
