"""Owns a run's dealings with the circuit: whether it lets the run go on, and what the run reports to it."""

import logging
import math
import time
from collections import defaultdict
from functools import partial
from typing import TypeVar

from reclaim.errors import describe, said
from reclaim.retry import Retries
from reclaim.run.decisions import Judged, failures
from reclaim.run.limits import Halt, Limits
from reclaim.run.nothing_settled import NothingSettled, refunds
from reclaim.run.rules import Rules
from reclaim.run.tally import Tally
from reclaim.state.ask import Ask
from reclaim.state.circuit import PROBE_ENTRIES, Admission, Change, Circuit, Effect, Streak
from reclaim.state.connection import Server
from reclaim.state.lease import Lease
from reclaim.state.refunds import Refunds, Reset
from reclaim.state.tries import Tries, Try
from reclaim.verdicts import Verdict, retry_after_sec

logger = logging.getLogger("reclaim")

T = TypeVar("T")

TELL_SETTLED_EVERY_SEC = 5.0
MAX_ASKED = 200  # characters of the error that asks for a wait

_STOPS = frozenset({Effect.OPENED, Effect.REOPENED, Effect.IS_OPEN, Effect.NOT_PROBING})


class CircuitGate:
    """One run and the circuit. No run fails because its reports do not reach the circuit.

    Attributes:
        probing: whether the run is the one that probes.
        opened_ms: while it probes, when the circuit was opened, Unix ms.
        nothing_settled: what the circuit's second rule wants to know of the run.
    """

    def __init__(
        self,
        *,
        circuit: Circuit,
        server: Server,
        lease: Lease,
        refunds: Refunds,
        tries: Tries,
        rules: Rules,
        halt: Halt,
        tally: Tally,
        retries: Retries,
        limits: Limits,
    ) -> None:
        self._circuit = circuit
        self._shard = circuit.shard
        self._server = server
        self._lease = lease
        self._refunds = refunds
        self._tries = tries
        self._rules = rules
        self._halt = halt
        self._tally = tally
        self._retries = retries
        self._limits = limits
        self._began_ms = time.time_ns() // 1_000_000
        self._began = time.monotonic()
        self._settled_told_at = -math.inf  # to other shards
        self._streak = Streak()
        self._asked: tuple[float, str] | None = None  # until when a service asks us to wait, monotonic; what it said
        self.probing = False
        self.opened_ms = 0
        self.nothing_settled = NothingSettled()

    def enter(self) -> Ask[Admission]:
        """Whether the run may work; the answer goes to `entered`. It is asked after the lease was asked for."""
        return self._circuit.enter(self._lease.token)

    def entered(self, admission: Admission) -> None:
        """Note whether the run may work."""
        self.probing = admission.probing
        self._streak = admission.streak
        if admission.why:
            self._halt.circuit_is_open(admission.why)
        if admission.opening is None:
            return
        if admission.go:
            self.opened_ms = admission.opening.since_ms
        else:
            self._tally.circuit_changed(admission.opening)  # told once, however many runs it stops

    def at_most(self, count: int) -> int:
        """How many entries a page may have: `count`, or fewer if the run probes."""
        return min(count, PROBE_ENTRIES) if self.probing else count

    def is_open(self) -> Ask[bool]:
        """Whether the circuit is open now, asked along with an acknowledgement; the answer goes to `note`."""
        return self._circuit.is_open()

    def note(self, *, is_open: bool) -> None:
        """Note whether the circuit was opened elsewhere."""
        if not self.probing and is_open:
            self._halt.circuit_is_open("the circuit was opened while the run was under way")

    async def tell(self, judged: Judged) -> None:
        """Count a page's failures, or say what came of a probe (G4); pass on a service's wish that we wait."""
        failed = len(failures(judged.decisions, self._rules))
        parked = sum(one.verdict is Verdict.PARK for one in judged.decisions)
        settled = len(judged.finished) + parked
        if self.probing:
            if failed or settled:
                await self.end_probe(failed=not settled)
        elif failed or (settled and self._circuit.counts_settled):
            await self._change(self._circuit.record(failed, self._tally.run_id, settled))
        if settled and self._circuit.is_shared:
            await self._tell_settled()
        await self._note_wishes(judged)

    async def _tell_settled(self) -> None:
        """Let the runs of other shards know, now and then, that something is settled (G5)."""
        now = time.monotonic()
        if now - self._settled_told_at >= TELL_SETTLED_EVERY_SEC:
            self._settled_told_at = now
            await self._told(self._circuit.has_settled())

    async def _note_wishes(self, judged: Judged) -> None:
        """Note how long the services that were asked want us to wait (Retry-After).

        A wait that lasts beyond the run is kept in Redis at once, and the run begins nothing more.
        """
        errors = [one.error for one in judged.decisions if one.verdict is Verdict.RETRY and one.error is not None]
        for error in errors:
            seconds = retry_after_sec(error, time.time())
            if seconds:
                until = time.monotonic() + seconds
                if self._asked is None or until > self._asked[0]:
                    self._asked = until, describe(error)[:MAX_ASKED]
        if self._asked is not None and self._asked[0] - time.monotonic() > self._limits.begin.remaining_sec():
            await self.keep_wait()

    async def keep_wait(self) -> None:
        """Keep in Redis how long a service wants us to wait, if one does."""
        asked, self._asked = self._asked, None
        if asked is None or (seconds := asked[0] - time.monotonic()) <= 0:
            return
        kept_sec = await self._told(self._circuit.wait(seconds, asked[1]))
        if kept_sec is not None:
            self._halt.circuit_is_open(f"nothing is tried for {kept_sec:.1f} s, as a service has asked ({asked[1]})")

    async def end_probe(self, *, failed: bool) -> None:
        """Say what came of our probe, if we are the one to probe: it failed, settled something, or found nothing."""
        if not self.probing:
            return
        self.probing = False
        before = self._tally.before
        if failed:
            await self._change(self._circuit.probe_failed(self._lease.token))
        elif self._tally.counts.acknowledged or self._tally.counts.parked:
            await self._change(self._circuit.probe_succeeded(self._lease.token, self._tally.run_id))
        elif before is not None and not before.count and not before.group_missing:
            why = "nothing pending"
            await self._change(self._circuit.probe_succeeded(self._lease.token, self._tally.run_id, why))
        else:
            await self._change(self._circuit.probe_withdrawn(self._lease.token))

    async def conclude(self) -> None:
        """Apply the circuit's second rule, now that the run is over: did it try entries and settle none (G5)?"""
        run = self.nothing_settled
        if run.counts(self._streak):
            seconds = time.monotonic() - self._began
            ask = self._circuit.unsettled(self._tally.run_id, self._began_ms, run.error, run.tried, seconds)
            told = await self._told(ask)
            if told is not None:
                change, since_ms = told
                self._note(change)
                if since_ms is not None:
                    await self._refund_charges(since_ms)
        elif run.ends(self._streak):
            await self._told(self._circuit.end_streak())

    async def _refund_charges(self, since_ms: int) -> None:
        """Refund what this run has charged, and the run before it, which began at `since_ms`.

        With shards that one may have been another shard's, beside this one: its records are read first.
        """
        first = None
        if self._circuit.is_shared:
            first = await self._told(self._circuit.first_unsettled())
            await self._retries.call(self._limits.close, self._tries.read)
        is_for_us = partial(self._is_for_us, first or (-1, 0))
        resets, records = refunds(self.nothing_settled.charges, since_ms, self._rules, is_for_us)
        of_consumers: dict[bytes, list[Reset]] = defaultdict(list)
        for reset in resets:
            of_consumers[self._refunds.consumer_of(self._shard.that_has(records[reset.id].digest))].append(reset)
        left = set(records)
        for consumer, some in of_consumers.items():
            kept = await self._retries.call(self._limits.close, partial(self._refunds.reset, some, consumer))
            self._tally.add(lost=len(kept.lost))
            left -= kept.gone | kept.lost.keys()
        asks = self._tries.change({one: records[one] for one in left})
        await self._tries.send(asks)
        charged = len(self.nothing_settled.charges)
        self._tally.add(failed=-charged, retried=charged)

    def _is_for_us(self, first: tuple[int, int], record: Try) -> bool:
        """Whether this run refunds what the record tells of: its own shard's, and what the first run had charged."""
        shard, until_ms = self._shard.that_has(record.digest), first[1]
        return shard == self._shard or (shard.index == first[0] and record.last_ms <= until_ms)

    async def _change(self, ask: Ask[Change]) -> None:
        change = await self._told(ask)
        if change is not None:
            self._note(change)

    def _note(self, change: Change) -> None:
        if change.effect.changes:
            self._tally.circuit_changed(change)
        if change.effect in _STOPS:
            self._halt.circuit_is_open(f"the circuit is open ({change.why})")

    async def _told(self, ask: Ask[T]) -> T | None:
        """The circuit's answer; None where it could not be asked: no run fails for that."""
        limits = self._limits
        deadline = limits.close if limits.settle.passed() else limits.settle
        try:
            (answer,) = await self._retries.call(deadline, lambda: self._server.ask(ask))
        except Exception as exc:  # noqa: BLE001  # whatever it is: entries are settled already, and the run may go on
            logger.warning("reclaim %s: the circuit could not be told: %s", self._tally.target, said(exc))
            return None
        return answer
