"""Owns the pages in work: stored in lanes, each beside the end of those before it, and settled one after another."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from reclaim.entry import id_number
from reclaim.errors import MissingField
from reclaim.handlers.outcomes import SUPERSEDED, Handler, Keyed
from reclaim.retry import Retries
from reclaim.run.attempts import Storing
from reclaim.run.circuit_gate import Passage
from reclaim.run.claims import Hand, Hands
from reclaim.run.decisions import (
    HELD_BACK,
    Decision,
    by_hash,
    by_key,
    decide,
    in_turn,
    judge,
    superseded_among,
    with_unparked,
    without_taken,
)
from reclaim.run.tally import PageAccount, Tally
from reclaim.settings import Target
from reclaim.state.connection import Server
from reclaim.state.dead_letters import DeadLetters, Parking, Reason
from reclaim.state.page_size import PageSize
from reclaim.state.pending import PendingList
from reclaim.state.refunds import Refunds
from reclaim.times import Deadline
from reclaim.verdicts import Verdict, classify

T = TypeVar("T")
Decided = tuple[list[Keyed], list[Decision]]  # the entries that are done, and the others


class Retrying(Protocol):
    """Calls something again while its error may pass and there is time."""

    def __call__(self, call: Callable[[], Awaitable[T]], /) -> Awaitable[T]: ...


@dataclass(slots=True, eq=False)
class _Work:
    """A page in work.

    Attributes:
        hand: its entries, as far as they are in our hands.
        keyed: its entries with their order keys; without those that have none.
        keys: its order keys.
        decisions: what was decided before anything was stored.
        before: the pages before it that were not settled when it was begun, as long as one of them is not.
        draining: set when nothing of it is left to be begun.
        settled: set when all of it is acknowledged, parked or given back.
        is_troubled: whether any of its entries could not simply be stored.
    """

    hand: Hand
    keyed: list[Keyed]
    keys: set[bytes]
    decisions: list[Decision]
    before: "list[_Work]"
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    is_troubled: bool = False


@dataclass(kw_only=True, eq=False)
class Pages:
    """What one run does with the pages that it has claimed.

    A page may be begun while those before it come to their end, so that no lane is idle; but not those of its entries
    whose order key these have too (G3), and nothing where these have failures: they may open the circuit.

    Attributes:
        ending: says why nothing more is to be begun; None while the run goes on.
        park_until: what tries to make dead letters is given up then.
        held: the hashes of order keys that wait for an entry that is not done.
    """

    target: Target
    handler: Handler
    server: Server
    pending: PendingList
    refunds: Refunds
    dead_letters: DeadLetters
    hands: Hands
    storing: Storing
    passage: Passage
    tally: Tally
    pace: PageSize
    retries: Retries
    retrying: Retrying
    park_until: Deadline
    ending: Callable[[], object | None]
    clock: Callable[[], float]
    held: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._free_lanes = asyncio.Semaphore(self.target.lanes)
        self._unsettled: list[_Work] = []

    def begin(self, hand: Hand) -> asyncio.Task[None]:
        """Begin a page; the task is done when the page is settled, and fails where the run is to fail."""
        keyed: list[Keyed] = []
        decisions: list[Decision] = []
        order_key = self.handler.order_key
        for entry in hand.entries:
            try:
                keyed.append((order_key(entry), entry))
            except MissingField as exc:
                decisions.append(judge(b"", entry, exc, self.target.max_deliveries))
        self._unsettled = [one for one in self._unsettled if not one.settled.is_set()]
        work = _Work(hand, keyed, {key for key, _ in keyed}, decisions, list(self._unsettled))
        self._unsettled.append(work)
        return asyncio.create_task(self._handle(work))

    async def _handle(self, work: _Work) -> None:
        """Have the page's entries stored, in lanes; then settle what came of it."""
        shared = set().union(*(work.keys & one.keys for one in work.before))
        later = [one for one in work.keyed if one[0] in shared] if shared else []
        now = self._split([one for one in work.keyed if one[0] not in shared] if shared else work.keyed, work)
        if work.before:
            await work.before[-1].draining.wait()
        began, entries = self.clock(), work.hand.entries
        with self.tally.timed(work.hand.account):
            done = await self._store(now, work, drains=not later)
            if work.before:
                await work.before[-1].settled.wait()
                work.before.clear()
            if later:
                done += await self._store(self._split(later, work), work, drains=True)
            await self._settle(work.hand, done, in_turn(work.decisions, self._not_begun(work, done)))
        work.settled.set()
        self.pace.learn(entries, self.clock() - began)

    def _not_begun(self, work: _Work, done: Sequence[Keyed]) -> list[Keyed]:
        """What the run leaves as it ends. It holds back its order keys, on the pages after this one too (G3)."""
        if self.ending() is None:
            return []
        decided = {entry.id for _, entry in done} | {decision.entry.id for decision in work.decisions}
        left = [one for one in work.keyed if one[1].id not in decided]
        self.held.update(hash(key) for key, _ in left)
        return left

    def _split(self, keyed: Sequence[Keyed], work: _Work) -> deque[list[Keyed]]:
        """What lanes are to take up one after another: as many lists as there are lanes, or one for each order key."""
        to_store = self._plan(keyed, work.decisions)
        return deque(by_hash(to_store, self.target.lanes) if self.handler.at_once else by_key(to_store))

    async def _store(self, left: deque[list[Keyed]], work: _Work, *, drains: bool) -> list[Keyed]:
        """Store entries in lanes, and decide what becomes of those that are not done; return those that are.

        `drains` says that they are the page's last ones.
        """
        if drains and not left:
            work.draining.set()
        lanes = [self._lane(left, work, drains=drains) for _ in range(min(len(left), self.target.lanes))]
        done: list[Keyed] = []
        for lane_done, decisions in await _all(lanes):
            done += lane_done
            work.decisions += decisions
        return done

    def _plan(self, keyed: Sequence[Keyed], decisions: list[Decision]) -> Sequence[Keyed]:
        """Which entries are to be stored; what is decided already about the others is added to the decisions."""
        most = self.target.max_deliveries
        if not self.held and all(entry.deliveries <= most for _, entry in keyed):
            return keyed
        to_store: list[Keyed] = []
        for one in keyed:
            key, entry = one
            if self.held and hash(key) in self.held:
                decisions.append(Decision(key, entry, Verdict.HELD, HELD_BACK))
            elif entry.deliveries > most:
                reason = f"delivered {entry.deliveries} times; MAX_DELIVERIES is {most}"
                decisions.append(Decision(key, entry, Verdict.PARK, reason))
            else:
                to_store.append(one)
        return to_store

    async def _lane(self, left: deque[list[Keyed]], work: _Work, *, drains: bool) -> Decided:
        """Take up one list of entries after another: as a whole, or where the handler takes one at a time, in turn."""
        done: list[Keyed] = []
        decisions: list[Decision] = []
        async with self._free_lanes:
            while left:
                if work.before and any(one.is_troubled for one in work.before):
                    await work.before[-1].settled.wait()
                    if not left:
                        break
                some = left.popleft()
                if drains and not left:
                    work.draining.set()
                some_done, some_decisions = await self._in_turn(some, work)
                done += some_done
                decisions += some_decisions
        return done, decisions

    async def _in_turn(self, some: Sequence[Keyed], work: _Work) -> Decided:
        """Store a list of entries; of those that a handler takes one at a time, up to the first that is not settled."""
        if self.handler.at_once or len(some) == 1:
            return await self._attempt(some, work)
        done: list[Keyed] = []
        decisions: list[Decision] = []
        for at, one in enumerate(some):
            one_done, one_decisions = await self._attempt([one], work)
            done += one_done
            decisions += one_decisions
            if any(not decision.verdict.settles for decision in one_decisions):
                decisions += (Decision(*later, Verdict.HELD, HELD_BACK) for later in some[at + 1 :])
                break
        return done, decisions

    async def _attempt(self, some: Sequence[Keyed], work: _Work) -> Decided:
        """Store entries, and decide what becomes of each; leave them alone if the run is ending."""
        if self.ending() is not None:
            return [], []
        taken: list[Decision] = []
        if await self._taken(work.hand):
            some, taken = without_taken(some, work.hand.taken)
        stored = await self.storing.store(some, partial(self._taken, work.hand))
        done, decisions = decide(some, stored, self.target.max_deliveries)
        if taken or decisions:
            work.is_troubled = True
        superseded = stored.count(SUPERSEDED) and superseded_among(done, some, stored)
        work.hand.account.add(superseded=superseded, stored=len(done) - superseded)
        return done, taken + decisions

    async def _taken(self, hand: Hand) -> AbstractSet[bytes]:
        """The IDs of the page's entries that somebody else has taken; after a stall it is looked up."""
        if not self.hands.is_fresh(hand):
            await self.retrying(partial(self.hands.still_ours, hand))
        return hand.taken

    async def _settle(self, hand: Hand, done: list[Keyed], decisions: list[Decision]) -> None:
        """Park, acknowledge and give back the page's entries, each as was decided. Nothing else in the package does."""
        hand.settling = True
        to_park = [decision for decision in decisions if decision.verdict is Verdict.PARK]
        parkings = [_parking(one) for one in sorted(to_park, key=lambda one: id_number(one.entry.id))]
        if parkings:
            dropped, unparked = await self.dead_letters.park(parkings, self.retries, self.park_until)
            hand.account.add(dead_letters_dropped=dropped)
            done, decisions = with_unparked(unparked, done, decisions)
        self.held.update(hash(decision.key) for decision in decisions if not decision.verdict.settles)
        charged = [decision for decision in decisions if not decision.verdict.refunds]
        self._count(hand.account, charged)
        self.hands.settled(hand, {decision.entry.id for decision in charged})
        if done:
            await self._acknowledge([entry.id for _, entry in done])
            hand.account.add(acknowledged=len(done))
            self.hands.settled(hand, {entry.id for _, entry in done})
        if hand.entries:
            await self._give_back(hand, [decision for decision in decisions if decision.verdict.refunds])
        await self.passage.tell(done, decisions)
        stops = next((decision.error for decision in decisions if decision.verdict is Verdict.STOP), None)
        if stops is not None:
            raise stops

    async def _acknowledge(self, ids: Sequence[bytes]) -> None:
        """Acknowledge a page's entries, and see on the way whether the circuit was opened elsewhere."""
        acknowledge, is_open = self.pending.acknowledge(ids), self.passage.is_open()
        _, opened = await self.retrying(lambda: self.server.ask(acknowledge, is_open))
        self.passage.note(is_open=opened)

    async def _give_back(self, hand: Hand, decisions: Sequence[Decision]) -> None:
        """Refund what is left of a page: what is to be tried again, and what was not begun."""
        refunded = hand.entries
        self.refunds.owe(refunded)
        self.hands.settled(hand, {entry.id for entry in refunded})
        self._count(hand.account, decisions)
        hand.account.add(given_back=len(refunded) - len(decisions))
        await self.retrying(self.refunds.settle)

    def _count(self, account: PageAccount, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self.tally.reasons.add(decision.reason)
        account.add(**Counter(_COUNTED_AS[decision.verdict] for decision in decisions))


_COUNTED_AS = {
    Verdict.PARK: "parked",
    Verdict.FAIL: "failed",
    Verdict.HELD: "held",
    Verdict.RETRY: "retried",
    Verdict.STOP: "retried",
}


async def _all(lanes: Sequence[Coroutine[Any, Any, Decided]]) -> list[Decided]:
    """What comes of all the lanes. None goes on if one breaks: it would store what is being given back."""
    tasks = [asyncio.create_task(lane) for lane in lanes]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _parking(decision: Decision) -> Parking:
    if decision.error is None:
        return Parking(decision.entry, Reason.MAX_DELIVERIES, decision.reason)
    reason = Reason.FAILED if classify(decision.error) is Verdict.FAIL else Reason.BAD_ENTRY
    return Parking(decision.entry, reason, decision.reason)
