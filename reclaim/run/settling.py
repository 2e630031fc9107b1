"""Owns how a page is settled. Nothing else in a run parks, charges or acknowledges an entry."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from reclaim.entry import Entry, id_number
from reclaim.errors import DeadLettersFull, IdsBeganAgain, TooManyRequeues
from reclaim.handlers.outcomes import Keyed
from reclaim.retry import Retries
from reclaim.run.circuit_gate import CircuitGate
from reclaim.run.claims import Page, rows_of
from reclaim.run.decisions import Decision, Judged, records, with_outlasted, with_unparked
from reclaim.run.fit import FitCheck
from reclaim.run.group_watch import GroupWatch
from reclaim.run.limits import Limits
from reclaim.run.nothing_settled import Charge
from reclaim.run.order import HeldKeys
from reclaim.run.rules import Rules
from reclaim.run.tally import Tally
from reclaim.state.ask import Ask, Reply
from reclaim.state.connection import Server
from reclaim.state.dead_letters import DeadLetters, Parking, Reason
from reclaim.state.lost import LostEntries
from reclaim.state.pending import PendingList, Row
from reclaim.state.refunds import Refunds
from reclaim.state.tries import Tries
from reclaim.tracebacks import last_frames
from reclaim.verdicts import Verdict

_COUNTED_AS = {
    Verdict.PARK: "parked",
    Verdict.FAIL: "failed",
    Verdict.HELD: "held",
    Verdict.RETRY: "retried",
    Verdict.STOP: "retried",
}


class Settler:
    """Settles the pages of one run, one after another."""

    def __init__(
        self,
        *,
        server: Server,
        pending: PendingList,
        refunds: Refunds,
        dead_letters: DeadLetters,
        lost_entries: LostEntries,
        tries: Tries,
        rules: Rules,
        gate: CircuitGate,
        held: HeldKeys,
        fit: FitCheck,
        watch: GroupWatch,
        tally: Tally,
        retries: Retries,
        limits: Limits,
    ) -> None:
        self._server = server
        self._pending = pending
        self._refunds = refunds
        self._dead_letters = dead_letters
        self._lost_entries = lost_entries
        self._tries = tries
        self._rules = rules
        self._gate = gate
        self._held = held
        self._fit = fit
        self._watch = watch
        self._tally = tally
        self._retries = retries
        self._limits = limits

    async def settle(self, page: Page, judged: Judged) -> None:
        """Settle a page. Each step may fail, and then the run ends; the order is what the promises need then.

        Raises:
            Exception: what Redis answered last, or what an entry failed with whose verdict is STOP, if the run has
                finished nothing. Else others can be finished, and that entry stops none of them (G4).
        """
        page.is_settling = True
        now_ms = time.time_ns() // 1_000_000
        if not self._gate.probing and (judged.finished or self._tally.counts.acknowledged):
            judged = with_outlasted(judged, self._rules, now_ms)
        judged = await self._park(page, judged)
        self._hold_back(judged.decisions)
        tries = self._record(judged, now_ms)
        self._charge(page, judged.decisions)
        await self._acknowledge(page, judged, tries)
        await self._account_for_lost(page, judged.finished)
        await self._refund(page, judged.decisions)
        await self._gate.tell(judged)
        if not (judged.finished or self._tally.counts.acknowledged):
            _stop_if_told(judged.decisions)

    async def _park(self, page: Page, judged: Judged) -> Judged:
        """Make dead letters. First, because an entry that cannot become one holds back others that are done (G2, G3).

        They are made in ID order, so that a list of dead letters is in the order of the stream.
        """
        to_park = [decision for decision in judged.decisions if decision.verdict is Verdict.PARK]
        if not to_park:
            return judged
        parkings = [parking(one, self._rules) for one in sorted(to_park, key=lambda one: id_number(one.entry.id))]
        errors = await self._unparked(page, parkings)
        if any(isinstance(error, DeadLettersFull) for error in errors.values()):
            self._tally.dead_letters_are_full = True
        return with_unparked(judged, errors)

    async def _unparked(self, page: Page, parkings: Sequence[Parking]) -> Mapping[bytes, Exception]:
        """Make dead letters, and return why each entry that is still pending could not become one.

        Where there was no room a moment ago, the run asks for room first: bodies are not sent only to be refused.
        """
        letters, retries, deadline = self._dead_letters, self._retries, self._limits.settle
        if self._tally.dead_letters_are_full and await retries.call(deadline, letters.is_full):
            return dict.fromkeys((one.entry.id for one in parkings), letters.no_room())
        parked = await letters.park(parkings, retries, deadline)
        page.account.add(not_deleted=parked.not_deleted)
        return parked.errors

    def _hold_back(self, decisions: Sequence[Decision]) -> None:
        """Let entries that are not settled hold back later ones on the next pages (G3), before one of these begins."""
        for decision in decisions:
            if decision.verdict.settles:
                continue
            if decision.verdict is Verdict.HELD and self._held.is_deferred_only(decision.key, decision.entry):
                continue  # its turn comes in the second round
            self._held.hold(decision.key, decision.entry)

    def _record(self, judged: Judged, now_ms: int) -> list[Ask[Reply]]:
        """What keeps in `tries` which entries were tried and are not done, and removes what is parked."""
        self._gate.nothing_settled.note(judged, self._rules)
        if not judged.decisions and self._tries.is_empty:
            return []
        known = self._rules.tries
        made = records(judged.decisions, self._rules, now_ms)
        failed = [one.entry for one in judged.decisions if one.verdict is Verdict.FAIL]
        rows = [Row(entry.id, entry.consumer, entry.idle_ms, entry.deliveries) for entry in failed]
        self._gate.nothing_settled.note_charges(Charge(row, known.get(row.id), made[row.id]) for row in rows)
        parked = [one.entry.id for one in judged.decisions if one.verdict is Verdict.PARK]
        return self._tries.change(made, parked)

    def _charge(self, page: Page, decisions: Sequence[Decision]) -> None:
        """Leave failed entries charged with their delivery (G5), also where a later step fails: they are not refunded.

        Parked entries are gone from the pending list, so they leave the page here too.
        """
        charged = [decision for decision in decisions if not decision.verdict.refunds]
        self._count(page, charged)
        page.without({decision.entry.id for decision in charged})

    async def _acknowledge(self, page: Page, judged: Judged, tries: Sequence[Ask[Reply]]) -> None:
        """Acknowledge what is stored (G1), and see on the way whether the circuit was opened elsewhere (G4).

        What is moved is acknowledged already.

        The records of tries go along. No page fails for one that cannot be kept: delivery counts decide then.
        """
        finished = judged.finished
        if not finished:
            await self._in_time(partial(self._tries.send, tries))
            return
        kept = [ask.or_error() for ask in tries]
        left: Sequence[Entry] = [entry for _, entry in judged.done]
        is_first = True
        while left or is_first:
            is_first = False
            said, opened, _, *answers = await self._retries.call(
                self._limits.settle, partial(self._ask, left, self._fit.mark(), kept)
            )
            self._tries.warn(answers)
            kept = []
            self._gate.note(is_open=opened)
            page.account.add(acknowledged=len(left) - len(said.left), not_deleted=said.not_deleted)
            page.without({entry.id for entry in left} - {entry.id for entry in said.left})
            if said.not_pending:  # a lost reply, somebody else's acknowledgement, or a group that is gone
                await self._in_time(self._watch.check)
            left = said.left
        if self._tries.is_empty:
            return
        # Not along with the acknowledgement: if that is refused, the entry is still pending, and needs its record.
        await self._in_time(partial(self._tries.send, self._tries.change({}, [entry.id for _, entry in finished])))

    async def _in_time(self, call: Callable[[], Awaitable[object]]) -> None:
        """Wait no longer than pages may be settled (G6); the call itself fails for nothing that Redis answers."""
        await self._retries.call(self._limits.settle, call)

    async def _ask(
        self, entries: Sequence[Entry], mark: Ask[Reply], tries: Sequence[Ask[Reply | Exception]]
    ) -> tuple[Any, ...]:
        """Acknowledge entries; the answers are an `Acknowledged`, whether the circuit is open, and the rest."""
        return await self._server.ask(self._pending.acknowledge(entries), self._gate.is_open(), mark, *tries)

    async def _account_for_lost(self, page: Page, finished: Sequence[Keyed]) -> None:
        """Count the entries that left the stream while they were handled; those that are finished are not lost (G2)."""
        if not page.lost:
            return
        lost = page.lost.keys() - {entry.id for _, entry in finished}
        places = [place for one, place in page.lost.items() if one not in lost and place is not None]
        if places:
            await self._retries.call(self._limits.settle, lambda: self._lost_entries.strike(places))
        page.account.add(lost=len(lost))
        await self._in_time(partial(self._tries.send, self._tries.change({}, lost)))
        page.without(lost)
        page.lost = {}

    async def _refund(self, page: Page, decisions: Sequence[Decision]) -> None:
        """Give back what is left of the page: what is to be tried again, and what was not begun (G5).

        From here on it is owed, also where it cannot be given back now: the next run does that first.
        """
        refunded = page.entries
        if not refunded:
            return
        self._refunds.owe(refunded)
        page.without({entry.id for entry in refunded})
        decided = [decision for decision in decisions if decision.verdict.refunds]
        self._count(page, decided)
        page.account.add(given_back=len(refunded) - len(decided))
        gone = await self._retries.call(self._limits.settle, self._refunds.settle)
        if gone and (rows := rows_of(refunded, gone)):
            await self._in_time(partial(self._watch.check, rows))

    def _count(self, page: Page, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self._tally.why.add(decision)
        page.account.add(**Counter(_COUNTED_AS[decision.verdict] for decision in decisions))


def parking(decision: Decision, rules: Rules) -> Parking:
    """The dead letter that an entry is made, whose decision is to park it."""
    if decision.error is None:
        return Parking(decision.entry, Reason.MAX_DELIVERIES, decision.reason)
    for kind, why in _PARKED_FOR_ERROR.items():
        if isinstance(decision.error, kind):
            return Parking(decision.entry, why, decision.reason)
    reason = _PARKED_FOR.get(rules.verdict(decision.error), Reason.BAD_ENTRY)
    return Parking(decision.entry, reason, decision.reason, last_frames(decision.error))


_PARKED_FOR_ERROR = {IdsBeganAgain: Reason.IDS_BEGAN_AGAIN, TooManyRequeues: Reason.MAX_REQUEUES}
_PARKED_FOR = {
    Verdict.FAIL: Reason.FAILED,
    Verdict.RETRY: Reason.RETRIED_TOO_LONG,
    Verdict.STOP: Reason.RETRIED_TOO_LONG,
}


def _stop_if_told(decisions: Sequence[Decision]) -> None:
    """Raise the error of an entry that shows that no entry can be handled: credentials, or a missing permission."""
    for decision in decisions:
        if decision.verdict is Verdict.STOP and decision.error is not None:
            raise decision.error
