"""Owns the replay: has dead letters handled once more, in entry ID order for each order key.

A replay plans and stores as a run does; its entries come from the dead letters, and are settled there.
"""

import asyncio
import logging
import math
import secrets
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, fields
from itertools import count as counting
from itertools import islice
from typing import TYPE_CHECKING

from reclaim.entry import Entry, id_after, id_number
from reclaim.errors import LeaseHeld, MissingField, OutOfTime, describe
from reclaim.handlers.outcomes import Handler, Keyed
from reclaim.reasons import Reasons
from reclaim.retry import Retries
from reclaim.run.attempts import Storing
from reclaim.run.blocking import Blocking
from reclaim.run.decisions import Decision, Judged, decide, judge, plan
from reclaim.run.duplicates import Duplicates
from reclaim.run.entering import enter
from reclaim.run.lanes import Lanes
from reclaim.run.order import HeldKeys, digest, rounds
from reclaim.run.rules import Rules
from reclaim.run.turn import Turn
from reclaim.settings import Target
from reclaim.state.connection import Server
from reclaim.state.dead_letters import DeadLetter, DeadLetters
from reclaim.state.lease import Lease
from reclaim.state.letter_filter import EVERY_LETTER, LetterFilter, chosen_ids
from reclaim.state.seen import SeenGroup
from reclaim.times import Deadline
from reclaim.tracebacks import last_frames
from reclaim.verdicts import OwnErrors, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

logger = logging.getLogger("reclaim")

PAGE = 100
WAIT_FOR_LEASE_SEC = 0.5
OF_NEWER_RELEASE = "written by a newer release of reclaim"


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay did; counts are of dead letters.

    Attributes:
        chosen: were to be replayed.
        replayed: were stored, and are no longer dead letters.
        failed: raised again; they are dead letters still, with the new error.
        retried: could not be stored for no fault of their own; nothing about them has changed.
        held: were left alone, because an earlier one of their order key was not stored.
        left: were not begun, or not finished, when the time was up.
        missing: IDs asked for that are no dead letters, or were removed meanwhile.
        reasons: why dead letters failed or were retried, and how many for each reason (the first 20 reasons).
    """

    chosen: int = 0
    replayed: int = 0
    failed: int = 0
    retried: int = 0
    held: int = 0
    left: int = 0
    missing: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, more: "ReplayReport") -> "ReplayReport":
        counts = {name: getattr(self, name) + getattr(more, name) for name in _COUNTS}
        reasons = Reasons()
        reasons.add_all(self.reasons)
        reasons.add_all(more.reasons)
        return ReplayReport(**counts, reasons=reasons.counts())


_COUNTS = tuple(one.name for one in fields(ReplayReport) if one.name != "reasons")


class Replay:
    """Replays dead letters of one target. It has the target's lease meanwhile, so that no run gets in between."""

    def __init__(
        self,
        target: Target,
        server: Server,
        handler: Handler,
        hangs_sec: float = math.inf,
        own: OwnErrors | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._target = target
        self._server = server
        self._handler = handler
        self._clock = clock
        self._sleep = sleep
        self._letters = DeadLetters(server, target)
        self._hangs_sec = hangs_sec
        self._rules = Rules(sys.maxsize, own=own or OwnErrors())  # no try is the last
        self._retries = Retries(target.retry_attempts, target.retry_max_delay_sec, sleep)

    async def run(
        self,
        ids: Sequence[bytes] | None = None,
        *,
        wanted: LetterFilter = EVERY_LETTER,
        upto: bytes | None = None,
        limit: int | None = None,
        per_second: float | None = None,
        dry_run: bool = False,
        budget_sec: float = 60.0,
        progress: Callable[[ReplayReport], None] = lambda _: None,
    ) -> ReplayReport:
        """Replay the dead letters with these IDs, or all there are now, those with the smallest entry IDs first.

        Args:
            ids: of dead letters; None for all.
            wanted: of these, only those that fit.
            upto: of all, only those up to the one with this ID: what fails gets a new ID, and is not among them again.
            limit: replay at most so many.
            per_second: replay at most so many each second.
            dry_run: only say how many would be replayed.
            budget_sec: begin nothing after so many seconds.
            progress: is told after each page how far it is.

        Raises:
            LeaseHeld: a run has had the lease all the time.
            NotEntered: the handler's resource could not be entered.
            ServerError, redis.exceptions.RedisError: Redis cannot be used; what was replayed until then is gone from
                the dead letters.
            ValueError: an ID is not one of a stream, or `per_second` is not above 0.
        """
        if per_second is not None and not 0 < per_second < math.inf:
            raise ValueError(f"per_second is {per_second!r}; allowed: a number above 0")
        deadline = Deadline(budget_sec, self._clock)
        chosen, missing = await self._choose(ids, wanted, upto, limit)
        report = ReplayReport(chosen=len(chosen), missing=missing)
        if dry_run or not chosen:
            return report
        async with self._lease(deadline) as lease:
            await enter(self._handler, self._retries, deadline)
            held = HeldKeys() if upto is None else await self._held_after(upto)
            for key, entry_id in self._handler.at_work():
                held.hold_digest(digest(key), entry_id)
            return await self._replay(chosen, report, held, lease, deadline, per_second, progress)

    async def _choose(
        self, ids: Sequence[bytes] | None, wanted: LetterFilter, upto: bytes | None, limit: int | None
    ) -> tuple[list[bytes], int]:
        """The IDs of the dead letters to replay, by entry ID, and how many of those asked for are not there."""
        missing = 0
        places: list[tuple[int, bytes]] = []
        if ids is None:
            async for some in chosen_ids(self._letters, wanted, upto):
                places += ((id_number(entry_id), letter_id) for letter_id, entry_id in some)
        bodies, named = self._letters.bodies(), deque(dict.fromkeys(ids or ()))
        while named:
            letters = await self._letters.first(list(islice(named, PAGE)), bodies)
            _first(named, len(letters))
            there = [letter for letter in letters if letter is not None]
            missing += len(letters) - len(there)
            places += ((id_number(letter.entry.id), letter.id) for letter in there if wanted.fits(letter))
        return [letter_id for _, letter_id in sorted(places)[:limit]], missing

    async def _held_after(self, last: bytes) -> HeldKeys:
        """The order keys held back by the dead letters after this one (G3).

        One that failed in a replay of those up to the same place is among them.
        """
        held = HeldKeys()
        first = id_after(last)
        if first is None:
            return held
        async for some in self._letters.walk(first):
            for letter in some:
                with suppress(MissingField):
                    held.hold(self._handler.order_key(letter.entry), letter.entry)
        return held

    @asynccontextmanager
    async def _lease(self, deadline: Deadline) -> "AsyncIterator[Lease]":
        """The lease, as soon as the run that may have it is over; renewed until the replay is over."""
        lease = Lease(self._server, self._target, f"replay-{secrets.token_hex(6)}", of_replay=True)
        await self._take(lease, deadline)
        keeper = asyncio.create_task(lease.keep())
        try:
            yield lease
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
            await self._release(lease)

    async def _take(self, lease: Lease, deadline: Deadline) -> None:
        for asked in counting():
            (holder,) = await self._server.ask(lease.take())
            if holder is None:
                return
            if deadline.remaining_sec() <= WAIT_FOR_LEASE_SEC:
                await self._release(lease)  # while we waited for shards, it has kept new runs of them away
                raise LeaseHeld(f"{self._target.name}: {holder}")
            if not asked:
                logger.info("reclaim %s: the replay waits: %s", self._target.name, holder)
            await self._sleep(WAIT_FOR_LEASE_SEC)

    async def _release(self, lease: Lease) -> None:
        """Release the lease; where that fails it ends by itself, and what was done stays done."""
        try:
            await self._server.ask(lease.release())
        except Exception as exc:  # noqa: BLE001  # the lease ends by itself
            logger.warning("reclaim %s: the replay's lease could not be released: %s", self._target.name, describe(exc))

    async def _replay(
        self,
        chosen: Sequence[bytes],
        report: ReplayReport,
        held: HeldKeys,
        lease: Lease,
        deadline: Deadline,
        per_second: float | None,
        progress: Callable[[ReplayReport], None],
    ) -> ReplayReport:
        """Replay page after page, until the time is up."""
        blocking = Blocking(self._target.name, self._target.handler)

        def storing(handler: Handler) -> Storing:
            of = (self._target.stream, self._target.group)
            return Storing(handler, self._retries, self._rules, deadline, self._hangs_sec, blocking, of=of)

        pages = _Pages(self._letters, self._handler, storing, self._rules, held, self._target)
        most = PAGE if per_second is None else max(1, min(PAGE, int(per_second)))
        left, bodies = deque(chosen), self._letters.bodies()
        while left and not deadline.passed() and not lease.lost:
            read = await self._letters.first(list(islice(left, most)), bodies)
            page = _first(left, len(read))
            due = Deadline(len(page) / per_second if per_second else 0, self._clock)
            letters = [letter for letter in read if letter is not None]
            report += ReplayReport(missing=len(page) - len(letters))
            report += await pages.handle(letters)
            progress(report)
            if left:
                await self._sleep(min(due.remaining_sec(), deadline.remaining_sec()))
        if report.replayed and self._handler.needs is not None:  # misfits are bad entries from now on, as after a run
            mark = SeenGroup(self._server, self._target).mark(self._handler.needs.text)
            await self._server.ask(mark.or_error())
        return report + ReplayReport(left=len(left))


class _Pages:
    """What one replay does with each page of dead letters."""

    def __init__(
        self,
        letters: DeadLetters,
        handler: Handler,
        storing: Callable[[Handler], Storing],
        rules: Rules,
        held: HeldKeys,
        target: Target,
    ) -> None:
        self._letters = letters
        self._order_key = handler.order_key
        self._storing = storing(handler.for_letters(self._letter_id))
        self._of_entry: Mapping[int, DeadLetter] = {}  # of the page; two of them may be of the same entry ID
        self._rules = rules
        self._held = held
        self._lanes = Lanes(target.lanes, at_once=handler.at_once, most=handler.most)
        self._duplicates = Duplicates(target.name)
        self._has_replayed = False

    async def handle(self, letters: Sequence[DeadLetter]) -> ReplayReport:
        """Replay these dead letters, at most one of each order key at a time; each round is settled before the next."""
        foreign = sum(letter.is_foreign for letter in letters)
        report = ReplayReport(retried=foreign, reasons={OF_NEWER_RELEASE: foreign} if foreign else {})
        letters = [letter for letter in letters if not letter.is_foreign]
        self._of_entry = {id(letter.entry): letter for letter in letters}
        keyed: list[Keyed] = []
        for letter in letters:
            try:
                keyed.append((self._order_key(letter.entry), letter.entry))
            except MissingField as exc:  # it has no order key, and so holds nothing back
                report += await self._keep(letter, judge(b"", letter.entry, exc, self._rules))
        for some in rounds(keyed):
            report += await self._settle(await self._store(some))
        return report

    def _letter_id(self, entry: Entry) -> bytes:
        return self._of_entry[id(entry)].id

    async def _store(self, keyed: Sequence[Keyed]) -> Judged:
        planned = plan(keyed, self._held, self._rules)
        judged = await self._lanes.store(self._lanes.split(planned.to_store), self._attempt, Turn(keyed, ()))
        return Judged.joined([Judged(decisions=planned.decided), judged])

    async def _attempt(self, some: Sequence[Keyed]) -> Judged:
        return decide(some, await self._storing.store(some), self._rules)

    async def _settle(self, judged: Judged) -> ReplayReport:
        """Remove what is stored, and only that (G1); let what is not hold back later ones (G3); write down why.

        What is moved is removed already.
        """
        self._duplicates.tell(judged.duplicates)
        report = ReplayReport(replayed=len(judged.moved), missing=len(judged.gone))
        report += ReplayReport(replayed=await self._letters.discard([self._letter_id(one) for _, one in judged.done]))
        self._has_replayed = self._has_replayed or report.replayed > 0
        for decision in judged.decisions:
            self._held.hold(decision.key, decision.entry)
        for decision in judged.decisions:
            report += await self._keep(self._of_entry[id(decision.entry)], decision)
        return report

    async def _keep(self, letter: DeadLetter, decision: Decision) -> ReplayReport:
        """Keep a dead letter that was not stored; with its new error, if it is to blame itself.

        Raises:
            Exception: what the entry failed with, if it shows that no entry can be handled, and none was replayed yet.
        """
        error = decision.error
        if error is None or decision.verdict is Verdict.HELD:
            return ReplayReport(held=1)
        if isinstance(error, OutOfTime):
            return ReplayReport(left=1)
        if decision.verdict is Verdict.STOP and not self._has_replayed:
            raise error
        reasons = {decision.reason: 1}
        if decision.verdict in {Verdict.RETRY, Verdict.STOP}:
            return ReplayReport(retried=1, reasons=reasons)
        await self._letters.amend(letter, describe(error), last_frames(error))
        return ReplayReport(failed=1, reasons=reasons)


def _first(ids: deque[bytes], count: int) -> list[bytes]:
    """Take the first so many."""
    return [ids.popleft() for _ in range(min(count, len(ids)))]
