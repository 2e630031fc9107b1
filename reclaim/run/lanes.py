"""Owns the lanes: entries are stored side by side in them, the entries of one order key one after another (G3)."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from reclaim.handlers.outcomes import Keyed
from reclaim.run.decisions import HELD_BACK, Decision, Judged
from reclaim.run.order import by_hash, by_key, in_batches, rounds
from reclaim.run.turn import Turn
from reclaim.verdicts import Verdict

Store = Callable[[Sequence[Keyed]], Awaitable[Judged]]  # stores entries with one call, and judges what came of them

Rounds = Sequence[deque[list[Keyed]]]  # lists of entries; those of a round are begun when the round before has ended


class Lanes:
    """The lanes of one run: so many lists of entries are in work at the same time, whichever pages they are of."""

    def __init__(self, lanes: int, *, at_once: bool, undivided: bool = False, most: int = 1) -> None:
        """Make them.

        Args:
            lanes: how many.
            at_once: whether the handler stores a list of entries in one call.
            most: how many entries, each of another order key, the handler takes in one call if not.
            undivided: whether a page is one list, and not one for each lane: a script that moves entries looks at
                neighbours together.
        """
        self._lanes = lanes
        self._at_once = at_once
        self._most = most
        self._lists = 1 if undivided else lanes
        self._free = asyncio.Semaphore(lanes)

    def split(self, keyed: Sequence[Keyed]) -> "Rounds":
        """The lists that lanes take up one after another; all entries of an order key are in one of them.

        Batches have one entry of an order key at most. They are made in rounds: a key's next entry is in the next one.
        """
        if self._at_once:
            return [deque(by_hash(keyed, self._lists))]
        if self._most == 1:
            return [deque(by_key(keyed))]
        return [deque(in_batches(some, self._most)) for some in rounds(keyed)]

    async def store(self, work: "Rounds", store: Store, turn: Turn) -> Judged:
        """Have all lists stored. A key whose entry is not settled in a round waits with its later ones (G3)."""
        parts: list[Judged] = []
        stuck: set[bytes] = set()
        for lists in work:
            free, held = _apart(lists, stuck) if stuck else (lists, [])
            turn.begin(len(held))
            keys = {key for some in free for key, _ in some} if len(work) > 1 else set()
            judged = await self._store_round(free, store, turn)
            parts += (Judged(decisions=held), judged)
            stuck |= keys - judged.settled_keys if keys else set()
        return Judged.joined(parts)

    async def _store_round(self, lists: deque[list[Keyed]], store: Store, turn: Turn) -> Judged:
        """Have the lists stored. If one lane raises, the others stop: they would store what the run gives back."""
        lanes = [self._lane(lists, store, turn) for _ in range(min(len(lists), self._lanes))]
        return Judged.joined(await _all(lanes))

    async def _lane(self, lists: deque[list[Keyed]], store: Store, turn: Turn) -> Judged:
        """Take up one list after another, until none is left."""
        parts: list[Judged] = []
        async with self._free:
            while lists:
                if turn.is_blocked:
                    await turn.unblocked()
                    continue
                some = lists.popleft()
                turn.begin(len(some))
                parts.append(await self._in_turn(some, store))
        return Judged.joined(parts)

    async def _in_turn(self, some: Sequence[Keyed], store: Store) -> Judged:
        """Store a list at once, or one entry after another up to the first that is not settled (G3)."""
        if self._at_once or self._most > 1 or len(some) == 1:
            return await store(some)
        parts: list[Judged] = []
        for at, one in enumerate(some):
            judged = await store([one])
            parts.append(judged)
            if not judged.all_settled:
                later = [Decision(*other, Verdict.HELD, HELD_BACK) for other in some[at + 1 :]]
                parts.append(Judged(decisions=later))
                break
        return Judged.joined(parts)


def _apart(lists: deque[list[Keyed]], stuck: AbstractSet[bytes]) -> tuple[deque[list[Keyed]], list[Decision]]:
    """The lists without the entries of these keys; and these, held."""
    held = [Decision(*one, Verdict.HELD, HELD_BACK) for some in lists for one in some if one[0] in stuck]
    free = ([one for one in some if one[0] not in stuck] for some in lists)
    return deque(some for some in free if some), held


async def _all(lanes: Sequence[Coroutine[Any, Any, Judged]]) -> list[Judged]:
    tasks = [asyncio.create_task(lane) for lane in lanes]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
