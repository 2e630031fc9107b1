"""Owns the search among dead letters: each answer looks at a bounded number of them, and says where to go on.

There may be 100,000, and each may be large. So no answer waits for the end of the list: whoever asks goes on after what
was looked at last, and adds up what the answers say.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from reclaim.entry import id_after, id_before, id_number
from reclaim.ops.results import LetterGroup
from reclaim.state.dead_letters import LETTERS_AT_ONCE, DeadLetter, DeadLetters
from reclaim.state.letter_filter import LetterFilter, error_group
from reclaim.times import Deadline, moment

LOOK_AT = 20_000  # dead letters that one answer looks at, at most
LOOK_SEC = 0.6  # after so long an answer looks at no more
PAGE_BYTES = 2**20  # a page of dead letters ends early if its bodies have more bytes than this
GROUPS_SHOWN = 100
LAST_MS = 253_402_300_799_000  # of the year 9999: somebody else may have chosen an ID


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at some dead letters has found.

    Attributes:
        letters: those that fit.
        looked: how many it has looked at.
        next: the ID after which to go on; None at the end.
    """

    letters: Sequence[DeadLetter]
    looked: int
    next: bytes | None


@dataclass(frozen=True, slots=True)
class FoundGroups:
    """The groups among some dead letters, the largest first; `matched` of those that it `looked` at fit."""

    groups: Sequence[LetterGroup]
    others: int
    looked: int
    matched: int
    next: bytes | None


@dataclass(slots=True)
class _Group:
    count: int
    first: int
    last: int
    example: bytes


async def search(
    letters: DeadLetters,
    wanted: LetterFilter,
    *,
    newest_first: bool,
    after: bytes | None,
    limit: int,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """At most `limit` dead letters that fit, from the one after `after`."""
    found: list[DeadLetter] = []
    looked = size = 0
    deadline = Deadline(LOOK_SEC, clock)
    at_once = limit if wanted == LetterFilter() else LETTERS_AT_ONCE
    async for some in _walk(letters, wanted, newest_first=newest_first, after=after, at_once=at_once):
        for letter in some:
            looked += 1
            if not wanted.fits(letter):
                continue
            found.append(letter)
            size += sum(map(len, letter.entry.fields))
            if len(found) == limit or size > PAGE_BYTES:
                return Found(found, looked, letter.id)
        if looked >= LOOK_AT or deadline.passed():
            return Found(found, looked, some[-1].id)
    return Found(found, looked, None)


async def count_groups(
    letters: DeadLetters,
    wanted: LetterFilter,
    *,
    newest_first: bool,
    after: bytes | None,
    clock: Callable[[], float] = time.monotonic,
) -> FoundGroups:
    """The groups among the dead letters that fit, from the one after `after`."""
    groups: dict[tuple[str, str], _Group] = {}
    looked = matched = 0
    go_on = None
    deadline = Deadline(LOOK_SEC, clock)
    async for some in _walk(letters, wanted, newest_first=newest_first, after=after, at_once=LETTERS_AT_ONCE):
        looked += len(some)
        for letter in some:
            if wanted.fits(letter):
                matched += 1
                _count(groups, letter)
        if looked >= LOOK_AT or deadline.passed():
            go_on = some[-1].id
            break
    ranked = sorted(groups.items(), key=lambda one: -one[1].count)
    shown = [_shown(reason, error, group) for (reason, error), group in ranked[:GROUPS_SHOWN]]
    others = sum(group.count for _, group in ranked[GROUPS_SHOWN:])
    return FoundGroups(shown, others, looked, matched, go_on)


def _count(groups: dict[tuple[str, str], _Group], letter: DeadLetter) -> None:
    at = id_number(letter.id)
    of = (letter.reason, error_group(letter.error))
    group = groups.setdefault(of, _Group(0, at, at, letter.id))
    group.count += 1
    group.first, group.last = min(group.first, at), max(group.last, at)


def _shown(reason: str, error: str, group: _Group) -> LetterGroup:
    first, last = (moment(min(at >> 64, LAST_MS)) for at in (group.first, group.last))
    return LetterGroup(reason, error, group.count, first, last, group.example.decode())


async def _walk(
    letters: DeadLetters, wanted: LetterFilter, *, newest_first: bool, after: bytes | None, at_once: int
) -> AsyncIterator[Sequence[DeadLetter]]:
    """The dead letters whose IDs fit, from the one after `after`, a few at a time."""
    first, last = wanted.first, wanted.last
    if after is not None and newest_first:
        last = min(last, id_before(after), key=id_number)
    elif after is not None:
        if (start := id_after(after)) is None:
            return
        first = max(first, start, key=id_number)
    async for some in letters.walk(first, last, newest_first=newest_first, at_once=at_once):
        yield some
