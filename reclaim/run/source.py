"""Owns where a run's pages come from: it finds idle entries, reads and claims them, to the end of the list."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial

from redis.exceptions import RedisError

from reclaim.entry import id_number
from reclaim.errors import ServerError
from reclaim.names import name_bytes
from reclaim.retry import Retries
from reclaim.run.circuit_gate import CircuitGate
from reclaim.run.claims import Claims, Page
from reclaim.run.fit import FitCheck
from reclaim.run.holding import Holding
from reclaim.run.limits import Halt, Limits
from reclaim.run.order import HeldKeys
from reclaim.run.part import Part
from reclaim.run.probing import Candidate, choose
from reclaim.run.rules import Rules
from reclaim.run.tally import Tally
from reclaim.run.waiting import Waiting
from reclaim.settings import Target
from reclaim.state.bodies import Bodies, Body
from reclaim.state.claim import Claimed, Claimer
from reclaim.state.find import START, Finder, Found
from reclaim.state.page_size import PageSize
from reclaim.state.pending import Row
from reclaim.state.tries import Tries, Try

FAR_SEC = (
    0.001  # a way there and back from which on more than one look pays: nearer, it only fills the processor's caches
)
FIND_AT_ONCE = 1_000  # entries, of which a shard keeps its own
FOUND_SEC = 1.0  # for how long what was found is worth a claim
LOOKS_AHEAD = 3  # pages of light entries looked for while one is claimed: a look is three round trips, a claim is one
PROBE_LOOKS_AT = 10_000  # entries among which a probe chooses
PROBE_FINDS = 500  # of them at once
PROBE_READS = 64_000_000  # bytes that a probe reads to learn order keys


@dataclass(frozen=True, slots=True)
class _Read:
    """Idle entries and their bodies, and when this was known, by the run's clock.

    Attributes:
        found: the entries.
        bodies: of each of them.
        is_suspect: whether it is one entry, a suspect.
        weight: how many bytes an entry has, on average.
        at: the time.
        reader: what has read the bodies, and may have read some of the next page.
    """

    found: Found
    bodies: Sequence[Body]
    is_suspect: bool
    weight: float
    at: float
    reader: Bodies


@dataclass(frozen=True, slots=True)
class _LookAhead:
    """A look for idle entries from `start` on, whose bodies `reader` reads."""

    start: bytes
    reader: Bodies
    task: asyncio.Task[_Read]


@dataclass(frozen=True, slots=True)
class _Claimed:
    """What one claim gave, how many bytes an entry of it has on average, and when it was sent."""

    claimed: Claimed
    weight: float
    asked_at: float


class PageSource:
    """Claims the pages of one run, in ID order, in two rounds (`Waiting`); a probe claims a page of its own first.

    An entry that a run of ours may have died of, a suspect, is a page of its own and never claimed ahead: dying of it
    again costs no other entry a delivery (G4).
    """

    def __init__(
        self,
        *,
        target: Target,
        finder: Finder,
        readers: Sequence[Bodies],
        claimer: Claimer,
        claims: Claims,
        gate: CircuitGate,
        rules: Rules,
        tries: Tries,
        waiting: Waiting,
        held: HeldKeys,
        holding: Holding,
        part: Part,
        halt: Halt,
        page_size: PageSize,
        fit: FitCheck,
        tally: Tally,
        retries: Retries,
        limits: Limits,
        looks_ahead: bool,
        clock: Callable[[], float],
    ) -> None:
        self._ours = name_bytes(target.consumer)
        self._finds_of = target.shard.of
        self._most = target.page_size
        self._found_sec = min(FOUND_SEC, target.min_idle_ms / 1000)
        self._finder = finder
        self._readers = readers
        self._reader = readers[0]  # of the page that is claimed
        self._claimer = claimer
        self._claims = claims
        self._gate = gate
        self._rules = rules
        self._tries = tries
        self._waiting = waiting
        self._held = held
        self._holding = holding
        self._part = part
        self._halt = halt
        self._page_size = page_size
        self._fit = fit
        self._tally = tally
        self._retries = retries
        self._limits = limits
        self._looks_ahead = looks_ahead
        self._clock = clock
        self._at: bytes | None = START
        self._sought: deque[_LookAhead] = deque()
        self._then: bytes | None = None  # where the look behind these is likely to start, once it is known
        self._is_probed = False

    @property
    def is_exhausted(self) -> bool:
        """Whether the end of the list is reached, in the last round."""
        return self._at is None and not self._waiting.has_deferred

    async def next(self, total: int, *, ahead: bool) -> Page | None:
        """Claim the next page that has any entries; None at the end of the list.

        None also if a suspect or the second round is next and other pages are in work (`ahead`): what they still have
        to plan must find its order keys held. `total` is about how many entries are pending.
        """
        if self._is_second_round_due():
            if ahead:
                return None
            self._waiting.begin_second_round()
            self._at = START
        while (start := self._at) is not None:
            claim = await self._retries.call(self._limits.settle, partial(self._claim, start, total, ahead=ahead))
            if claim is None:
                return None
            self._is_probed = True
            self._at = claim.claimed.after
            if lost := claim.claimed.lost:
                self._tally.add(lost=len(lost))
                forget = self._tries.change({}, [row.id for row in lost])  # or it is lost again with its group
                await self._retries.call(self._limits.settle, partial(self._tries.send, forget))
            if claim.claimed.unrecorded is not None:
                why = f"lost entries could not be recorded: {claim.claimed.unrecorded}"
                self._tally.why.reasons.add(why)
            if claim.claimed.entries:
                return self._claims.add(claim.claimed.entries, claim.weight, claim.asked_at)
        return None

    def _is_second_round_due(self) -> bool:
        """Whether what waits for the second round waits no longer: the first one has ended, or had half of the time.

        Else a run could spend all its time on what comes after a deferred entry in its order key, the next run too, and
        the entry, which alone can let them go on, would never be tried.
        """
        if not self._waiting.has_deferred:
            return False
        return self._at is None or self._limits.begin.remaining_sec() < self._limits.budget_sec / 2

    def may_claim_ahead_of(self, page: Page) -> bool:
        """Whether the next page would be handled soon, and not only wait, if it is claimed while this is in work."""
        return self._page_size.is_quick and not self._gate.probing and not self._rules.was_suspect(page.entries[0])

    async def close(self) -> None:
        """End looks ahead that nobody waits for, and let go of what they have read."""
        await self._end_looks()
        for reader in self._readers:
            reader.forget_all()

    async def _end_looks(self) -> None:
        tasks = [look.task for look in self._sought]
        self._sought.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _claim(self, start: bytes, total: int, *, ahead: bool) -> _Claimed | None:
        """Claim entries up to a suspect, or a suspect alone; None where a suspect would be claimed ahead."""
        read = await self._to_probe(total) if self._gate.probing and not self._is_probed else None
        if read is None:
            read = await self._found(start, total)
        if read.is_suspect and ahead:
            return None
        if not read.found.rows:
            return _Claimed(Claimed((), (), read.found.after), 0, self._clock())
        await self._fit.check(read.found.rows, read.bodies)
        self._look_ahead(read.found.after, total)
        await self._note_counts(read.found.rows)
        asked_at = self._clock()
        claimed = await self._claimer.claim(read.found, read.bodies)
        self._hold_missed(read, claimed)
        read.reader.forget([row.id for row in read.found.rows])
        return _Claimed(claimed, read.weight, asked_at)

    def _hold_missed(self, read: _Read, claimed: Claimed) -> None:
        """Let entries that were found and could not be claimed hold back the later ones of their order keys (G3).

        Somebody else has claimed them; or the server's clock was set back meanwhile, and they seem fresh.
        """
        if len(claimed.entries) == len(read.found.rows):
            return
        had = {entry.id for entry in claimed.entries} | {row.id for row in claimed.lost}
        for row, body in zip(read.found.rows, read.bodies, strict=True):
            if row.id not in had and body is not None:
                self._held.hold_digest(self._part.digest(row.id, body), row.id)

    async def _note_counts(self, rows: Sequence[Row]) -> None:
        """Write down the delivery counts that others have raised, before they are taken for tries of ours (G5).

        Nothing is claimed if that is refused: from then on nobody could tell whose deliveries they were.
        """
        known = self._rules.tries
        some = rows if known else [row for row in rows if row.deliveries != 1]
        raised = [row for row in some if self._rules.needs_record(row)]
        if raised:
            counts = {row.id: known.get(row.id, Try())._replace(deliveries=row.deliveries) for row in raised}
            await self._tries.keep(counts)

    async def _to_probe(self, total: int) -> _Read | None:
        """What a probe takes; None where nothing was found to choose from. What comes after it starts anew.

        Entries are looked at in ID order, so that only the first one of each order key is a candidate (G3).
        """
        candidates: list[Candidate] = []
        keys: set[bytes] = set()
        looked_at = read = 0
        place: bytes | None = START
        while place is not None and looked_at < PROBE_LOOKS_AT and self._halt.ending() is None:
            found = await self._find(place, PROBE_FINDS, total)
            place = found.after
            looked_at += len(found.rows)
            await self._look_up(found.rows)
            rows = self._waiting.due(self._part.may_be_own(found.rows))
            digests, size, known = await self._digests(rows, PROBE_READS - read)
            read += size
            if len(known) < len(rows):
                place = None
            for row in known:
                key = digests.get(row.id)
                if key is None or key in keys or self._held.holds_digest(key, row.id):
                    continue
                if not self._part.has(key, row.id):
                    continue
                keys.add(key)
                if not self._rules.is_suspect(row):
                    record = self._rules.tries.get(row.id)
                    candidates.append(Candidate(row, 0 if record is None else record.last_ms))
        chosen = choose(candidates, self._gate.opened_ms, self._gate.at_most(self._most))
        if not chosen:
            return None
        reader = self._reader
        bodies = await reader.first([row.id for row in chosen])
        found = Found(chosen[: len(bodies)], START)
        return _Read(found, bodies, is_suspect=False, weight=reader.mean, at=self._clock(), reader=reader)

    async def _digests(self, rows: Sequence[Row], most: int) -> tuple[dict[bytes, bytes], int, Sequence[Row]]:
        """The digests of these entries' order keys, by ID; how many bytes were read to learn them; and which entries.

        Those are the first ones, where `most` bytes were read or half of the run's time has gone: what comes after an
        entry whose order key is not known must not be tried before it (G3).

        An entry that left the stream has no digest. One that has no order key waits for no other, and none for it.
        """
        known = self._rules.tries
        digests = {row.id: known[row.id].digest for row in rows if row.id in known and known[row.id].digest}
        size = 0
        async with aclosing(self._finder.read([row for row in rows if row.id not in digests])) as entries:
            async for entry in entries:
                size += sum(map(len, entry.fields))
                digests[entry.id] = self._part.digest(entry.id, entry.fields)
                if size >= most or self._limits.begin.remaining_sec() < self._limits.budget_sec / 2:
                    return digests, size, [row for row in rows if id_number(row.id) <= id_number(entry.id)]
        return digests, size, rows

    async def _found(self, start: bytes, total: int) -> _Read:
        """The next idle entries: those of a look ahead, if it was over a moment ago."""
        count = self._gate.at_most(self._page_size.count)
        if self._sought and self._sought[0].start == start:
            look = self._sought.popleft()
            with suppress(RedisError, ServerError, OSError):  # looking again says what is wrong
                read = await look.task
                if not read.found.rows or self._clock() - read.at < self._found_sec:
                    self._reader = look.reader
                    return replace(read, found=read.found.first(count), bodies=read.bodies[:count])
        await self._end_looks()
        return await self._look(start, count, total, self._reader)

    def _look_ahead(self, start: bytes | None, total: int) -> None:
        """Look for the next entries while these are claimed, if they are likely to be claimed soon."""
        if not self._looks_ahead or not self._page_size.is_quick or self._gate.probing:
            return
        if self._sought:
            start, reader = self._then, self._next_reader(self._sought[-1].reader)
        else:
            reader = self._reader
        if start is None or len(self._sought) == (LOOKS_AHEAD if self._claimer.way_sec >= FAR_SEC else 1):
            return
        self._then = None
        look = self._look(start, self._page_size.count, total, reader, is_ahead=True)
        self._sought.append(_LookAhead(start, reader, asyncio.create_task(look)))

    def _next_reader(self, reader: Bodies) -> Bodies:
        return self._readers[(self._readers.index(reader) + 1) % len(self._readers)]

    async def _look(self, start: bytes, count: int, total: int, reader: Bodies, *, is_ahead: bool = False) -> _Read:
        """Find idle entries and read the bodies of the first of them: up to a suspect, or a suspect alone.

        A look ahead has the next one begin when it has found entries, if they are likely to be light.
        """
        found = await self._find(start, min(count * self._finds_of, FIND_AT_ONCE), total)
        await self._look_up(found.rows)
        found = replace(found, rows=self._waiting.of_this_round(self._part.may_be_own(found.rows)))
        suspect = self._first_suspect(found.rows)
        if suspect is not None:
            found = found.first(max(suspect, 1))
        elif is_ahead and self._part.is_whole and reader.expects_light(len(found.rows)):
            self._then = found.after
            self._look_ahead(None, total)
        bodies = await reader.first([row.id for row in found.rows]) if found.rows else ()
        found = found.first(len(bodies))
        rows, own = self._part.own(found.rows, bodies)
        if not self._part.is_whole:
            reader.forget({row.id for row in found.rows}.difference(row.id for row in rows))
        read = _Read(replace(found, rows=rows), own, suspect == 0, reader.mean, self._clock(), reader)
        return replace(read, found=read.found.first(count), bodies=own[:count])

    async def _find(self, start: bytes, count: int, total: int) -> Found:
        """Find idle entries; doubtful ones hold back the later ones of their order keys (G3)."""
        found = await self._finder.find(start, count, total)
        if found.doubtful:
            await self._holding.hold(found.doubtful)
        return found

    async def _look_up(self, rows: Sequence[Row]) -> None:
        """Read what a run beside this one may have written of entries that are to be judged by their counts (G5)."""
        if self._have_ours(rows) and (unknown := [row.id for row in rows if self._rules.may_be_wronged(row)]):
            await self._tries.look_up(unknown)

    def _have_ours(self, rows: Sequence[Row]) -> bool:
        return any(consumer.startswith(self._ours) for consumer in {row.consumer for row in rows})

    def _first_suspect(self, rows: Sequence[Row]) -> int | None:
        """Where the first entry is that a run of ours may have died of: one that was ours already."""
        if not self._have_ours(rows):
            return None
        for at, row in enumerate(rows):
            if self._rules.is_suspect(row):
                return at
        return None
