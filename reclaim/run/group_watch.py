"""Owns a run's watch over its group: whether it is the one that the last run saw, and still the one that the run found.

Entries that are gone with their stream or group are lost (G2). They are counted by ID where we know their IDs: these
are the entries that we had claimed, or have tried. Of the rest only a number is known, which may be too large:
consumers may have acknowledged some of them before. So the ledger says "at most" so many.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import replace

from redis.exceptions import RedisError

from reclaim.counted import many
from reclaim.entry import id_number
from reclaim.errors import ServerError, said
from reclaim.run.limits import Ending, Halt
from reclaim.run.report import Outcome
from reclaim.run.tally import Tally
from reclaim.settings import Target
from reclaim.state.ask import Command, Reply, raised
from reclaim.state.connection import Server
from reclaim.state.lost import LostEntries, record, record_at_most
from reclaim.state.pending import Row, Summary
from reclaim.state.refunds import Refunds
from reclaim.state.seen import CLOCK_STEP_MS, Look, Seen, SeenGroup, Sight
from reclaim.state.tries import Tries, Try

logger = logging.getLogger("reclaim")


class GroupWatch:
    """What one run knows of its group."""

    def __init__(
        self,
        target: Target,
        server: Server,
        group: SeenGroup,
        refunds: Refunds,
        tally: Tally,
        halt: Halt,
        remembered: Seen | None,
    ) -> None:
        """Make it; `remembered` is what this process saw last, for the case that Redis has lost it (FLUSHALL)."""
        self._target = target
        self._server = server
        self._group = group
        self._refunds = refunds
        self._lost = LostEntries(server, target)
        self._tally = tally
        self._halt = halt
        self._remembered = remembered
        self._seen = Seen()
        self._sight: Sight | None = None
        self._look: Look | None = None
        self._is_anew = False
        self._is_compared = False
        self._is_gone = False
        self._rows: dict[bytes, Row] = {}

    # --- as the run opens ---

    async def begin(self, look: Look, before: Summary) -> None:
        """Compare what the run finds with what the last run saw, and record what is lost with a group that is gone."""
        self._look, self._seen = look, look.seen
        if not self._target.shard.is_first:
            await self._begin_beside(look, before)
            return
        if self._seen.is_foreign:
            logger.warning(
                "reclaim %s: what the last run saw is in the format of a newer release, and is left as it is",
                self._target.name,
            )
        elif self._seen.sight is None and self._remembered is not None:
            self._seen = replace(self._remembered, stored_under=look.seen.stored_under)
        self._compare_clocks(look.now_ms)
        was, now = self._seen.sight, self._group.sight(look, before)
        if was is not None and before.group_missing:
            self._is_anew = True
        elif was is not None and now is not None:
            self._is_anew = await self._group.is_made_anew(self._seen, now)
        if self._is_anew and was is not None and was.pending:
            named = {row.id: row for row in [*await self._tried(), *self._refunds.waiting()]}
            told = await self._lost.ids() if named else set()  # a record of tries may have outlived its entry
            gone = {one: row for one, row in named.items() if one not in told}
            rows = {one: row for one, row in gone.items() if now is None or not _comes_again(row, now)}
            rows = dict(list(rows.items())[: min(MAX_NAMED, was.pending)])
            await self._record(rows, was.pending - len(rows), was)
        self._sight = now
        self._is_compared = was is None or now is not None or self._is_anew

    async def _begin_beside(self, look: Look, before: Summary) -> None:
        """The same for a shard that is not the first: the first one compares and records, once for all of them."""
        self._sight = self._group.sight(look, before)
        if self._seen.sight is not None and self._sight is not None:
            self._is_anew = await self._group.is_made_anew(self._seen, self._sight)

    async def _tried(self) -> list[Row]:
        """The entries that have a record of tries, as far as they are known."""
        tries = Tries(self._server, self._target)
        await tries.read()
        consumer = self._target.consumer_bytes
        return [Row(one, consumer, 0, known.deliveries) for one, known in sorted(tries.known.items(), key=_by_id)]

    @property
    def is_anew(self) -> bool:
        """Whether the group that the last run saw is gone, so that what is known of its entries says nothing more."""
        return self._is_anew

    @property
    def is_compared(self) -> bool:
        """Whether the run has compared the group with what the last run saw, and recorded what was lost with it.

        If it has not, because Redis did not answer, the next run must: what the last run saw is to stay as it is.
        """
        return self._is_compared

    @property
    def was_seen(self) -> bool:
        """Whether a run has seen the group before."""
        return self._seen.sight is not None or self._seen.is_foreign

    @property
    def stored_under(self) -> frozenset[str]:
        """The templates under which something was stored once."""
        return self._seen.stored_under

    def missing(self) -> Ending:
        """How the run ends where the stream or the group is not there."""
        why = "" if self._look is None else self._look.missing(self._target)
        if self._target.missing_ok and not self.was_seen:
            return Ending(Outcome.NOTHING_PENDING, f"{why}; that is no failure yet, as MISSING_OK is true")
        return Ending(Outcome.GROUP_MISSING, f"{why}{self._at_most()}")

    def _compare_clocks(self, now_ms: int) -> None:
        was = self._seen.sight
        step_ms = 0 if was is None else was.at_ms - now_ms
        if was is None or step_ms <= CLOCK_STEP_MS:
            return
        self._seen = replace(self._seen, clock_until_ms=max(self._seen.clock_until_ms, was.at_ms))
        self._tally.clock_went_back_ms = step_ms
        logger.warning(
            "reclaim %s: the server's clock went back by %.1f s: entries delivered before seem fresh so much longer",
            self._target.name,
            step_ms / 1000,
        )

    # --- while it works ---

    async def check(self, rows: Iterable[Row] = ()) -> bool:
        """Whether the group is gone, or was made anew: asked where entries that we had claimed are ours no more.

        If it is, these entries are lost, and the run begins nothing more.
        """
        if self._sight is None:
            return False
        try:
            self._is_gone = self._is_gone or await self._group.is_gone(self._sight)
        except (RedisError, ServerError) as exc:  # the run itself sees what is wrong
            logger.warning(
                "reclaim %s: whether its group is still there could not be asked: %s", self._target.name, said(exc)
            )
            return False
        if self._is_gone:
            self._rows |= {row.id: row for row in rows}
            self._halt.group_is_gone(_GONE)
        return self._is_gone

    # --- as it closes ---

    async def end(self, ending: Ending, look: Look, after: Summary) -> Ending:
        """How the run ends, now that it has looked once more; what is lost with the group is recorded."""
        if not self._is_compared:
            return Ending(Outcome.GROUP_GONE, _GONE) if self._is_gone else ending
        now = self._group.sight(look, after)
        began, self._sight = self._sight, now
        if began is None:
            return ending
        went_back = now is not None and id_number(now.last_delivered) < id_number(began.last_delivered)
        if not (self._is_gone or after.group_missing or went_back):
            return ending
        self._is_anew = True
        self._seen = replace(self._seen, sight=began)
        counts = self._tally.counts
        settled = counts.acknowledged + counts.parked + counts.lost
        await self._record(self._rows, began.pending - settled - len(self._rows), began)
        return Ending(Outcome.GROUP_GONE, f"{_GONE}{self._at_most()}")

    def to_keep(self) -> Seen:
        """What the next run is to know. A group that is not there is kept as seen, with nothing pending."""
        sight = self._sight or self._as_gone()
        is_ours = (self._seen.is_ours and not self._is_anew) or (self._tally.pages > 0 and not self._is_gone)
        until_ms = self._seen.clock_until_ms
        if sight is not None and sight.at_ms >= until_ms:
            until_ms = 0  # the clock has come to where it was
        return replace(self._seen, sight=sight, is_ours=is_ours, clock_until_ms=until_ms)

    def _as_gone(self) -> Sight | None:
        was = self._seen.sight
        return None if was is None or not self._is_anew else replace(was, pending=0, first_pending=None)

    async def _record(self, rows: dict[bytes, Row], others: int, was: Sight) -> None:
        """Record entries that are gone with the group, once: what the last run saw is set to nothing with it."""
        others, ledger, at_ms = max(others, 0), self._target.keys.lost, time.time_ns() // 1_000_000
        commands: list[Command] = [record(ledger, row, at_ms) for row in rows.values()]
        if others:
            commands.append(record_at_most(ledger, others, was.first_pending or b"0-0", at_ms))
        if not self._seen.is_foreign:
            commands.append(self._group.command(replace(self._seen, sight=replace(was, pending=0, first_pending=None))))
        _: list[Reply] = raised(await self._server.transaction(commands))
        self._tally.add(lost=len(rows), lost_at_most=others)
        logger.warning(
            "reclaim %s: the stream or its group is gone, or was made anew; lost with it: %s, at most %d more",
            self._target.name,
            many(len(rows), "entry"),
            others,
        )

    def _at_most(self) -> str:
        counts = self._tally.counts
        if not (counts.lost or counts.lost_at_most):
            return ""
        known = f"{many(counts.lost, 'entry')} and " if counts.lost else ""
        return f"; lost with it: {known}at most {counts.lost_at_most:,} that were pending"


MAX_NAMED = 1_000  # entries that are recorded by ID, in one step; others are counted
_GONE = "the stream or the group vanished during the run, or was made anew"


def _by_id(known: tuple[bytes, Try]) -> int:
    return id_number(known[0])


def _comes_again(row: Row, now: Sight) -> bool:
    """Whether the group that was made anew will deliver the entry once more, if its stream still has it."""
    return id_number(row.id) > id_number(now.last_delivered)
