"""Owns what a run has in its hands: pages claimed and not yet settled, kept fresh so that nobody takes them."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from reclaim.entry import Entry
from reclaim.run.tally import PageAccount, Tally
from reclaim.settings import Target
from reclaim.state.claim import Claimed
from reclaim.state.refunds import Refunds

logger = logging.getLogger("reclaim")


@dataclass(slots=True, eq=False)
class Hand:
    """A page in our hands: claimed, and neither acknowledged nor given back yet.

    Attributes:
        entries: the page's.
        after: where the next page starts; None: nowhere.
        account: what became of its entries, counted.
        kept_at: when the claim, or what renewed it last, was sent; by the run's clock.
        settling: from here on an entry that is no longer ours is our own doing.
        taken: IDs of entries that somebody else has claimed meanwhile.
        checking: held while it is found out whose the entries are.
    """

    entries: Sequence[Entry]
    after: bytes | None
    kept_at: float
    account: PageAccount
    settling: bool = False
    taken: set[bytes] = field(default_factory=set)
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Hands:
    """All the pages that one run has in its hands."""

    def __init__(self, refunds: Refunds, target: Target, tally: Tally, clock: Callable[[], float]) -> None:
        self._refunds = refunds
        self._target = target
        self._tally = tally
        self._clock = clock
        self._stale_sec = 0.8 * target.min_idle_ms / 1000
        self._held: list[Hand] = []

    def __iter__(self) -> Iterator[Hand]:
        return iter(tuple(self._held))

    def take(self, page: Claimed, asked_at: float) -> Hand:
        """Note a page as ours, by a claim that was sent then: what stalls on the way has made it old already."""
        hand = Hand(page.entries, page.after, asked_at, self._tally.claimed(page.entries))
        self._held.append(hand)
        return hand

    def settled(self, hand: Hand, ids: AbstractSet[bytes]) -> None:
        """Note that these entries of a page are not in our hands any more."""
        hand.entries = [entry for entry in hand.entries if entry.id not in ids]
        if not hand.entries:
            self._held.remove(hand)

    async def keep(self) -> None:
        """Renew the claims on pages that take long, well before anybody else may have them, until cancelled."""
        every_sec = max(self._target.min_idle_ms / 3000, 0.1)
        while True:
            await asyncio.sleep(every_sec)
            for hand in self:
                try:
                    await self._refresh(hand, every_sec / 2)
                except Exception as exc:  # noqa: BLE001  # the next turn tries again; the run itself sees what is wrong
                    logger.warning("reclaim %s: claims not renewed: %s", self._target.name, exc)

    def is_fresh(self, hand: Hand) -> bool:
        """Whether a page's entries were ours so short a time ago that nobody else can have taken them."""
        return self._clock() - hand.kept_at < self._stale_sec

    async def still_ours(self, hand: Hand) -> None:
        """After a stall so long that they may have been taken, look before an old entry is stored over a new one."""
        await self._refresh(hand, self._stale_sec)

    async def _refresh(self, hand: Hand, after_sec: float) -> None:
        """Make a page's entries fresh again, if they were so long ago; notice those that somebody took all the same.

        Whoever comes while it is being found out waits for the answer.
        """
        if self._clock() - hand.kept_at < after_sec:
            return
        async with hand.checking:
            asked_at = self._clock()
            if asked_at - hand.kept_at < after_sec:
                return
            gone = await self._refunds.keep([entry for entry in hand.entries if entry.id not in hand.taken])
            hand.kept_at = asked_at
            if gone and not hand.settling:
                hand.taken |= gone
                hand.account.add(taken=len(gone))
                logger.warning("reclaim %s: %d entries were taken while being handled", self._target.name, len(gone))

    async def give_back(self) -> None:
        """Refund all that is still in our hands, because the run ends."""
        ids: set[bytes] = set()
        for hand in self._held:
            hand.settling = True
            self._refunds.owe(hand.entries)
            ids.update(entry.id for entry in hand.entries)
        self._held.clear()
        self._tally.add(given_back=len(ids - await self._refunds.settle()))
