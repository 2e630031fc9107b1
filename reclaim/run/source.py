"""Owns where a run's pages come from: it finds idle entries, reads and claims them, to the end of the list."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from redis.exceptions import RedisError

from reclaim.errors import ServerError
from reclaim.retry import Retries
from reclaim.run.circuit_gate import CircuitGate
from reclaim.run.claims import Claims, Page
from reclaim.run.decisions import DeliveryBudget
from reclaim.run.fit import FitCheck
from reclaim.run.limits import Limits
from reclaim.run.tally import Tally
from reclaim.settings import Target
from reclaim.state.bodies import Bodies, Body
from reclaim.state.claim import Claimed, Claimer
from reclaim.state.find import START, Finder, Found
from reclaim.state.page_size import PageSize
from reclaim.state.pending import Row

FOUND_SEC = 1.0  # for how long what was found is worth a claim


@dataclass(frozen=True, slots=True)
class _Read:
    """Idle entries and their bodies, and when this was known, by the run's clock.

    Attributes:
        found: the entries.
        bodies: of each of them.
        is_suspect: whether it is one entry, a suspect.
        at: the time.
    """

    found: Found
    bodies: Sequence[Body]
    is_suspect: bool
    at: float


@dataclass(frozen=True, slots=True)
class _LookAhead:
    """A look for idle entries from `start` on."""

    start: bytes
    task: asyncio.Task[_Read]


@dataclass(frozen=True, slots=True)
class _Claimed:
    """What one claim gave, and when it was sent."""

    claimed: Claimed
    asked_at: float


class PageSource:
    """Claims the pages of one run, in ID order.

    An entry that a run of ours may have died of, a suspect, is a page of its own and never claimed ahead: dying of it
    again costs no other entry a delivery (G4).
    """

    def __init__(
        self,
        *,
        target: Target,
        finder: Finder,
        bodies: Bodies,
        claimer: Claimer,
        claims: Claims,
        gate: CircuitGate,
        budget: DeliveryBudget,
        page_size: PageSize,
        fit: FitCheck,
        tally: Tally,
        retries: Retries,
        limits: Limits,
        looks_ahead: bool,
        clock: Callable[[], float],
    ) -> None:
        self._consumer = target.consumer_bytes
        self._found_sec = min(FOUND_SEC, target.min_idle_ms / 1000)
        self._finder = finder
        self._bodies = bodies
        self._claimer = claimer
        self._claims = claims
        self._gate = gate
        self._budget = budget
        self._page_size = page_size
        self._fit = fit
        self._tally = tally
        self._retries = retries
        self._limits = limits
        self._looks_ahead = looks_ahead
        self._clock = clock
        self._at: bytes | None = START
        self._sought: _LookAhead | None = None

    @property
    def is_exhausted(self) -> bool:
        """Whether the end of the list is reached."""
        return self._at is None

    async def next(self, total: int, *, ahead: bool) -> Page | None:
        """Claim the next page that has any entries; None at the end of the list.

        None also if the next entry is a suspect and other pages are in work (`ahead`). `total` is about how many
        entries are pending.
        """
        while (start := self._at) is not None:
            claim = await self._retries.call(self._limits.settle, partial(self._claim, start, total, ahead=ahead))
            if claim is None:
                return None
            self._at = claim.claimed.after
            self._tally.add(lost=len(claim.claimed.lost))
            if claim.claimed.unrecorded is not None:
                why = f"lost entries could not be recorded: {claim.claimed.unrecorded}"
                self._tally.why.reasons.add(why)
            if claim.claimed.entries:
                return self._claims.add(claim.claimed.entries, claim.asked_at)
        return None

    def may_claim_ahead_of(self, page: Page) -> bool:
        """Whether the next page would be handled soon, and not only wait, if it is claimed while this is in work."""
        return self._page_size.is_quick and not self._gate.probing and not self._budget.is_last(page.entries[0])

    async def close(self) -> None:
        """End a look ahead that nobody waits for, and let go of what it has read."""
        await self._end_look()
        self._bodies.forget_all()

    async def _end_look(self) -> None:
        sought, self._sought = self._sought, None
        if sought is not None:
            sought.task.cancel()
            await asyncio.gather(sought.task, return_exceptions=True)

    async def _claim(self, start: bytes, total: int, *, ahead: bool) -> _Claimed | None:
        """Claim entries up to a suspect, or a suspect alone; None where a suspect would be claimed ahead."""
        read = await self._found(start, total)
        if read.is_suspect and ahead:
            return None
        if not read.found.rows:
            return _Claimed(Claimed((), (), read.found.after), self._clock())
        await self._fit.check(read.found.rows, read.bodies)
        self._look_ahead(read.found.after, total)
        asked_at = self._clock()
        claimed = await self._claimer.claim(read.found, read.bodies)
        self._bodies.forget(row.id for row in read.found.rows)
        return _Claimed(claimed, asked_at)

    async def _found(self, start: bytes, total: int) -> _Read:
        """The next idle entries: those of the look ahead, if it was over a moment ago."""
        count = self._gate.at_most(self._page_size.count)
        sought = self._sought
        if sought is not None and sought.start == start:
            self._sought = None
            with suppress(RedisError, ServerError, OSError):  # looking again says what is wrong
                read = await sought.task
                if not read.found.rows or self._clock() - read.at < self._found_sec:
                    return replace(read, found=read.found.first(count), bodies=read.bodies[:count])
        await self._end_look()
        return await self._look(start, count, total)

    def _look_ahead(self, start: bytes | None, total: int) -> None:
        """Look for the next entries while these are claimed, if they are likely to be claimed soon."""
        if start is not None and self._looks_ahead and self._page_size.is_quick and not self._gate.probing:
            look = self._look(start, self._page_size.count, total)
            self._sought = _LookAhead(start, asyncio.create_task(look))

    async def _look(self, start: bytes, count: int, total: int) -> _Read:
        """Find idle entries and read the bodies of the first of them: up to a suspect, or a suspect alone."""
        found = await self._finder.find(start, count, total)
        suspect = self._first_suspect(found.rows)
        if suspect is not None:
            found = found.first(max(suspect, 1))
        bodies = await self._bodies.first([row.id for row in found.rows]) if found.rows else ()
        return _Read(found.first(len(bodies)), bodies, suspect == 0, self._clock())

    def _first_suspect(self, rows: Sequence[Row]) -> int | None:
        """Where the first entry is that a run of ours may have died of."""
        for at, row in enumerate(rows):
            if row.consumer == self._consumer and self._budget.may_have_killed(row.deliveries):
                return at
        return None
