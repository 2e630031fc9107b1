"""Owns the account of a run while it goes: what is counted for the run, and for each page of it."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from operator import attrgetter

from reclaim.bounded import NAME_CHARS, largest, shortened
from reclaim.entry import Entry
from reclaim.run.blocking import Blocking
from reclaim.run.report import MAX_CONSUMERS, OTHER_CONSUMERS, Counts, Outcome, PageReport, RunReport
from reclaim.run.why import Why
from reclaim.state.circuit import Change
from reclaim.state.pending import Summary

MAX_TAKEN_FROM = 1_000  # consumers whose names a run remembers
MAX_PAGE_REPORTS = 200  # the last ones of a run, so that its memory does not grow with the backlog

_IDLE_MS = attrgetter("idle_ms")


class Tally:
    """The account of one run.

    Attributes:
        run_id, target, shard, started_at: as in its report.
        before, after: what was pending when the run began, and when it ended.
        pages: how many times entries were claimed.
        why: why some were not stored.
        blocking: how often the handler blocked the event loop.
        taken_from: the consumers that had the entries, at most 1,000 of them.
        longest_idle_ms, consumers_removed, alive_consumers, clock_went_back_ms: as in its report.
        dead_letters_are_full: whether an entry could not be parked for want of room.
    """

    def __init__(
        self,
        run_id: str,
        target: str,
        clock: Callable[[], float],
        handler: str = "hash",
        shard: int | None = None,
    ) -> None:
        self.shard = shard
        self.run_id = run_id
        self.target = target
        self.started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.before: Summary | None = None
        self.after: Summary | None = None
        self.pages = 0
        self._numbers: Counter[str] = Counter()
        self.why = Why(target)
        self.blocking = Blocking(target, handler)
        self.taken_from: set[bytes] = set()
        self.longest_idle_ms = 0
        self.consumers_removed: list[str] = []
        self.alive_consumers: list[str] = []
        self.dead_letters_are_full = False
        self.clock_went_back_ms = 0
        self._circuit_changes: list[Change] = []
        self._page_reports: deque[PageReport] = deque(maxlen=MAX_PAGE_REPORTS)
        self._clock = clock
        self._began = clock()

    def add(self, **counts: int) -> None:
        """Count entries; the names are those of Counts."""
        self._numbers.update(counts)

    @property
    def counts(self) -> Counts:
        """What became of entries so far."""
        return Counts(**self._numbers)

    def circuit_changed(self, change: Change) -> None:
        """Note what the run did to the circuit."""
        self._circuit_changes.append(change)

    def claimed(self, entries: Sequence[Entry]) -> "PageAccount":
        """Count a page that was claimed; return the account of what becomes of it."""
        self.pages += 1
        self.longest_idle_ms = max(self.longest_idle_ms, *map(_IDLE_MS, entries))
        if len(self.taken_from) < MAX_TAKEN_FROM:
            self.taken_from |= {entry.consumer for entry in entries}
        account = PageAccount(self._numbers)
        account.add(claimed=len(entries))
        return account

    @contextmanager
    def timed(self, account: "PageAccount") -> Iterator[None]:
        """Make the report of a page: its time is that of the block. It makes one also if an error ends the block."""
        began, error = self._clock(), None
        try:
            yield
        except BaseException as exc:
            error = shortened(type(exc).__name__, NAME_CHARS)
            raise
        finally:
            since, seconds = round(began - self._began, 6), round(self._clock() - began, 6)
            self._page_reports.append(PageReport(since, seconds, account.counts, error))

    def report(self, outcome: Outcome, reason: str = "", error: Exception | None = None) -> RunReport:
        """The report, now that the run is over. That a handler blocked the loop may be why the run did not go well."""
        blocked = str(self.blocking)
        if blocked and not outcome.went_well:
            reason = f"{reason}; {blocked}" if reason else blocked
        reasons = self.why.reasons.counts() | ({blocked: self.blocking.times} if blocked else {})
        return RunReport(
            run_id=self.run_id,
            target=self.target,
            outcome=outcome,
            reason=reason,
            error=error,
            started_at=self.started_at,
            seconds=round(self._clock() - self._began, 6),
            pending_before=_by_consumer(self.before),
            pending_after=_by_consumer(self.after),
            pages=self.pages,
            **self.counts.numbers(),
            consumers_removed=tuple(self.consumers_removed),
            alive_consumers=tuple(self.alive_consumers),
            reasons=reasons,
            parked_reasons=self.why.parked.counts(),
            longest_idle_ms=self.longest_idle_ms,
            clock_went_back_ms=self.clock_went_back_ms,
            circuit_changes=tuple(self._circuit_changes),
            page_reports=tuple(self._page_reports),
            shard=self.shard,
        )


class PageAccount:
    """The account of one page. What is counted here is counted for its run too.

    Pages are in work at the same time, so a page's counts cannot be had from the run's counts before and after it.
    """

    def __init__(self, of_run: Counter[str]) -> None:
        self._of_run = of_run
        self._numbers: Counter[str] = Counter()

    @property
    def counts(self) -> Counts:
        """What became of the page's entries so far."""
        return Counts(**self._numbers)

    def add(self, **counts: int) -> None:
        """Count entries of the page; the names are those of Counts."""
        for name, count in counts.items():  # which takes a third of the time of Counter.update
            self._numbers[name] += count
            self._of_run[name] += count


def _by_consumer(summary: Summary | None) -> dict[str, int] | None:
    if summary is None:
        return None
    return largest(summary.consumers or {}, MAX_CONSUMERS, NAME_CHARS, OTHER_CONSUMERS)
