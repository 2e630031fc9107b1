"""Owns the run, from the lease to the report.

One run finds idle entries page by page, claims them, has the handler store them, and only then acknowledges them.
What it must not do is in the promises G1 to G6; where one of them decides how a line is written, the line says so.
"""

import asyncio
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import RedisError, ResponseError

from reclaim.errors import MissingField, ServerError, describe
from reclaim.handlers.outcomes import Handler
from reclaim.retry import Retries
from reclaim.run.attempts import STOP_SEC, Storing
from reclaim.run.circuit_gate import Passage
from reclaim.run.claims import Hand, Hands
from reclaim.run.pages import Pages
from reclaim.run.report import Outcome, RunReport
from reclaim.run.tally import Tally
from reclaim.settings import Target
from reclaim.state.ask import Ask, Command, Reply, checked, plain
from reclaim.state.circuit import Circuit
from reclaim.state.claim import Claimed, Claimer
from reclaim.state.connection import Server
from reclaim.state.dead_letters import DeadLetters
from reclaim.state.find import START, Finder, Found
from reclaim.state.lease import Lease
from reclaim.state.page_size import FIRST_PAGE, GROWTH, PageSize
from reclaim.state.pending import PendingList, Row
from reclaim.state.refunds import Refunds
from reclaim.times import Deadline
from reclaim.trace import run_under_way

logger = logging.getLogger("reclaim")

MAX_HELD_KEYS = 100_000
SWEEP_EVERY_SEC = 3600.0
PAGES_AT_ONCE = 3  # in work, where a page is mostly round trips; else 2 keep the lanes busy
FOUND_SEC = 1.0  # for how long what was found is worth a claim

T = TypeVar("T")
Ending = tuple[Outcome, str, Exception | None]  # how a run ends, why, and with which error


class Runner:
    """Reclaims one target. It keeps from run to run what a run owes the next, and nothing else."""

    def __init__(
        self,
        target: Target,
        server: Server,
        handler: Handler,
        history: Callable[[RunReport], Command | None] = lambda _: None,
        hangs_sec: float = math.inf,
        pages_at_once: int = PAGES_AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make it; nothing is connected yet.

        Args:
            target: what to reclaim.
            server: where.
            handler: what is done with each entry.
            history: makes the command that keeps a run's report, where it is to be kept.
            hangs_sec: a function that takes so long for an entry hangs.
            pages_at_once: how many may be in work where entries are stored at once.
            clock: monotonic seconds.
            sleep: waits so many seconds between two attempts.
        """
        self.history = history
        self.hangs_sec = hangs_sec
        self.pages_at_once = pages_at_once
        self.target = target
        self.server = server
        self.handler = handler
        self.clock = clock
        self.sleep = sleep
        self.pending = PendingList(server, target)
        self.refunds = Refunds(server, target)
        self.finder = Finder(server, target, self.refunds)
        self.claimer = Claimer(server, target, self.refunds)
        self.dead_letters = DeadLetters(server, target)
        self.circuit = Circuit(server, target)
        self.next_sweep = clock()

    async def run(self, budget_sec: float, stop: asyncio.Event | None = None) -> RunReport:
        """One run: at most `budget_sec` seconds; `stop`, once set, ends it after what is in work.

        It never raises for what goes wrong with Redis or a handler: the report says it (`Outcome.FAILED`).
        """
        run = _Run(self, budget_sec, stop or asyncio.Event())
        with run_under_way(self.target.name, run.id):
            return await run.go()


class _Sought(NamedTuple):
    """A look for idle entries from `start` on; it tells when it was over, by the run's clock."""

    start: bytes
    task: asyncio.Task[tuple[Found, float]]


class _Run:
    """One run of one target."""

    def __init__(self, runner: Runner, budget_sec: float, stop: asyncio.Event) -> None:
        self._runner = runner
        self._target = runner.target
        self._handler = runner.handler
        self._pending = runner.pending
        self._clock = runner.clock
        self._stop = stop
        self.id = run_id = secrets.token_hex(6)
        self._tally = Tally(run_id, runner.target.name, runner.clock)
        self._lease = Lease(runner.server, runner.target.keys.lease, run_id)
        self._passage = Passage(runner.circuit, runner.server, self._lease, self._tally, self._retrying)
        reserve_sec = min(5.0, budget_sec / 10)  # to let handlers come to an end; as much again to settle and close
        self._budget_sec = budget_sec
        self._retries = Retries(runner.target.retry_attempts, runner.target.retry_max_delay_sec, runner.sleep)
        self._begin_until = Deadline(budget_sec - 2 * reserve_sec, runner.clock)
        work_until = Deadline(budget_sec - reserve_sec, runner.clock)
        self._end = Deadline(budget_sec - reserve_sec / 2, runner.clock)
        self._close_until = Deadline(budget_sec, runner.clock)
        first, growth = (FIRST_PAGE, GROWTH) if self._handler.at_once else (self._target.lanes, 1)
        self._pace = PageSize(self._target.page_size, first, self._target.min_idle_ms, growth)
        self._hands = Hands(runner.refunds, runner.target, self._tally, runner.clock)
        self._sought: _Sought | None = None
        self._waits_at: bytes | None = None  # where a suspect waits to be claimed alone
        self._pages = Pages(
            target=runner.target,
            handler=runner.handler,
            server=runner.server,
            pending=runner.pending,
            refunds=runner.refunds,
            dead_letters=runner.dead_letters,
            hands=self._hands,
            storing=Storing(
                runner.handler,
                self._retries,
                work_until,
                runner.hangs_sec,
                min(STOP_SEC, reserve_sec / 4),
            ),
            passage=self._passage,
            tally=self._tally,
            pace=self._pace,
            retries=self._retries,
            retrying=self._retrying,
            park_until=self._end,
            ending=self._ending,
            clock=runner.clock,
        )

    async def go(self) -> RunReport:
        try:
            holder = await self._retrying(self._open)
            if holder is not None:
                return self._tally.report(Outcome.LEASE_HELD, holder)
            if self._passage.why_not:
                return await self._close((Outcome.CIRCUIT_OPEN, self._passage.why_not, None))
        except ResponseError as exc:
            return await self._close(_failed(exc))  # the lease may be ours
        except Exception as exc:  # noqa: BLE001  # a run never raises: its report says what failed it
            return self._tally.report(*_failed(exc))
        try:
            ending = await self._reclaim()
        except asyncio.CancelledError:
            await self._close((Outcome.STOPPED, "cancelled", None))
            raise
        except Exception as exc:  # noqa: BLE001  # as above
            ending = _failed(exc)
        return await self._close(ending)

    async def _open(self) -> str | None:
        """One round trip: take the lease, pass the circuit, count what is pending. Who has the lease, if not we."""
        holder, admission, before, first_idle_ms = await self._runner.server.ask(
            self._lease.take(), self._passage.enter(), self._pending.count(), self._pending.first_idle_ms()
        )
        if holder is None:
            self._passage.entered(admission)
            self._tally.before = before
            self._tally.longest_idle_ms = first_idle_ms
        return holder

    async def _close(self, ending: Ending) -> RunReport:
        """Give back what is in our hands still, release the lease, count what is left, keep the report.

        One round trip where nothing was pending. A failure here is the next run's to mend, or the lease's TTL.
        """
        try:
            async with asyncio.timeout(self._close_until.remaining_sec()):
                await self._hands.give_back()
                await self._passage.end_probe(failed=ending[0] is Outcome.FAILED)
                if ending[0] in _NOTHING_DONE and not self._tally.pages and not self._sweep_is_due(ending[0]):
                    self._tally.after = self._tally.before
                    await self._send(self._lease.release(), *self._kept(ending))
                else:
                    await self._release_and_count(ending[0])
                    await self._send(*self._kept(ending))
        except Exception as exc:  # noqa: BLE001  # the work is done; what is not closed runs out by itself
            logger.warning("reclaim %s: the run could not be closed: %s", self._target.name, exc)
        return self._tally.report(*ending)

    async def _release_and_count(self, outcome: Outcome) -> None:
        """Release the lease, count what is left, and now and then remove consumers long gone."""
        if self._sweep_is_due(outcome):
            self._runner.next_sweep = self._clock() + SWEEP_EVERY_SEC
            self._tally.consumers_removed += await self._swept()
        _, after = await self._send(self._lease.release(), self._pending.count())
        self._tally.after = checked(after)

    async def _swept(self) -> list[str]:
        try:
            return await self._pending.sweep(round(self._target.consumer_ttl_hours * 3_600_000))
        except (ServerError, RedisError) as exc:
            logger.warning("reclaim %s: idle consumers could not be removed: %s", self._target.name, exc)
            return []

    def _sweep_is_due(self, outcome: Outcome) -> bool:
        wanted = self._target.consumer_ttl_hours > 0 and outcome is not Outcome.GROUP_MISSING
        return wanted and self._clock() >= self._runner.next_sweep

    def _kept(self, ending: Ending) -> list[Ask[Reply]]:
        """What keeps the report, if it is to be kept."""
        command = self._runner.history(self._tally.report(*ending))
        return [] if command is None else [plain(*command)]

    async def _send(self, *asks: Ask[Any]) -> tuple[Any, ...]:
        """Ask what no run fails for; errors are logged, and stand in the answers' places."""
        answers: tuple[Any, ...] = await self._runner.server.ask(*(ask.or_error() for ask in asks))
        for answer in answers:
            if isinstance(answer, Exception):
                logger.warning("reclaim %s: closing the run: %s", self._target.name, answer)
        return answers

    async def _reclaim(self) -> Ending:
        before = self._tally.before
        if before is None or before.group_missing:
            return Outcome.GROUP_MISSING, str(before and before.group_missing), None
        if not before.count:
            return Outcome.NOTHING_PENDING, "", None
        keeper = asyncio.gather(self._lease.keep(), self._hands.keep())
        try:
            await self._retrying(self._runner.refunds.settle)
            if (before.consumers or {}).get(self._target.consumer):
                await self._retrying(self._hold)
            return await self._work_through(before.count)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _work_through(self, total: int) -> Ending:
        """Claim page after page, the next one while others are in work, up to the end of the list or of the run."""
        in_work: deque[asyncio.Task[None]] = deque()
        beside = self._runner.pages_at_once - 1 if self._handler.at_once else 1
        start: bytes | None = START
        try:
            while True:
                hand = await self._take_beside(in_work, start, total)
                most = 0
                if hand is not None and self._ending() is None:
                    in_work.append(self._pages.begin(hand))
                    start, most = hand.after, beside if self._may_claim_ahead(hand) else 0
                await _until_left(most, in_work)
                ending = self._ending()
                if ending is not None:
                    await _until_left(0, in_work)
                    return ending
                if hand is None:
                    if self._waits_at is None:
                        return Outcome.COMPLETED, "", None
                    start = self._waits_at
        finally:
            tasks: list[asyncio.Task[Any]] = [*in_work] if self._sought is None else [*in_work, self._sought.task]
            for task in tasks:
                task.cancel()  # what is in its hands is given back
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_beside(self, in_work: deque[asyncio.Task[None]], start: bytes | None, total: int) -> Hand | None:
        """Claim the next page while others are in work, which end in their own way though the claim should fail.

        None also if they have ended, and the run is to end.
        """
        if not in_work:
            return await self._take(start, total)
        take = asyncio.create_task(self._take(start, total, ahead=True))
        try:
            while in_work and not take.done():
                await asyncio.wait({take, in_work[0]}, return_when=asyncio.FIRST_COMPLETED)
                if in_work[0].done():
                    await in_work.popleft()
            if not take.done() and self._ending() is not None:
                return None
            await asyncio.wait({take})
        finally:
            take.cancel()  # what it may have claimed is given back
            await asyncio.wait({take})
        if take.exception() is None:
            return take.result()
        await _until_left(0, in_work)
        if self._ending() is None:
            return take.result()  # which raises
        return None

    def _may_claim_ahead(self, hand: Hand) -> bool:
        """Whether the next page would be handled soon, and not only wait in our hands."""
        on_last_delivery = hand.entries[0].deliveries >= self._target.max_deliveries
        is_free = self._ending() is None and not self._passage.probing and not on_last_delivery
        return is_free and self._pace.is_quick

    def _ending(self) -> Ending | None:
        """Why the run begins nothing more; None while it goes on."""
        if self._stop.is_set():
            return Outcome.STOPPED, "asked to stop", None
        if self._lease.lost:
            return Outcome.LEASE_LOST, "the run stalled for longer than its lease", None
        if self._passage.why_not:
            return Outcome.CIRCUIT_OPEN, self._passage.why_not, None
        if self._begin_until.passed():
            return Outcome.OUT_OF_TIME, f"its {self._budget_sec:g} s were over", None
        if len(self._pages.held) > MAX_HELD_KEYS:
            return Outcome.TOO_MANY_HELD, f"over {MAX_HELD_KEYS} order keys wait for an entry not done", None
        return None

    async def _take(self, start: bytes | None, total: int, *, ahead: bool = False) -> Hand | None:
        """Find and claim the next page that has any entries; None at the end of the list.

        None also, claiming ahead, where a suspect is next: it `_waits_at` this place.
        """
        self._waits_at = None
        while start is not None:
            claimed = await self._retrying(partial(self._claim, start, total, ahead=ahead))
            if claimed is None:
                self._waits_at = start
                return None
            page, asked_at = claimed
            start = page.after
            self._tally.add(lost=len(page.lost))
            if page.unrecorded is not None:
                self._tally.reasons.add(f"lost entries that could not be recorded are pending still: {page.unrecorded}")
            if page.entries:
                return self._hands.take(page, asked_at)
        return None

    async def _claim(self, start: bytes, total: int, *, ahead: bool) -> tuple[Claimed, float] | None:
        """A page, up to a suspect or a suspect alone, and when it was asked for; None if a suspect would be ahead."""
        found = await self._find(start, total)
        suspect = self._first_suspect(found.rows)
        if suspect is not None:
            if suspect == 0 and ahead:
                return None
            found = found.first(max(suspect, 1))
        if not found.rows:
            return Claimed((), (), found.after), self._clock()
        self._look_ahead(found.after, total)
        asked_at = self._clock()
        return await self._runner.claimer.claim(found), asked_at

    async def _find(self, start: bytes, total: int) -> Found:
        """The next idle entries: those found while the page before was claimed, if that was a moment ago."""
        count = self._passage.at_most(self._pace.count)
        sought, self._sought = self._sought, None
        if sought is not None and sought.start == start:
            with suppress(RedisError, ServerError, OSError):  # looking again says what is wrong
                found, at = await sought.task
                if not found.rows or self._clock() - at < min(FOUND_SEC, self._target.min_idle_ms / 1000):
                    return found if len(found.rows) <= count else found.first(count)
        elif sought is not None:
            sought.task.cancel()
            await asyncio.gather(sought.task, return_exceptions=True)
        return await self._runner.finder.find(start, count, total)

    def _look_ahead(self, start: bytes | None, total: int) -> None:
        """Look for the next entries meanwhile, if they are likely to be claimed at once."""
        beside = self._handler.at_once and self._runner.pages_at_once > 1
        if start is not None and beside and self._pace.is_quick and not self._passage.probing:
            self._sought = _Sought(start, asyncio.create_task(self._found(start, total)))

    async def _found(self, start: bytes, total: int) -> tuple[Found, float]:
        return await self._runner.finder.find(start, self._pace.count, total), self._clock()

    def _first_suspect(self, rows: Sequence[Row]) -> int | None:
        """Where the first entry is that a run of ours may have died of: its last delivery costs no other one (G4)."""
        least, ours = max(self._target.max_deliveries - 1, 2), self._target.consumer.encode()
        return next((at for at, row in enumerate(rows) if row.deliveries >= least and row.consumer == ours), None)

    async def _hold(self) -> None:
        """Hold back the order keys of entries that an earlier run left with us and that are not idle yet (G3)."""
        async for entry in self._runner.finder.fresh():
            with suppress(MissingField):  # it has no key, and will be parked
                self._pages.held.add(hash(self._handler.order_key(entry)))
            if len(self._pages.held) > MAX_HELD_KEYS:
                return

    async def _retrying(self, call: Callable[[], Awaitable[T]]) -> T:
        return await self._retries.call(self._end, call)


_NOTHING_DONE = frozenset({Outcome.NOTHING_PENDING, Outcome.CIRCUIT_OPEN, Outcome.GROUP_MISSING})


async def _until_left(most: int, in_work: deque[asyncio.Task[None]]) -> None:
    """Let pages come to their end, one after another, until no more than so many are left."""
    while len(in_work) > most:
        await in_work.popleft()


def _failed(exc: Exception) -> Ending:
    return Outcome.FAILED, describe(exc), exc
