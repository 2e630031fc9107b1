"""Owns the run, from the lease to the report.

One run finds idle entries page by page, claims them, has the handler store them, and only then acknowledges them.
docs/promises.md names what it promises, and which function keeps which promise.
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from redis.exceptions import RedisError, ResponseError

from reclaim.errors import AccessDenied, ServerError, describe
from reclaim.handlers.outcomes import Handler
from reclaim.names import name_bytes
from reclaim.retry import Retries
from reclaim.run.alive import AliveConsumers
from reclaim.run.attempts import Storing
from reclaim.run.circuit_gate import CircuitGate
from reclaim.run.claims import Claims
from reclaim.run.collector import collecting_less_often
from reclaim.run.entering import enter
from reclaim.run.fit import Fit, FitCheck
from reclaim.run.group_watch import GroupWatch
from reclaim.run.holding import Holding
from reclaim.run.lanes import Lanes
from reclaim.run.limits import ASKED, Ending, Halt, Limits
from reclaim.run.order import HeldKeys, digest
from reclaim.run.page_loop import PageLoop
from reclaim.run.pages import Pages
from reclaim.run.part import Part
from reclaim.run.report import Outcome, RunReport
from reclaim.run.rules import Rules
from reclaim.run.settling import Settler
from reclaim.run.source import LOOKS_AHEAD, PageSource
from reclaim.run.tally import Tally
from reclaim.run.waiting import Waiting
from reclaim.settings import Target
from reclaim.state import totals
from reclaim.state.ask import Ask, Command, Reply, checked, plain
from reclaim.state.bodies import Bodies
from reclaim.state.circuit import Circuit
from reclaim.state.claim import Claimer
from reclaim.state.connection import Server
from reclaim.state.dead_letters import DeadLetters
from reclaim.state.find import Finder
from reclaim.state.lease import Lease
from reclaim.state.lost import LostEntries
from reclaim.state.page_size import FIRST_PAGE, GROWTH, PageSize
from reclaim.state.pending import PendingList, Summary, TooManyConsumers
from reclaim.state.refunds import Refunds
from reclaim.state.seen import Seen, SeenGroup
from reclaim.state.tries import Tries
from reclaim.state.waiting_mark import WaitingMark
from reclaim.trace import run_under_way
from reclaim.verdicts import OwnErrors

logger = logging.getLogger("reclaim")

SWEEP_EVERY_SEC = 3600.0
PAGES_AT_ONCE = 3  # in work, where a page is mostly round trips; else 2 keep the lanes busy


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
        own: OwnErrors | None = None,
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
            own: the classes of errors that the target's settings name.
        """
        self.history = history
        self.hangs_sec = hangs_sec
        self.pages_at_once = pages_at_once
        self.target = target
        self.server = server
        self.handler = handler
        self.clock = clock
        self.sleep = sleep
        self.own = own or OwnErrors()
        self.pending = PendingList(server, target)
        self.refunds = Refunds(server, target)
        self.finder = Finder(server, target, self.refunds)
        self.claimer = Claimer(server, target, self.refunds)
        self.readers = [Bodies(server, target.keys.stream) for _ in range(LOOKS_AHEAD)]
        self.dead_letters = DeadLetters(server, target)
        self.lost_entries = LostEntries(server, target)
        self.circuit = Circuit(server, target)
        self.group = SeenGroup(server, target)
        self.waiting_mark = WaitingMark(target)
        self.of_other_shards: set[bytes] = set()  # IDs of entries that are not this shard's
        self.seen: Seen | None = None  # what the last run saw, for the case that Redis forgets it
        self.next_sweep = clock()
        self.alive = AliveConsumers(server, target, clock)

    async def run(
        self,
        budget_sec: float,
        stop: asyncio.Event | None = None,
        park_misfits: str | None = None,
        mark: str = "",
    ) -> RunReport:
        """One run: at most `budget_sec` seconds; `stop`, once set, ends it after what is in work.

        `park_misfits` is who wants entries to be parked though HASH_KEY fits none of them; None: nobody. `mark` is that
        of the message which this run takes up: with the lease it is removed.

        It never raises for what goes wrong with Redis or a handler: the report says it (`Outcome.FAILED`).
        """
        run = _Run(self, budget_sec, stop or asyncio.Event(), park_misfits, mark)
        with run_under_way(self.target.name, run.id), collecting_less_often():
            return await run.go()


class _Run:
    """One run of one target."""

    def __init__(
        self, runner: Runner, budget_sec: float, stop: asyncio.Event, park_misfits: str | None, mark: str
    ) -> None:
        target = runner.target
        self._mark = mark
        self._stop = stop
        self._runner = runner
        self._target = target
        self.id = secrets.token_hex(6)
        shard = None if target.shard.is_whole else target.shard.index
        self._tally = Tally(self.id, target.name, runner.clock, target.handler, shard)
        self._limits = Limits.of(budget_sec, runner.clock)
        self._retries = Retries(target.retry_attempts, target.retry_max_delay_sec, runner.sleep)
        self._lease = Lease(runner.server, target, self.id)
        self._held = HeldKeys()
        self._halt = Halt(stop, self._lease, self._limits, self._held)
        self._tries = Tries(runner.server, target)
        self._part = Part(target.shard, runner.handler.order_key, self._tries.known, runner.of_other_shards)
        self._holding = Holding(runner.finder, self._tries, self._part, self._held, runner.handler.order_key)
        self._rules = Rules.of(target, runner.own, self._tries.known)
        self._has_tries = False
        self._server_ms = 0  # when the run began, by the server's clock
        self._told = ""  # why the run failed: what fails it is told once
        self._not_due: set[bytes] = set()
        self._page_size = PageSize(target.page_size, FIRST_PAGE, target.min_idle_ms, GROWTH)
        self._gate = CircuitGate(
            circuit=runner.circuit,
            server=runner.server,
            lease=self._lease,
            refunds=runner.refunds,
            tries=self._tries,
            rules=self._rules,
            halt=self._halt,
            tally=self._tally,
            retries=self._retries,
            limits=self._limits,
        )
        self._watch = GroupWatch(
            target, runner.server, runner.group, runner.refunds, self._tally, self._halt, runner.seen
        )
        self._park_misfits = park_misfits
        self._fit = FitCheck(Fit(runner.handler, runner.finder), runner.handler.needs, runner.group)
        self._claims = Claims(
            target,
            runner.handler,
            self._rules,
            runner.refunds,
            self._tally,
            self._retries,
            self._limits,
            self._watch,
            runner.clock,
        )

    async def go(self) -> RunReport:
        """Open the run, work through the pending list, close the run."""
        try:
            ending = await self._retries.call(self._limits.settle, self._begin)
        except ResponseError as exc:
            return await self._close(_failed(exc))  # the lease may be ours
        except Exception as exc:  # noqa: BLE001  # a run never raises: its report says what failed it
            return self._report(_failed(exc))
        if ending is None:
            ending = await self._work()
        elif ending.outcome is Outcome.LEASE_HELD:
            return self._report(ending)
        return await self._close(ending)

    async def _begin(self) -> Ending | None:
        """Open the run; if the script that takes the lease is refused a command, the error names the command."""
        try:
            return await self._open()
        except AccessDenied:
            await self._lease.name_refused()
            raise

    async def _open(self) -> Ending | None:
        """One round trip: take the lease, ask the circuit, count what is pending. How the run ends if it ends here."""
        pending = self._runner.pending
        holder, _, admission, before, first_idle_ms, look, tries = await self._runner.server.ask(
            self._lease.take(),
            self._runner.waiting_mark.remove(self._mark),
            self._gate.enter(),
            pending.count(),
            pending.first_idle_ms(),
            self._runner.group.look(),
            self._tries.count(),
        )
        if holder is not None:
            return Ending(Outcome.LEASE_HELD, holder)
        self._gate.entered(admission)
        self._has_tries = tries > 0
        self._server_ms = look.now_ms
        self._tally.before = before
        self._tally.longest_idle_ms = first_idle_ms
        await self._watch.begin(look, before)
        if self._watch.is_anew:
            self._runner.of_other_shards.clear()  # IDs may begin again
            if self._has_tries and self._target.shard.is_first:
                await self._tries.forget_all()
            self._has_tries = False
        if before.group_missing:
            return self._watch.missing()
        if admission.why:
            return Ending(Outcome.CIRCUIT_OPEN, admission.why)
        self._fit.begin(self._watch.stored_under, self._park_misfits, self._target.name)
        return None if before.count else Ending(Outcome.NOTHING_PENDING)

    async def _work(self) -> Ending:
        """Work through the pending list; how that ended."""
        try:
            return await self._reclaim()
        except asyncio.CancelledError:
            await self._close(Ending(Outcome.STOPPED, "cancelled"))
            raise
        except Exception as exc:  # noqa: BLE001  # whatever it is: the run is closed, and its report says it
            return _failed(exc)

    async def _reclaim(self) -> Ending:
        """Handle page after page while the lease and the claims are renewed."""
        before = self._tally.before or Summary()
        self._runner.finder.begin(self._server_ms)
        keeper = asyncio.gather(self._lease.keep(), self._claims.keep())
        try:
            await self._retries.call(self._limits.settle, self._runner.refunds.settle)
            if self._has_tries:
                await self._retries.call(self._limits.settle, self._tries.read)
            ours = [name for name in map(name_bytes, before.consumers or ()) if self._target.is_ours(name)]
            if ours:
                await self._retries.call(self._limits.settle, partial(self._hold_waiting, ours))
            if self._has_tries:
                await self._retries.call(self._limits.settle, partial(self._tries.remove_stale, self._not_due))
            for key, entry_id in self._runner.handler.at_work():
                self._held.hold_digest(digest(key), entry_id)
            if not await enter(self._runner.handler, self._retries, self._limits.begin, self._stop):
                return Ending(Outcome.STOPPED, ASKED)
            return await self._loop().work_through(before.count)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    def _loop(self) -> PageLoop:
        at_once, target = self._runner.handler.at_once, self._target
        if not at_once:  # nothing is claimed only to wait for a free lane
            first = target.lanes * self._runner.handler.most
            self._page_size = PageSize(target.page_size, first, target.min_idle_ms)
        return PageLoop(self._source(), self._pages(), self._halt, self._runner.pages_at_once - 1 if at_once else 1)

    async def _hold_waiting(self, ours: Sequence[bytes]) -> None:
        """Let entries that an earlier run left with us, and that are not due yet, hold back later ones (G3).

        `ours` are the names of our consumers. Another number of shards may have left the entries, so those of all names
        are looked at.
        """
        async for rows in self._runner.finder.held_by(ours, self._rules.longest_wait_ms()):
            waiting = [row for row in rows if not self._rules.is_due(row)]
            self._not_due.update(row.id for row in waiting)
            await self._holding.hold(waiting)
            if self._held.are_too_many:
                return

    def _source(self) -> PageSource:
        runner = self._runner
        return PageSource(
            target=self._target,
            finder=runner.finder,
            readers=runner.readers,
            claimer=runner.claimer,
            claims=self._claims,
            gate=self._gate,
            rules=self._rules,
            tries=self._tries,
            waiting=Waiting(self._rules, self._held, self._not_due),
            held=self._held,
            holding=self._holding,
            part=self._part,
            halt=self._halt,
            page_size=self._page_size,
            fit=self._fit,
            tally=self._tally,
            retries=self._retries,
            limits=self._limits,
            looks_ahead=runner.handler.at_once and runner.pages_at_once > 1,
            clock=runner.clock,
        )

    def _pages(self) -> Pages:
        runner, limits = self._runner, self._limits
        return Pages(
            claims=self._claims,
            lanes=Lanes(
                self._target.lanes,
                at_once=runner.handler.at_once,
                undivided=runner.handler.moves,
                most=runner.handler.most,
            ),
            storing=Storing(
                runner.handler,
                self._retries,
                self._rules,
                limits.work,
                runner.hangs_sec,
                self._tally.blocking,
                limits.stop_sec,
                (self._target.stream, self._target.group),
            ),
            settler=self._settler(),
            halt=self._halt,
            held=self._held,
            rules=self._rules,
            page_size=self._page_size,
            tally=self._tally,
            clock=runner.clock,
        )

    def _settler(self) -> Settler:
        runner = self._runner
        return Settler(
            server=runner.server,
            pending=runner.pending,
            refunds=runner.refunds,
            dead_letters=runner.dead_letters,
            lost_entries=runner.lost_entries,
            tries=self._tries,
            rules=self._rules,
            gate=self._gate,
            held=self._held,
            fit=self._fit,
            watch=self._watch,
            tally=self._tally,
            retries=self._retries,
            limits=self._limits,
        )

    async def _close(self, ending: Ending) -> RunReport:
        """Give back what is not settled, release the lease, count what is left, keep the report.

        One round trip where nothing was pending. A failure here is mended by the next run, or by the end of the lease.
        """
        self._told = ending.reason
        try:
            async with asyncio.timeout(self._limits.close.remaining_sec()):
                await self._claims.give_back()
                await self._gate.conclude()
                await self._gate.end_probe(failed=ending.outcome is Outcome.FAILED)
                await self._gate.keep_wait()
                if ending.outcome in _NOTHING_DONE and not self._tally.pages and not self._sweep_is_due(ending.outcome):
                    self._tally.after = self._tally.before
                    await self._send(self._lease.release(), *self._kept(ending))
                else:
                    ending = await self._release_and_count(self._with_full(ending))
                    await self._send(*self._kept(ending))
        except Exception as exc:  # noqa: BLE001  # the work is done; what is not closed runs out by itself
            why = "its time was up" if isinstance(exc, TimeoutError) and not str(exc) else describe(exc)
            if why != self._told:
                logger.warning("reclaim %s: the run could not be closed: %s", self._target.name, why)
        return self._report(ending)

    def _report(self, ending: Ending) -> RunReport:
        return self._tally.report(ending.outcome, ending.reason, ending.error)

    def _with_full(self, ending: Ending) -> Ending:
        """The same ending, unless entries could not be parked for want of room and nothing worse is to be said."""
        is_worse = ending.outcome.exit_code and ending.outcome is not Outcome.TOO_MANY_HELD
        if is_worse or not self._tally.dead_letters_are_full:
            return ending
        what = "there is no room for more dead letters, so entries that were to be parked wait"
        return Ending(Outcome.DEAD_LETTERS_FULL, f"{what}: replay or discard some, or raise DEAD_LETTER_MAXLEN")

    async def _release_and_count(self, ending: Ending) -> Ending:
        """Release the lease, count what is left, and now and then remove consumers long gone.

        Returns:
            How the run ends: otherwise than it seemed if the group is gone, or was made anew meanwhile.
        """
        if self._sweep_is_due(ending.outcome):
            self._runner.next_sweep = self._runner.clock() + SWEEP_EVERY_SEC
            self._tally.consumers_removed += await self._swept()
        self._tally.alive_consumers = await self._runner.alive.among(self._tally.taken_from)
        answers = await self._send(self._lease.release(), self._runner.pending.count(), self._runner.group.look())
        _, after, look = map(checked, answers)
        self._tally.after = after
        return await self._watch.end(ending, look, after)

    async def _swept(self) -> list[str]:
        try:
            return await self._runner.pending.sweep(round(self._target.consumer_ttl_hours * 3_600_000))
        except (ServerError, RedisError, TooManyConsumers) as exc:
            logger.warning("reclaim %s: idle consumers could not be removed: %s", self._target.name, describe(exc))
            return []

    def _sweep_is_due(self, outcome: Outcome) -> bool:
        before = self._tally.before
        is_missing = outcome is Outcome.GROUP_GONE or (before is not None and before.group_missing is not None)
        wanted = self._target.consumer_ttl_hours > 0 and not is_missing and self._target.shard.is_first
        wanted = wanted and outcome is not Outcome.FAILED  # it would fail too, and be told once more
        return wanted and self._runner.clock() >= self._runner.next_sweep

    def _kept(self, ending: Ending) -> list[Ask[Reply]]:
        """What keeps the report, if it is to be kept, and what the next run is to know.

        Nothing is written for a target that was never there: its name may be misspelt.
        """
        before = self._tally.before
        if before is not None and before.group_missing and not self._watch.was_seen:
            return []
        kept: list[Ask[Reply]] = []
        if self._watch.is_compared:
            self._runner.seen = self._watch.to_keep()
            kept.append(self._runner.group.write(self._runner.seen))
        kept += totals.add(self._target, {"runs": 1, **self._report(ending).numbers()})
        command = self._runner.history(self._report(ending))
        return kept if command is None else [*kept, plain(*command)]

    async def _send(self, *asks: Ask[Any]) -> tuple[Any, ...]:
        """Ask what no run fails for; errors are logged, and stand in the answers' places."""
        answers: tuple[Any, ...] = await self._runner.server.ask(*(ask.or_error() for ask in asks))
        for answer in answers:
            if isinstance(answer, Exception) and describe(answer) != self._told:
                logger.warning("reclaim %s: closing the run: %s", self._target.name, describe(answer))
        return answers


_NOTHING_DONE = frozenset({Outcome.NOTHING_PENDING, Outcome.CIRCUIT_OPEN, Outcome.GROUP_MISSING})


def _failed(exc: Exception) -> Ending:
    return Ending(Outcome.FAILED, describe(exc), exc)
