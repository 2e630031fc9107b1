"""Owns the replay: has dead letters handled once more, in entry ID order for each order key."""

import asyncio
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from reclaim.entry import id_number
from reclaim.errors import LeaseHeld, MissingField, OutOfTime, describe
from reclaim.handlers.outcomes import Failed, Handled, Handler, Keyed
from reclaim.retry import Retries
from reclaim.run.attempts import Storing
from reclaim.run.tally import Reasons
from reclaim.settings import Target
from reclaim.state.connection import Server
from reclaim.state.dead_letters import DeadLetter, DeadLetters
from reclaim.state.lease import Lease
from reclaim.state.page_size import FIRST_PAGE, PageSize
from reclaim.times import Deadline
from reclaim.verdicts import Verdict, classify

logger = logging.getLogger("reclaim")

PAGE = 100
PATIENCE_MS = 10_000
WAIT_FOR_LEASE_SEC = 0.5


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


class Replay:
    """Replays dead letters of one target. It holds the target's lease meanwhile, so that no run gets in between."""

    def __init__(
        self,
        target: Target,
        server: Server,
        handler: Handler,
        hangs_sec: float = math.inf,
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
        self._retries = Retries(target.retry_attempts, target.retry_max_delay_sec, sleep)

    async def run(
        self,
        ids: Sequence[bytes] | None = None,
        *,
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
            upto: of all, only those up to the one with this ID: what fails gets a new ID, and is not among them again.
            limit: replay at most so many.
            per_second: replay at most so many each second.
            dry_run: only say how many would be replayed.
            budget_sec: begin nothing after so many seconds.
            progress: is told after each page how far it is.

        Raises:
            LeaseHeld: a run has had the lease all the time.
            ServerError, redis.exceptions.RedisError: Redis cannot be used; what was replayed until then is gone from
                the dead letters.
            ValueError: an ID is not one of a stream, or `per_second` is not above 0.
        """
        if per_second is not None and not 0 < per_second < math.inf:
            raise ValueError(f"per_second is {per_second!r}; allowed: a number above 0")
        deadline = Deadline(budget_sec, self._clock)
        chosen, missing = await self._choose(ids, upto, limit)
        report = ReplayReport(chosen=len(chosen), missing=missing)
        if dry_run or not chosen:
            return report
        lease = Lease(self._server, self._target.keys.lease, f"replay-{secrets.token_hex(6)}")
        await self._take(lease, deadline)
        keeper = asyncio.create_task(lease.keep())
        storing = Storing(self._handler, self._retries, deadline, self._hangs_sec)
        pace = PageSize(PAGE if per_second is None else max(1, min(PAGE, int(per_second))), FIRST_PAGE, PATIENCE_MS)
        held = {} if upto is None else await self._after(upto)
        left = deque(chosen)
        try:
            while left and not deadline.passed() and not lease.lost:
                ids = [left.popleft() for _ in range(min(pace.count, len(left)))]
                due = Deadline(len(ids) / per_second if per_second else 0, self._clock)
                letters = [letter for letter in await self._letters.show(ids) if letter is not None]
                pace.learn([letter.entry for letter in letters], 0)
                report = replace(report, missing=report.missing + len(ids) - len(letters))
                report = await self._page(letters, report, held, storing)
                progress(report)
                if left:
                    await self._sleep(min(due.remaining_sec(), deadline.remaining_sec()))
            return replace(report, left=report.left + len(left))
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
            await self._give_back(lease)

    async def _give_back(self, lease: Lease) -> None:
        """Release the lease; where that fails it ends by itself, and what was done stays done."""
        try:
            await self._server.ask(lease.release())
        except Exception as exc:  # noqa: BLE001  # the lease ends by itself
            logger.warning("reclaim %s: the replay's lease could not be released: %s", self._target.name, exc)

    async def _choose(
        self, ids: Sequence[bytes] | None, upto: bytes | None, limit: int | None
    ) -> tuple[list[bytes], int]:
        """The IDs of the dead letters to replay, by entry ID, and how many of those asked for are not there."""
        missing = 0
        places: list[tuple[int, bytes]] = []
        if ids is None:
            async for some in self._letters.ids(upto):
                places += ((id_number(entry_id), letter_id) for letter_id, entry_id in some)
        pace, named = PageSize(PAGE, FIRST_PAGE, PATIENCE_MS), deque(dict.fromkeys(ids or ()))
        while named:
            letters = await self._letters.show([named.popleft() for _ in range(min(pace.count, len(named)))])
            there = [letter for letter in letters if letter is not None]
            pace.learn([letter.entry for letter in there], 0)
            missing += len(letters) - len(there)
            places += ((id_number(letter.entry.id), letter.id) for letter in there)
        return [letter_id for _, letter_id in sorted(places)[:limit]], missing

    async def _after(self, last: bytes) -> dict[bytes, int]:
        """The order keys of the dead letters after this one, each with its smallest entry ID: it holds back later ones.

        One that failed in a replay of those up to the same place is among them.
        """
        held: dict[bytes, int] = {}
        pace = PageSize(PAGE, FIRST_PAGE, PATIENCE_MS)
        while some := await self._letters.list(last, pace.count):
            for letter in some:
                with suppress(MissingField):
                    _hold(held, self._handler.order_key(letter.entry), letter)
            pace.learn([letter.entry for letter in some], 0)
            last = some[-1].id
        return held

    async def _take(self, lease: Lease, deadline: Deadline) -> None:
        """Take the lease, as soon as the run that may have it is over."""
        while True:
            (holder,) = await self._server.ask(lease.take())
            if holder is None:
                return
            if deadline.remaining_sec() <= WAIT_FOR_LEASE_SEC:
                raise LeaseHeld(f"{self._target.name}: {holder}")
            await self._sleep(WAIT_FOR_LEASE_SEC)

    async def _page(
        self, letters: Sequence[DeadLetter], report: ReplayReport, held: dict[bytes, int], storing: Storing
    ) -> ReplayReport:
        """Replay these, at most one of each order key at a time.

        `held` are the keys of which one is not stored, with its entry ID as a number: it holds back those after it.
        """
        chains: dict[bytes, list[DeadLetter]] = {}
        for letter in letters:
            try:
                chains.setdefault(self._handler.order_key(letter.entry), []).append(letter)
            except MissingField as exc:
                report = await self._missed(letter, exc, report)
        while chains:
            ready = [(key, chain.pop(0)) for key, chain in chains.items()]
            chains = {key: chain for key, chain in chains.items() if chain}
            free = [(key, letter) for key, letter in ready if id_number(letter.entry.id) < held.get(key, math.inf)]
            report = replace(report, held=report.held + len(ready) - len(free))
            ready = free
            stored = await self._store([(key, letter.entry) for key, letter in ready], storing)
            pairs = list(zip(ready, stored, strict=True))
            done = [letter.id for (_, letter), outcome in pairs if not isinstance(outcome, Failed)]
            report = replace(report, replayed=report.replayed + await self._letters.discard(done))
            for (key, letter), outcome in pairs:
                if isinstance(outcome, Failed):
                    _hold(held, key, letter)
                    report = await self._missed(letter, outcome.error, report)
        return report

    async def _store(self, keyed: Sequence[Keyed], storing: Storing) -> Sequence[Handled]:
        if self._handler.at_once:
            return await storing.store(keyed) if keyed else []
        free = asyncio.Semaphore(self._target.lanes)

        async def store_one(one: Keyed) -> Handled:
            async with free:
                return (await storing.store([one]))[0]

        return await asyncio.gather(*map(store_one, keyed))

    async def _missed(self, letter: DeadLetter, error: Exception, report: ReplayReport) -> ReplayReport:
        """Write down why a dead letter could not be stored, if it is to blame itself."""
        if isinstance(error, OutOfTime):
            return replace(report, left=report.left + 1)
        match classify(error):
            case Verdict.STOP:
                raise error
            case Verdict.RETRY:
                return replace(report, retried=report.retried + 1, reasons=_with(report.reasons, describe(error)))
            case _:
                await self._letters.amend(letter, describe(error))
                return replace(report, failed=report.failed + 1, reasons=_with(report.reasons, describe(error)))


def _hold(held: dict[bytes, int], key: bytes, letter: DeadLetter) -> None:
    number = id_number(letter.entry.id)
    held[key] = min(held.get(key, number), number)


def _with(reasons: Mapping[str, int], reason: str) -> Mapping[str, int]:
    """The reasons, with one more."""
    return Reasons(reasons).plus({reason: 1})
