"""Owns what a run has claimed and not settled yet: its pages, kept fresh so that nobody else claims their entries."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial

from reclaim.counted import many
from reclaim.entry import Entry
from reclaim.errors import describe
from reclaim.handlers.outcomes import Handler, Keyed
from reclaim.retry import Retries
from reclaim.run.decisions import Decision, with_order_keys
from reclaim.run.group_watch import GroupWatch
from reclaim.run.limits import Limits
from reclaim.run.rules import Rules
from reclaim.run.tally import PageAccount, Tally
from reclaim.run.turn import Turn
from reclaim.settings import Target
from reclaim.state.pending import Row
from reclaim.state.refunds import Refunds

logger = logging.getLogger("reclaim")


@dataclass(slots=True, eq=False)
class Page:
    """Entries that a run has claimed together and settles together.

    Attributes:
        entries: those that are claimed and not settled yet.
        keyed: all its entries with their order keys, but for those that have none.
        without_key: what is decided about those that have none.
        turn: its place behind the pages claimed before it.
        account: what became of its entries, counted.
        weight: how many bytes an entry has, on average.
        renewed_at: when its claim was sent, or what renewed the claim last; by the run's clock.
        is_settling: from here on an entry that is no longer ours is our own doing.
        taken: IDs of entries that somebody else has claimed meanwhile.
        handed_over: IDs of entries given to a handler that acknowledges them itself: gone from the pending list, they
            are not taken by anybody.
        lost: entries that left the stream meanwhile, by ID, with their place in the ledger of lost entries (`Kept`).
        checking: locked while the run checks whose the entries are.
    """

    entries: Sequence[Entry]
    keyed: Sequence[Keyed]
    without_key: Sequence[Decision]
    turn: Turn
    account: PageAccount
    weight: float
    renewed_at: float
    is_settling: bool = False
    taken: set[bytes] = field(default_factory=set)
    handed_over: set[bytes] = field(default_factory=set)
    lost: dict[bytes, bytes | None] = field(default_factory=dict)
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def without(self, ids: AbstractSet[bytes]) -> None:
        """Note that these entries are settled: nothing is kept fresh or given back for them any more."""
        if ids:
            self.entries = [entry for entry in self.entries if entry.id not in ids]


class Claims:
    """All pages that one run has claimed and not settled yet.

    Attributes:
        moves: whether the handler acknowledges entries itself.
    """

    def __init__(
        self,
        target: Target,
        handler: Handler,
        rules: Rules,
        refunds: Refunds,
        tally: Tally,
        retries: Retries,
        limits: Limits,
        watch: GroupWatch,
        clock: Callable[[], float],
    ) -> None:
        self._name = target.name
        self._watch = watch
        self._order_key = handler.order_key
        self.moves = handler.moves
        self._rules = rules
        self._refunds = refunds
        self._tally = tally
        self._retries = retries
        self._limits = limits
        self._clock = clock
        self._renew_every_sec = max(target.min_idle_ms / 3000, 0.1)
        self._stale_sec = 0.8 * target.min_idle_ms / 1000
        self._pages: list[Page] = []

    def add(self, entries: Sequence[Entry], weight: float, asked_at: float) -> Page:
        """Note a page as ours since `asked_at`, when its claim was sent: Redis may have made the claim just then."""
        keyed, without_key = with_order_keys(entries, self._order_key, self._rules)
        turn = Turn(keyed, [page.turn for page in self._pages])
        page = Page(entries, keyed, without_key, turn, self._tally.claimed(entries), weight, asked_at)
        self._pages.append(page)
        return page

    def remove(self, page: Page) -> None:
        """Note that a page is settled."""
        page.turn.ended.set()
        self._pages.remove(page)

    async def keep(self) -> None:
        """Renew the claims on pages that take long, well before anybody else may claim them, until cancelled."""
        while True:
            await asyncio.sleep(self._renew_every_sec)
            for page in tuple(self._pages):
                try:
                    await self._renew(page, self._renew_every_sec / 2)
                except Exception as exc:  # noqa: BLE001  # the next turn tries again; the run itself sees what is wrong
                    logger.warning("reclaim %s: claims not renewed: %s", self._name, describe(exc))

    def hand_over(self, page: Page, some: Sequence[Keyed]) -> None:
        """Note that the handler has these entries from now on."""
        if self.moves:
            page.handed_over.update(entry.id for _, entry in some)

    async def are_lost(self, gone: Sequence[Keyed]) -> bool:
        """Whether entries that were pending no more when they were to be moved are gone with their group (G2).

        If they are not, our own move had happened, or somebody else has acknowledged them.
        """
        rows = [Row(one.id, one.consumer, one.idle_ms, one.deliveries) for _, one in gone]
        return await self._retries.call(self._limits.settle, partial(self._watch.check, rows))

    async def taken(self, page: Page) -> AbstractSet[bytes]:
        """The IDs of the page's entries that somebody else has claimed.

        The server is asked only after a stall so long that somebody may have claimed them: before an old entry is
        stored over a new one.
        """
        if self._clock() - page.renewed_at >= self._stale_sec:
            await self._retries.call(self._limits.settle, partial(self._renew, page, self._stale_sec))
        return page.taken

    async def _renew(self, page: Page, after_sec: float) -> None:
        """Make a page's entries fresh again if they were so long ago; note those that somebody else has claimed.

        Whoever comes while this is under way waits for its answer.
        """
        if self._clock() - page.renewed_at < after_sec:
            return
        async with page.checking:
            asked_at = self._clock()
            if asked_at - page.renewed_at < after_sec:
                return
            left = page.taken | page.lost.keys()
            kept = await self._refunds.keep([entry for entry in page.entries if entry.id not in left])
            page.renewed_at = asked_at
            page.lost |= kept.lost
            gone = kept.gone - page.handed_over
            if gone and not page.is_settling:
                page.taken |= gone
                if await self._watch.check(rows_of(page.entries, gone)):
                    return
                page.account.add(taken=len(gone))
                logger.warning(
                    "reclaim %s: %s taken while being handled", self._name, many(len(gone), "entry was", "entries were")
                )

    async def give_back(self) -> None:
        """Refund all entries that are not settled, because the run ends (G5)."""
        entries: list[Entry] = []
        for page in self._pages:
            page.is_settling = True
            self._tally.add(lost=len(page.lost))
            page.without(page.lost.keys())
            entries += page.entries
        self._pages.clear()
        self._refunds.owe(entries)
        try:
            gone = rows_of(entries, await self._refunds.settle())
            self._tally.add(given_back=len(entries) - len(gone))
        finally:
            self._tally.add(lost=self._refunds.take_lost())
        if gone:
            await self._watch.check(gone)


def rows_of(entries: Iterable[Entry], ids: AbstractSet[bytes]) -> list[Row]:
    """Those of the entries that have these IDs, as rows of the pending list."""
    return [Row(one.id, one.consumer, one.idle_ms, one.deliveries) for one in entries if one.id in ids]
