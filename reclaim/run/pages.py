"""Owns the life of a page: it is planned, it has its turn, its entries are stored in lanes, and it is settled."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from reclaim.handlers.outcomes import Keyed
from reclaim.run.attempts import Storing
from reclaim.run.claims import Claims, Page
from reclaim.run.decisions import (
    NOTHING,
    Judged,
    Plan,
    apart,
    decide,
    plan,
    unhandled_in_turn,
    without_overtaking,
    without_taken,
)
from reclaim.run.duplicates import Duplicates
from reclaim.run.lanes import Lanes
from reclaim.run.limits import Halt
from reclaim.run.order import HeldKeys
from reclaim.run.rules import Rules
from reclaim.run.settling import Settler
from reclaim.run.tally import Tally
from reclaim.state.page_size import PageSize


class Pages:
    """What one run does with each page that it has claimed."""

    def __init__(
        self,
        *,
        claims: Claims,
        lanes: Lanes,
        storing: Storing,
        settler: Settler,
        halt: Halt,
        held: HeldKeys,
        rules: Rules,
        page_size: PageSize,
        tally: Tally,
        clock: Callable[[], float],
    ) -> None:
        self._claims = claims
        self._lanes = lanes
        self._storing = storing
        self._settler = settler
        self._halt = halt
        self._held = held
        self._rules = rules
        self._page_size = page_size
        self._tally = tally
        self._duplicates = Duplicates(tally.target)
        self._clock = clock

    async def handle(self, page: Page) -> None:
        """A page's life, from the claim to the end.

        If an earlier page has the same order key, an entry is planned and stored only after that page is settled (G3).

        Raises:
            Exception: the run is to fail.
        """
        free, waiting = apart(page.keyed, page.turn.shared_keys())
        first = self._plan(page, free)
        lists = self._lanes.split(first.to_store)
        await page.turn.comes()
        began, count = self._clock(), len(page.entries)
        with self._tally.timed(page.account):
            came_first = await self._lanes.store(lists, partial(self._attempt, page), page.turn)
            await page.turn.is_first()
            then = self._plan(page, waiting)
            came_then = await self._lanes.store(
                self._lanes.split(then.to_store), partial(self._attempt, page), page.turn
            )
            decided = Judged(decisions=[*page.without_key, *first.decided, *then.decided])
            judged = Judged.joined([decided, came_first, came_then])
            await self._settler.settle(page, unhandled_in_turn(judged, self._not_begun(page, judged)))
        self._claims.remove(page)
        self._page_size.learn(count, page.weight, self._clock() - began)

    def _plan(self, page: Page, keyed: Sequence[Keyed]) -> Plan:
        planned = plan(keyed, self._held, self._rules)
        if self._claims.moves:
            planned = without_overtaking(planned)
        page.turn.begin(len(planned.decided))
        return planned

    async def _attempt(self, page: Page, some: Sequence[Keyed]) -> Judged:
        """Store entries and judge what came of each; leave them alone if the run begins nothing more."""
        if self._halt.ending() is not None:
            return NOTHING
        to_store, decided = some, NOTHING
        if taken := await self._claims.taken(page):
            if self._halt.ending() is not None:  # the group is gone, and nobody has taken them
                return NOTHING
            ours = without_taken(some, taken)
            to_store, decided = ours.to_store, Judged(decisions=ours.decided)
        self._claims.hand_over(page, to_store)
        outcomes = await self._storing.store(to_store, partial(self._claims.taken, page))
        judged = decide(to_store, outcomes, self._rules)
        if decided.decisions or judged.decisions:
            page.turn.has_failures = True
        page.account.add(stored=len(judged.done) - judged.superseded)
        if judged.gone and await self._claims.are_lost(judged.gone):
            judged = replace(judged, gone=())
        if judged.moved or judged.gone:
            _take_off(page, judged)
        if judged.superseded:
            page.account.add(superseded=judged.superseded)
        if judged.duplicates:
            page.account.add(duplicate_fields=len(judged.duplicates))
            self._duplicates.tell(judged.duplicates)
        return Judged.joined([decided, judged]) if decided.decisions else judged

    def _not_begun(self, page: Page, judged: Judged) -> Sequence[Keyed]:
        """The entries that the run leaves alone as it ends. They hold back later ones, on the next pages too (G3)."""
        if self._halt.ending() is None:
            return ()
        known = {entry.id for _, entry in judged.finished} | {decision.entry.id for decision in judged.decisions}
        left = [one for one in page.keyed if one[1].id not in known]
        for key, entry in left:
            self._held.hold(key, entry)
        return left


def _take_off(page: Page, judged: Judged) -> None:
    """Count what is moved or gone, and take it off the page at once: nothing is kept fresh or acknowledged for it."""
    off = [*judged.moved, *judged.gone]
    page.account.add(acknowledged=len(off), moved=len(judged.moved))
    if judged.not_deleted:
        page.account.add(not_deleted=judged.not_deleted)
    page.without({entry.id for _, entry in off})
