"""Owns the account of a run: counted while it goes, and one RunReport when it is over."""

import json
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from heapq import nlargest

from reclaim.state.circuit import Change
from reclaim.state.pending import Summary

MAX_REASONS = 20
OTHER_REASONS = "other reasons"
MAX_CONSUMERS = 50  # named in a report or a status: there may be thousands, and a history holds 2,000 reports
OTHER_CONSUMERS = "other consumers"
MAX_PAGE_REPORTS = 200  # the last ones of a run, so that its memory does not grow with the backlog


class Outcome(Enum):
    """How a run ended."""

    COMPLETED = "completed"  # it came to the end of the pending list
    NOTHING_PENDING = "nothing_pending"
    LEASE_HELD = "lease_held"  # another run is at work on this target
    CIRCUIT_OPEN = "circuit_open"  # before the run began or while it was under way; `reason` says how it was opened
    LEASE_LOST = "lease_lost"  # it stalled for so long that another run could take over
    GROUP_MISSING = "group_missing"
    OUT_OF_TIME = "out_of_time"
    STOPPED = "stopped"  # by a signal
    TOO_MANY_HELD = "too_many_held"  # so many order keys wait for an earlier entry that more would cost too much memory
    FAILED = "failed"

    @property
    def went_well(self) -> bool:
        """Whether the run did its work; what it left pending has its reasons in the report."""
        return self in _WENT_WELL

    @property
    def went_wrong(self) -> bool:
        """Whether it could not do its work; what is neither was kept from it, by another run or by the circuit."""
        return self in _WENT_WRONG

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


_WENT_WELL = frozenset(
    {Outcome.COMPLETED, Outcome.NOTHING_PENDING, Outcome.OUT_OF_TIME, Outcome.STOPPED, Outcome.TOO_MANY_HELD}
)
_WENT_WRONG = frozenset({Outcome.FAILED, Outcome.GROUP_MISSING, Outcome.LEASE_LOST})
_LOOKED_AT_NOTHING = frozenset({Outcome.NOTHING_PENDING, Outcome.LEASE_HELD, Outcome.GROUP_MISSING})


@dataclass(frozen=True, slots=True)
class PageReport:
    """What came of one page: counts of entries, as in RunReport.

    Attributes:
        began_sec: when its handling began, in seconds after the run did.
        seconds: how long that took, from the first store to the last acknowledgement.
        error: the class of the error that ended the page and with it the run; None without one.
    """

    began_sec: float
    seconds: float
    claimed: int
    acknowledged: int
    parked: int
    retried: int
    failed: int
    held: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run did on one target. Counts are of entries.

    Attributes:
        run_id: names the run in logs, in the lease and in the history.
        target: ``stream/group``.
        outcome: how it ended; `reason` says more where there is more to say.
        error: what made it fail; not part of the JSON, where `reason` says it in words.
        started_at: ISO 8601, UTC.
        seconds: how long it took.
        pending_before, pending_after: pending in the group, by consumer; None where it was not asked or not answered.
            The 50 that hold most are named, the rest are one: ``other consumers``.
        pages: how many times entries were claimed.
        claimed: taken over.
        stored: handled without an error.
        acknowledged: gone from the pending list because they were stored or superseded.
        superseded: not stored, because their hash already held what a newer entry stored.
        parked: put among the dead letters and acknowledged.
        retried: left pending and refunded, because what went wrong was not their fault.
        failed: left pending, their delivery counted.
        held: left pending and refunded, because an earlier entry of their order key was not done.
        given_back: claimed and refunded without being handled, because the run ended.
        lost: pending, but no longer in the stream.
        taken: claimed by somebody else while they were ours.
        dead_letters_dropped: dead letters that the cap pushed out.
        consumers_removed: names of consumers removed because they were idle for long with nothing pending.
        reasons: why entries were not stored, and how many for each reason (the first 20 reasons).
        longest_idle_ms: the longest that an entry claimed, or with ALERT_BACKLOG_SEC the first one pending, had waited.
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
    claimed: int
    stored: int
    acknowledged: int
    superseded: int
    parked: int
    retried: int
    failed: int
    held: int
    given_back: int
    lost: int
    taken: int
    dead_letters_dropped: int
    consumers_removed: tuple[str, ...]
    reasons: dict[str, int]
    longest_idle_ms: int
    circuit_changes: tuple[Change, ...] = ()
    page_reports: tuple[PageReport, ...] = ()

    @property
    def ended_at(self) -> datetime:
        """When the run was over."""
        return datetime.fromisoformat(self.started_at) + timedelta(seconds=self.seconds)

    def to_json(self, **more: str) -> str:
        """One line of JSON, with what else it is to say."""
        account = (
            asdict(replace(self, error=None, circuit_changes=(), page_reports=()))
            | {"outcome": self.outcome.value}
            | more
        )
        del account["error"], account["circuit_changes"], account["page_reports"]
        return json.dumps(account)


@dataclass(slots=True)
class Tally:
    """The counts of a run while it goes; the names are those of RunReport."""

    run_id: str
    target: str
    clock: Callable[[], float]
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    began: float = field(init=False)
    before: Summary | None = None
    after: Summary | None = None
    pages: int = 0
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
    dead_letters_dropped: int = 0
    consumers_removed: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    longest_idle_ms: int = 0
    circuit_changes: list[Change] = field(default_factory=list)
    page_reports: deque[PageReport] = field(default_factory=lambda: deque(maxlen=MAX_PAGE_REPORTS))

    def __post_init__(self) -> None:
        self.began = self.clock()

    def because(self, reason: str) -> None:
        """Count a reason for an entry not to be stored."""
        self.reasons[reason_among(self.reasons, reason)] += 1

    @contextmanager
    def page(self, claimed: int) -> Iterator[Callable[[], None]]:
        """Keep account of one page. What it gives is to be called when the page is about to be settled.

        Pages are settled one after another, so what is counted from then on is the page's own.
        """
        began, error = self.clock(), None
        before: list[int] = []
        try:
            yield lambda: before.extend(getattr(self, name) for name in _OF_A_PAGE)
        except BaseException as exc:
            error = type(exc).__name__
            raise
        finally:
            now = [getattr(self, name) for name in _OF_A_PAGE]
            counts = {name: n - was for name, n, was in zip(_OF_A_PAGE, now, before or now, strict=True)}
            seconds = round(self.clock() - began, 6)
            self.page_reports.append(PageReport(round(began - self.began, 6), seconds, claimed, **counts, error=error))

    def report(self, outcome: Outcome, reason: str = "", error: Exception | None = None) -> RunReport:
        """The account, now that the run is over."""
        return RunReport(
            outcome=outcome,
            reason=reason,
            error=error,
            seconds=round(self.clock() - self.began, 6),
            pending_before=_by_consumer(self.before),
            pending_after=_by_consumer(self.after),
            consumers_removed=tuple(self.consumers_removed),
            reasons=dict(self.reasons),
            circuit_changes=tuple(self.circuit_changes),
            page_reports=tuple(self.page_reports),
            **{name: getattr(self, name) for name in _AS_COUNTED},
        )


def reason_among(reasons: Collection[str], reason: str) -> str:
    """Under what a reason is counted among those there are: itself, as long as they are few."""
    return reason if reason in reasons or len(reasons) < MAX_REASONS else OTHER_REASONS


def _by_consumer(summary: Summary | None) -> dict[str, int] | None:
    if summary is None:
        return None
    held = summary.consumers or {}
    if len(held) <= MAX_CONSUMERS:
        return held
    most = nlargest(MAX_CONSUMERS, held.items(), key=lambda one: one[1])
    return dict([*most, (OTHER_CONSUMERS, summary.count - sum(count for _, count in most))])


_OF_A_PAGE = ("acknowledged", "parked", "retried", "failed", "held")
_AS_COUNTED = tuple(
    {one.name for one in fields(RunReport)}
    & {one.name for one in fields(Tally)} - {"consumers_removed", "reasons", "circuit_changes", "page_reports"}
)
