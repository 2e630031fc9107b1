"""Owns which reasons are one: the same class and the same message, but for what differs from entry to entry."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from reclaim.bounded import REASON_CHARS, largest, shortened

MAX_REASONS = 20
OTHER_REASONS = "other reasons"
TOP = 3  # reasons that a person is told at once
TOP_CHARS = 120  # of each of them

_CLASS = re.compile(r"[^\W\d][\w.]*: ")
_QUOTED = r"""(?<![\w#])(?P<quote>['"`])(?:(?!(?P=quote))[^\n])+(?P=quote)(?![\w#])"""
_UUID = r"(?<![0-9a-zA-Z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9a-zA-Z])"
_HEX = r"0[xX][0-9a-fA-F]+|(?<![0-9a-zA-Z])(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}(?![0-9a-zA-Z])"
_NUMBER = r"\d+(?:[.,]\d+)*"
_VARIES = re.compile(f"{_QUOTED}|{_UUID}|{_HEX}|{_NUMBER}")
_VARIES_UNQUOTED = re.compile(f"{_UUID}|{_HEX}|{_NUMBER}")
_ALL_QUOTED = re.compile(r"""(['"`])(?:(?!\1)[^\n])*\1""")


def masked(reason: str) -> str:
    """The reason with ``#`` for each number, hexadecimal ID and UUID, and ``'…'`` for each quoted value.

    ``ValueError: no stock of 'A-7' (order 3)`` becomes ``ValueError: no stock of '…' (order #)``. The class stays as it
    is; and so does a message that is nothing but one quoted value, as of a KeyError, but for the numbers in it. What is
    masked already stays as it is.
    """
    named = _CLASS.match(reason)
    start = named.end() if named else 0
    message = reason[start:]
    pattern = _VARIES_UNQUOTED if _ALL_QUOTED.fullmatch(message) else _VARIES
    return reason[:start] + pattern.sub(_mask, message)


def _mask(found: re.Match[str]) -> str:
    quote = found.groupdict().get("quote")
    return f"{quote}…{quote}" if quote else "#"


@dataclass(slots=True)
class _Group:
    """Reasons that are one: the first of them, and how many there are."""

    first: str
    count: int = 0
    varies: bool = False


@dataclass(slots=True)
class Reasons:
    """Why entries were not stored, and how many for each reason: for the first 20 reasons, then for all others."""

    _groups: dict[str, _Group] = field(default_factory=dict)
    _others: int = 0

    def add(self, reason: str, count: int = 1) -> bool:
        """Count entries that were not stored for this reason; return whether it is a new one, and one that is told."""
        reason = shortened(reason, REASON_CHARS)
        if reason == OTHER_REASONS:
            self._others += count
            return False
        name = masked(reason)
        group = self._groups.get(name)
        is_new = group is None
        if group is None:
            if len(self._groups) >= MAX_REASONS:
                self._others += count
                return False
            group = self._groups[name] = _Group(reason)
        group.count += count
        group.varies = group.varies or group.first != reason
        return is_new

    def add_all(self, more: Mapping[str, int]) -> None:
        """Count more reasons."""
        for reason, count in more.items():
            self.add(reason, count)

    def counts(self) -> dict[str, int]:
        """How many for each reason: one that was always the same in its words, any other masked."""
        found = {name if group.varies else group.first: group.count for name, group in self._groups.items()}
        return found | ({OTHER_REASONS: self._others} if self._others else {})


def counts_in(said: object) -> dict[str, int]:
    """The reasons and how many for each in a report that was read: somebody else may have written anything there."""
    if not isinstance(said, Mapping):
        return {}
    return {str(name): count for name, count in said.items() if type(count) is int and count > 0}


def top_reasons(counts: Mapping[str, int], most: int = TOP) -> str:
    """The most frequent reasons in one line, how many for each, and how many others: for a person."""
    named = {reason: count for reason, count in counts.items() if reason != OTHER_REASONS}
    told = largest(named, most, TOP_CHARS, OTHER_REASONS)
    others = told.pop(OTHER_REASONS, 0) + counts.get(OTHER_REASONS, 0)
    ranked = sorted(told.items(), key=lambda one: -one[1])
    parts = [f"{reason} ({count:,})" for reason, count in ranked]
    return "; ".join(parts + ([f"{OTHER_REASONS} ({others:,})"] if others else []))
