"""Owns the report of a run: how it ended, what became of its entries, and the same as JSON."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from reclaim.bounded import NAME_CHARS, REASON_CHARS, Most, fitting, largest, shortened
from reclaim.counted import many
from reclaim.reasons import OTHER_REASONS
from reclaim.shards import MARK
from reclaim.state.circuit import Change

REPORT_BYTES = 7_500  # a report is one line of the log
MAX_NAMES = 10  # in a list of consumers, of which the report says how many there were
OTHER_CONSUMERS = "other consumers"
MAX_CONSUMERS = 50  # named in a report or a status: there may be thousands, and a history has 2,000 reports


class Outcome(Enum):
    """How a run ended. `MEANINGS` has the exit code of each outcome, and a sentence."""

    COMPLETED = "completed"
    NOTHING_PENDING = "nothing_pending"
    OUT_OF_TIME = "out_of_time"
    STOPPED = "stopped"
    LEASE_HELD = "lease_held"
    FAILED = "failed"
    GROUP_MISSING = "group_missing"
    GROUP_GONE = "group_gone"
    LEASE_LOST = "lease_lost"
    CIRCUIT_OPEN = "circuit_open"
    TOO_MANY_HELD = "too_many_held"
    DEAD_LETTERS_FULL = "dead_letters_full"

    @property
    def exit_code(self) -> int:
        """What the command line exits with: 0, or 1 where a person has to look."""
        return MEANINGS[self].exit_code

    @property
    def went_well(self) -> bool:
        """Whether the run did its work; what it left pending has its reasons in the report."""
        return self.exit_code == 0 and self is not Outcome.LEASE_HELD

    @property
    def went_wrong(self) -> bool:
        """Whether something is wrong that a person has to see: on Azure the invocation fails.

        A run that is neither well nor wrong was kept from its work, by another run or by the circuit.
        """
        return self.exit_code != 0 and self is not Outcome.CIRCUIT_OPEN

    @property
    def looked_at_nothing(self) -> bool:
        """Whether the run cannot have seen an entry, so that its counts say nothing."""
        return self in _LOOKED_AT_NOTHING

    @property
    def log_level(self) -> int:
        """At which level the run's line is logged."""
        if self is Outcome.FAILED:
            return logging.ERROR
        return logging.WARNING if self.went_wrong else logging.INFO


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an outcome means: the exit code of `reclaim run`, and a sentence for people."""

    exit_code: int
    sentence: str


# The one table of outcomes: the help of `reclaim run` and docs/operate.md print it.
MEANINGS = {
    Outcome.COMPLETED: Meaning(0, "the run came to the end of the pending list"),
    Outcome.NOTHING_PENDING: Meaning(0, "there was nothing to do"),
    Outcome.OUT_OF_TIME: Meaning(0, "the budget ended first; the next run goes on"),
    Outcome.STOPPED: Meaning(0, "it was asked to stop, by SIGTERM for one; the next run goes on"),
    Outcome.LEASE_HELD: Meaning(0, "another run is at work on this target"),
    Outcome.FAILED: Meaning(1, "Redis could not be used, or a setting fits nothing; the reason says which"),
    Outcome.GROUP_MISSING: Meaning(1, "the stream or the group does not exist"),
    Outcome.GROUP_GONE: Meaning(1, "the stream or the group vanished during the run, or was made anew"),
    Outcome.LEASE_LOST: Meaning(1, "the run stalled for so long that another run may have begun"),
    Outcome.CIRCUIT_OPEN: Meaning(1, "the circuit is open, or opened during the run"),
    Outcome.TOO_MANY_HELD: Meaning(1, "too many order keys wait for an entry that is not done"),
    Outcome.DEAD_LETTERS_FULL: Meaning(1, "entries could not be parked: there are DEAD_LETTER_MAXLEN dead letters"),
}
_LOOKED_AT_NOTHING = frozenset({Outcome.NOTHING_PENDING, Outcome.LEASE_HELD, Outcome.GROUP_MISSING})


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of entries: a number for each thing that can. This is the only list of these numbers.

    Attributes:
        claimed: taken over.
        stored: handled without an error.
        acknowledged: gone from the pending list because they were stored, superseded or moved, or because somebody
            else had acknowledged what was to be moved.
        superseded: not stored, because their hash already held what a newer entry stored.
        parked: put among the dead letters and acknowledged.
        retried: left pending and refunded, because what went wrong was not their fault.
        failed: left pending, their delivery counted.
        held: left pending and refunded, because an earlier entry of their order key was not done.
        given_back: claimed and refunded without being handled, because the run ended.
        lost: pending, but no longer in the stream; or gone with their stream or group, and known by ID.
        taken: claimed by somebody else while they were ours.
        duplicate_fields: stored, but a name occurs in them more than once, and their hash has its last value only.
        not_deleted: acknowledged, and still in the stream because another group needs them (DELETE_ACKNOWLEDGED).
        lost_at_most: pending, and gone with their stream or group: at most so many that cannot be named.
        moved: given back to their group, or forwarded, and acknowledged in the same step.
    """

    claimed: int = 0
    stored: int = 0
    acknowledged: int = 0
    superseded: int = 0
    parked: int = 0
    retried: int = 0
    failed: int = 0
    held: int = 0
    given_back: int = 0
    lost: int = 0
    taken: int = 0
    duplicate_fields: int = 0
    not_deleted: int = 0
    lost_at_most: int = 0
    moved: int = 0

    def numbers(self) -> dict[str, int]:
        """The numbers by their names, in this order."""
        return {name: getattr(self, name) for name in COUNTS}


COUNTS = tuple(one.name for one in fields(Counts))
MAIN_COUNTS = ("claimed", "acknowledged", "parked", "failed", "retried", "held")  # what a table of runs has room for


@dataclass(frozen=True, slots=True)
class PageReport:
    """What became of the entries of one page.

    Attributes:
        began_sec: when its handling began, in seconds after the run did.
        seconds: how long that took, from the first store to the last acknowledgement.
        counts: of its entries alone, though other pages were in work at the same time.
        error: the class of the error that ended the page and with it the run; None without one.
    """

    began_sec: float
    seconds: float
    counts: Counts
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport(Counts):
    """What one run did on one target: the counts of its entries, and what else there is to say.

    Attributes:
        run_id: names the run in logs, in the lease and in the history.
        target: ``stream/group``.
        shard: the number of the target's shard that it ran; None where the target has none.
        outcome: how it ended; `reason` says more where there is more to say.
        error: what made it fail; not part of the JSON, where `reason` says it in words.
        started_at: ISO 8601, UTC.
        seconds: how long it took.
        pending_before, pending_after: pending in the group, by consumer; None where it was not asked or not answered.
            The 50 consumers with most are named, the others are one: ``other consumers``.
        pages: how many times entries were claimed.
        consumers_removed: names of consumers removed because they were idle for long with nothing pending. The JSON has
            the first ten, and how many there were.
        alive_consumers: names of consumers that entries were taken from though they were active lately: if they are
            still at work on them, MIN_IDLE_TIME_SEC is too small. The JSON has the first ten, and how many there were.
        reasons: why entries were not stored, and how many for each reason (the first 20 reasons).
        parked_reasons: the same of the entries that became dead letters; not part of the JSON.
        longest_idle_ms: the longest that an entry claimed, or with ALERT_BACKLOG_SEC the first one pending, had waited.
        clock_went_back_ms: the server's clock is so much behind what the run before saw: entries that were delivered
            before that seem fresh for so much longer. 0: it is not.
        circuit_changes: what the run did to the circuit; not part of the JSON.
        page_reports: the last pages, oldest first; not part of the JSON.
    """

    run_id: str
    target: str
    outcome: Outcome
    reason: str
    error: Exception | None
    started_at: str
    seconds: float
    pending_before: dict[str, int] | None
    pending_after: dict[str, int] | None
    pages: int
    consumers_removed: tuple[str, ...]
    alive_consumers: tuple[str, ...]
    reasons: dict[str, int]
    parked_reasons: dict[str, int]
    longest_idle_ms: int
    clock_went_back_ms: int = 0
    circuit_changes: tuple[Change, ...] = ()
    page_reports: tuple[PageReport, ...] = ()
    shard: int | None = None

    @property
    def place(self) -> str:
        """The target, and its shard where it has shards: ``stream/group`` or ``stream/group#1``."""
        return self.target if self.shard is None else f"{self.target}{MARK}{self.shard}"

    def failure(self, *, strict: bool) -> str:
        """The target and why its run ended with exit code 1; empty where it did not."""
        if self.outcome.exit_code:
            how = "" if self.outcome is Outcome.FAILED else self.outcome.value.replace("_", " ")
            return ": ".join(part for part in (shortened(self.place, NAME_CHARS), how, self.reason) if part)
        if not (strict and self.parked):
            return ""
        place = shortened(self.place, NAME_CHARS)
        return f"{place}: {many(self.parked, 'dead letter was', 'dead letters were')} made"

    @property
    def ended_at(self) -> datetime:
        """When the run was over."""
        return datetime.fromisoformat(self.started_at) + timedelta(seconds=self.seconds)

    def to_json(self, **more: str) -> str:
        """One line of JSON, with what else it is to say; never more than REPORT_BYTES."""
        return fitting(lambda most: json.dumps(self._account(most) | more), REPORT_BYTES)

    def _account(self, most: Most) -> dict[str, Any]:
        few = min(most.items, MAX_NAMES)
        return {
            "run_id": self.run_id,
            "target": shortened(self.target, most.chars),
            **({} if self.shard is None else {"shard": self.shard}),
            "outcome": self.outcome.value,
            "reason": shortened(self.reason, 3 * most.chars),
            "started_at": self.started_at,
            "seconds": self.seconds,
            "pending_before": _largest(self.pending_before, most),
            "pending_after": _largest(self.pending_after, most),
            "pages": self.pages,
            **self.numbers(),
            "consumers_removed": [shortened(name, most.chars) for name in self.consumers_removed[:few]],
            "consumers_removed_count": len(self.consumers_removed),
            "alive_consumers": [shortened(name, most.chars) for name in self.alive_consumers[:few]],
            "alive_consumers_count": len(self.alive_consumers),
            "reasons": largest(self.reasons, most.items, most.chars, OTHER_REASONS),
            "longest_idle_ms": self.longest_idle_ms,
            "clock_went_back_ms": self.clock_went_back_ms,
        }


def failures_in(reports: Sequence[RunReport], *, strict: bool = False) -> str:
    """Which targets' runs ended with exit code 1 and why, in one line; empty where none did.

    With `strict`, a run that made dead letters is one of them.
    """
    failed = [failure for report in reports if (failure := report.failure(strict=strict))]
    told = [shortened(failure, REASON_CHARS) for failure in failed[:MAX_NAMES]]
    more = len(failed) - len(told)
    return "; ".join(told + ([f"and {more} more"] if more else []))


def _largest(pending: dict[str, int] | None, most: Most) -> dict[str, int] | None:
    return None if pending is None else largest(pending, most.items, most.chars, OTHER_CONSUMERS)
