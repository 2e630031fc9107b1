"""Owns the run: pages, lanes and verdicts, from the lease to the report.

One run finds idle entries page by page, claims them, has the handler store them, and only then acknowledges them.
What it must not do is in the promises G1 to G6; where one of them decides how a line is written, the line says so.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from redis.exceptions import RedisError, ResponseError

from reclaim.circuit import Circuit
from reclaim.connection import Command, Reply, Server
from reclaim.deadletters import DeadLetters, Parking, Reason
from reclaim.entry import Entry
from reclaim.errors import MissingField, ServerError, Verdict, classify, describe
from reclaim.handlers import SUPERSEDED, Handler, Keyed
from reclaim.hands import Hand, Hands
from reclaim.lanes import (
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
from reclaim.lease import Lease
from reclaim.operation import run_under_way
from reclaim.pace import FIRST_PAGE, Pace
from reclaim.passage import Passage
from reclaim.pending import START, Page, PendingList, Row
from reclaim.report import Outcome, RunReport, Tally
from reclaim.retry import Deadline, Retries
from reclaim.settings import Target
from reclaim.storing import Storing

logger = logging.getLogger("reclaim")

MAX_HELD_KEYS = 100_000
SWEEP_EVERY_SEC = 3600.0

T = TypeVar("T")
Decided = tuple[list[Keyed], list[Decision]]  # the entries that are done, and the others
Ending = tuple[Outcome, str, Exception | None]  # how a run ends, why, and with which error


class Runner:
    """Reclaims one target. It keeps from run to run what a run owes the next, and nothing else."""

    def __init__(
        self,
        target: Target,
        server: Server,
        handler: Handler,
        history: Callable[[RunReport], Command | None] = lambda _: None,
        hangs_sec: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make it; nothing is connected yet.

        Args:
            target: what to reclaim.
            server: where.
            handler: what is done with each entry.
            history: makes the command that keeps a run's report, where it is to be kept.
            hangs_sec: a handler that takes so long for an entry hangs; by default half of a run's budget.
            clock: monotonic seconds.
            sleep: waits so many seconds between two attempts.
        """
        self.history = history
        self.hangs_sec = hangs_sec
        self.target = target
        self.server = server
        self.handler = handler
        self.clock = clock
        self.sleep = sleep
        self.pending = PendingList(server, target)
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
        self._storing = Storing(runner.handler, self._retries, work_until, runner.hangs_sec or budget_sec / 2)
        self._end = Deadline(budget_sec - reserve_sec / 2, runner.clock)
        self._close_until = Deadline(budget_sec, runner.clock)
        first = FIRST_PAGE if self._handler.at_once else self._target.lanes
        self._pace = Pace(self._target.page_size, first, self._target.min_idle_ms)
        self._hands = Hands(runner.pending, runner.target, self._tally, runner.clock)
        self._waits_at: bytes | None = None  # where a suspect waits to be claimed alone
        self._held: set[int] = set()  # hashes of order keys; should two keys share one, a key waits for nothing

    async def go(self) -> RunReport:
        try:
            holder = await self._retrying(self._open)
            if holder is not None:
                return self._tally.report(Outcome.LEASE_HELD, holder)
            if self._passage.why_not:
                return await self._close((Outcome.CIRCUIT_OPEN, self._passage.why_not, None))
        except ResponseError as exc:
            return await self._close(_failed(exc))  # the lease may be ours
        except Exception as exc:
            return self._tally.report(*_failed(exc))
        try:
            ending = await self._reclaim()
        except asyncio.CancelledError:
            await self._close((Outcome.STOPPED, "cancelled", None))
            raise
        except Exception as exc:
            ending = _failed(exc)
        return await self._close(ending)

    async def _open(self) -> str | None:
        """One round trip: take the lease, pass the circuit, count what is pending. Who has the lease, if not we."""
        commands = [self._passage.enter(), self._pending.count(), *self._pending.oldest()]
        replies = await self._runner.server.batch([*self._lease.take(), *commands])
        taking, (entered, counted, *oldest) = replies[: -len(commands)], replies[-len(commands) :]
        holder = self._lease.taken(taking)
        if holder is None:
            self._passage.entered(entered)
            self._tally.before = self._pending.counted(counted)
            self._tally.longest_idle_ms = self._pending.idle_ms(oldest)
        return holder

    async def _close(self, ending: Ending) -> RunReport:
        """Give back what is in our hands still, release the lease, count what is left, keep the report.

        One round trip where nothing was pending. A failure here is the next run's to mend, or the lease's TTL.
        """
        try:
            async with asyncio.timeout(self._close_until.remaining_sec()):
                await self._hands.give_back()
                await self._passage.end_probe(failed=ending[0] is Outcome.FAILED)
                if ending[0] in _NOTHING_DONE and not self._tally.pages and not self._sweep_is_due():
                    self._tally.after = self._tally.before
                    await self._send([self._lease.release(), *self._kept(ending)])
                else:
                    await self._release_and_count()
                    await self._send(self._kept(ending))
        except Exception as exc:
            logger.warning("reclaim %s: the run could not be closed: %s", self._target.name, exc)
        return self._tally.report(*ending)

    async def _release_and_count(self) -> None:
        """Release the lease, count what is left, and now and then remove consumers long gone."""
        if self._sweep_is_due():
            self._runner.next_sweep = self._clock() + SWEEP_EVERY_SEC
            self._tally.consumers_removed += await self._swept()
        _, counted = await self._send([self._lease.release(), self._pending.count()])
        self._tally.after = self._pending.counted(counted)

    async def _swept(self) -> list[str]:
        try:
            return await self._pending.sweep(round(self._target.consumer_ttl_hours * 3_600_000))
        except (ServerError, RedisError) as exc:
            logger.warning("reclaim %s: idle consumers could not be removed: %s", self._target.name, exc)
            return []

    def _sweep_is_due(self) -> bool:
        return self._target.consumer_ttl_hours > 0 and self._clock() >= self._runner.next_sweep

    def _kept(self, ending: Ending) -> list[Command]:
        """The command that keeps the report, if it is to be kept."""
        command = self._runner.history(self._tally.report(*ending))
        return [] if command is None else [command]

    async def _send(self, commands: Sequence[Command]) -> list[Reply]:
        """Send what no run fails for; errors are logged."""
        replies = await self._runner.server.batch(commands, denial_raises=False) if commands else []
        for reply in replies:
            if isinstance(reply, Exception):
                logger.warning("reclaim %s: closing the run: %s", self._target.name, reply)
        return replies

    async def _reclaim(self) -> Ending:
        before = self._tally.before
        if before is None or before.group_missing:
            return Outcome.GROUP_MISSING, str(before and before.group_missing), None
        if not before.count:
            return Outcome.NOTHING_PENDING, "", None
        keeper = asyncio.gather(self._lease.keep(), self._hands.keep())
        try:
            await self._retrying(self._pending.settle_debts)
            if (before.consumers or {}).get(self._target.consumer):
                await self._retrying(self._hold)
            return await self._pages(before.count)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _pages(self, total: int) -> Ending:
        """Handle page after page, the next one claimed meanwhile, up to the end of the list or of the run."""
        ahead: asyncio.Task[Hand | None] | None = None
        try:
            hand = await self._take(START, total)
            while hand is not None:
                if hand.after is not None and self._may_claim_ahead(hand):
                    ahead = asyncio.create_task(self._take(hand.after, total, ahead=True))
                with self._tally.page(len(hand.entries)):
                    await self._handle(hand)
                ending = self._ending()
                if ending is not None:
                    return ending
                start, hand = hand.after, await ahead if ahead is not None else None
                if hand is None and (ahead is None or self._waits_at is not None):
                    hand = await self._take(self._waits_at or start, total)
                ahead = None
            return Outcome.COMPLETED, "", None
        finally:
            if ahead is not None:
                ahead.cancel()  # what it may have claimed is given back
                await asyncio.gather(ahead, return_exceptions=True)

    def _may_claim_ahead(self, hand: Hand) -> bool:
        """Whether the next page would be handled soon, and not only wait in our hands."""
        on_last_delivery = hand.entries[0].deliveries >= self._target.max_deliveries
        is_free = self._ending() is None and not self._passage.probing and not on_last_delivery
        return is_free and (self._handler.at_once or self._pace.is_quick)

    def _ending(self) -> Ending | None:
        """Why the run begins nothing more; None while it goes on."""
        if self._stop.is_set():
            return Outcome.STOPPED, "asked to stop", None
        if self._lease.lost:
            return Outcome.LEASE_LOST, "the run stalled for longer than its lease", None
        if self._passage.why_not:
            return Outcome.CIRCUIT_OPEN, self._passage.why_not, None
        if self._begin_until.passed():
            return Outcome.OUT_OF_TIME, f"RUN_BUDGET_SEC is {self._budget_sec:g}", None
        if len(self._held) > MAX_HELD_KEYS:
            return Outcome.TOO_MANY_HELD, f"over {MAX_HELD_KEYS} order keys wait for an entry not done", None
        return None

    async def _take(self, start: bytes | None, total: int, *, ahead: bool = False) -> Hand | None:
        """Find and claim the next page that has any entries; None at the end of the list.

        None also, claiming ahead, where a suspect is next: it `_waits_at` this place.
        """
        self._waits_at = None
        while start is not None:
            page = await self._retrying(partial(self._claim, start, total, ahead=ahead))
            if page is None:
                self._waits_at = start
                return None
            start = page.after
            self._tally.lost += len(page.lost)
            if page.unrecorded is not None:
                self._tally.because(f"lost entries that could not be recorded are pending still: {page.unrecorded}")
            if page.entries:
                self._tally.pages += 1
                self._tally.claimed += len(page.entries)
                longest = max(entry.idle_ms for entry in page.entries)
                self._tally.longest_idle_ms = max(self._tally.longest_idle_ms, longest)
                return self._hands.take(page)
        return None

    async def _claim(self, start: bytes, total: int, *, ahead: bool) -> Page | None:
        """A page, up to the first suspect, or a suspect alone; None if that would be ahead."""
        finding = await self._pending.find(start, self._passage.at_most(self._pace.count), total)
        suspect = next((at for at, row in enumerate(finding.rows) if self._is_suspect(row)), None)
        if suspect is not None:
            if suspect == 0 and ahead:
                return None
            finding = finding.first(max(suspect, 1))
        return await self._pending.claim(finding) if finding.rows else Page((), (), finding.after)

    def _is_suspect(self, row: Row) -> bool:
        """Whether a run of ours may have died of it: then its last delivery is at no other entry's cost (G4)."""
        return row.deliveries >= max(self._target.max_deliveries - 1, 2) and row.consumer == self._pending.consumer

    async def _hold(self) -> None:
        """Hold back the order keys of entries that an earlier run left with us and that are not idle yet (G3)."""
        async for entry in self._pending.fresh():
            with suppress(MissingField):  # it has no key, and will be parked
                self._held.add(hash(self._handler.order_key(entry)))
            if len(self._held) > MAX_HELD_KEYS:
                return

    async def _handle(self, hand: Hand) -> None:
        """Have the page's entries stored, in lanes; then settle what came of it."""
        began, entries = self._clock(), hand.entries
        work, decisions = self._plan(entries)
        if self._handler.at_once:
            lanes = [self._lane(lane, hand) for lane in by_hash(work, self._target.lanes)]
        else:
            chains = iter(by_key(work))
            lanes = [self._chains(chains, hand) for _ in range(self._target.lanes)]
        done: list[Keyed] = []
        for lane_done, lane_decisions in await _all(lanes):
            done += lane_done
            decisions += lane_decisions
        await self._settle(hand, done, in_turn(decisions))
        self._pace.saw(entries, self._clock() - began)

    def _plan(self, entries: Sequence[Entry]) -> tuple[list[Keyed], list[Decision]]:
        """Which entries are to be stored, and what is decided already about the others."""
        work: list[Keyed] = []
        decisions: list[Decision] = []
        for entry in entries:
            try:
                key = self._handler.order_key(entry)
            except MissingField as exc:
                decisions.append(judge(b"", entry, exc, self._target.max_deliveries))
                continue
            if self._held and hash(key) in self._held:
                decisions.append(Decision(key, entry, Verdict.HELD, HELD_BACK))
            elif entry.deliveries > self._target.max_deliveries:
                reason = f"delivered {entry.deliveries} times; MAX_DELIVERIES is {self._target.max_deliveries}"
                decisions.append(Decision(key, entry, Verdict.PARK, reason))
            else:
                work.append((key, entry))
        return work, decisions

    async def _chains(self, chains: Iterator[list[Keyed]], hand: Hand) -> Decided:
        """A lane for a handler that takes one entry at a time: it takes up one order key's entries after another's."""
        done: list[Keyed] = []
        decisions: list[Decision] = []
        for chain in chains:
            for at, keyed in enumerate(chain):
                entry_done, entry_decisions = await self._lane([keyed], hand)
                done += entry_done
                decisions += entry_decisions
                if any(not decision.verdict.settles for decision in entry_decisions):
                    decisions += (Decision(*later, Verdict.HELD, HELD_BACK) for later in chain[at + 1 :])
                    break
        return done, decisions

    async def _lane(self, lane: Sequence[Keyed], hand: Hand) -> Decided:
        """Store a lane's entries, and decide what becomes of each; leave them alone if the run is ending."""
        if self._ending() is not None:
            return [], []
        await self._retrying(partial(self._hands.still_ours, hand))
        taken: list[Decision] = []
        if hand.taken:
            lane, taken = without_taken(lane, hand.taken)
        stored = await self._storing.store(lane)
        done, decisions = decide(lane, stored, self._target.max_deliveries)
        superseded = stored.count(SUPERSEDED) and superseded_among(done, lane, stored)
        self._tally.superseded += superseded
        self._tally.stored += len(done) - superseded
        return done, taken + decisions

    async def _settle(self, hand: Hand, done: list[Keyed], decisions: list[Decision]) -> None:
        """Park, acknowledge and give back the page's entries, each as was decided. Nothing else in the package does."""
        hand.settling = True
        parkings = [_parking(decision) for decision in decisions if decision.verdict is Verdict.PARK]
        if parkings:
            dropped, unparked = await self._runner.dead_letters.park(parkings, self._retries, self._end)
            self._tally.dead_letters_dropped += dropped
            done, decisions = with_unparked(unparked, done, decisions)
        self._held.update(hash(decision.key) for decision in decisions if not decision.verdict.settles)
        charged = [decision for decision in decisions if not decision.verdict.refunds]
        self._count(charged)
        self._hands.settled(hand, {decision.entry.id for decision in charged})
        if done:
            await self._acknowledge([entry.id for _, entry in done])
            self._tally.acknowledged += len(done)
            self._hands.settled(hand, {entry.id for _, entry in done})
        if hand.entries:
            await self._give_back(hand, [decision for decision in decisions if decision.verdict.refunds])
        await self._passage.tell(done, decisions)
        stops = next((decision.error for decision in decisions if decision.verdict is Verdict.STOP), None)
        if stops is not None:
            raise stops

    async def _acknowledge(self, ids: Sequence[bytes]) -> None:
        """Acknowledge a page's entries, and see on the way whether the circuit was opened elsewhere."""
        (seen,) = await self._retrying(partial(self._pending.acknowledge, ids, self._passage.look()))
        self._passage.seen(seen)

    async def _give_back(self, hand: Hand, decisions: Sequence[Decision]) -> None:
        """Refund what is left of a page: what is to be tried again, and what was not begun."""
        refunded = hand.entries
        self._pending.owe(refunded)
        self._hands.settled(hand, {entry.id for entry in refunded})
        self._count(decisions)
        self._tally.given_back += len(refunded) - len(decisions)
        await self._retrying(self._pending.settle_debts)

    def _count(self, decisions: Sequence[Decision]) -> None:
        tally = self._tally
        for decision in decisions:
            tally.because(decision.reason)
            match decision.verdict:
                case Verdict.PARK:
                    tally.parked += 1
                case Verdict.FAIL:
                    tally.failed += 1
                case Verdict.HELD:
                    tally.held += 1
                case _:
                    tally.retried += 1

    async def _retrying(self, call: Callable[[], Awaitable[T]]) -> T:
        return await self._retries.call(self._end, call)


_NOTHING_DONE = frozenset({Outcome.NOTHING_PENDING, Outcome.CIRCUIT_OPEN})


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


def _failed(exc: Exception) -> Ending:
    return Outcome.FAILED, describe(exc), exc


def _parking(decision: Decision) -> Parking:
    if decision.error is None:
        return Parking(decision.entry, Reason.MAX_DELIVERIES, decision.reason)
    reason = Reason.FAILED if classify(decision.error) is Verdict.FAIL else Reason.BAD_ENTRY
    return Parking(decision.entry, reason, decision.reason)
