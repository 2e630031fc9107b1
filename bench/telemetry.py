"""Measures what telemetry sends, in bytes as they arrive, and reckons a month of it and its price."""

from collections.abc import Sequence

from bench.backlog import Backlog
from bench.bed import PLAIN, Bed
from bench.billing import MONTH_SEC, RUNS_A_MONTH
from bench.collector import collecting
from bench.measuring import measure
from bench.section import Goal, Say, Section, Sizes, Table
from reclaim.observe.quiet import TELL_EVERY_SEC
from reclaim.run.report import Outcome

PRICING = "https://azure.microsoft.com/pricing/details/monitor/"
COUNTING = "https://learn.microsoft.com/azure/azure-monitor/logs/cost-logs"
LEAST_USD, MOST_USD = 2.30, 2.76  # for a GB, from the cheapest common region to a dear one
GB = 1_000_000_000  # as Azure counts
MOST_IDLE_BYTES = 100_000_000
BUSY_ENTRIES = 1_000


def telemetry(_: Sizes, say: Say) -> Section:
    """What one run of each kind sends, and a month of each."""
    say("telemetry's bytes")
    quiet = _sent(Backlog(0))
    working = _sent(Backlog(1))
    busy = _sent(Backlog(BUSY_ENTRIES))
    reports = round(MONTH_SEC / TELL_EVERY_SEC)
    idle_month = reports * quiet
    say(f"  {quiet:,} bytes of a run that finds nothing")
    rows = [
        ["a month with a run every 20 s", "bytes of a report", "reports", "MB", "USD"],
        _row("nothing to do", quiet, reports),
        _row("every run stores an entry", working, RUNS_A_MONTH),
        _row(f"every run stores {BUSY_ENTRIES:,} entries", busy, RUNS_A_MONTH),
    ]
    megabytes = f"{idle_month / 1_000_000:.0f} MB"
    goal = Goal("telemetry of an idle target, a month", "≤ 100 MB", megabytes, idle_month <= MOST_IDLE_BYTES)
    return Section("Telemetry", _TEXT, [Table(rows)], [goal], {"telemetry bytes of an idle month": idle_month})


def _sent(backlog: Backlog) -> int:
    """The bytes that one run in a new process posts."""
    with Bed.on(PLAIN) as bed, collecting() as collector:
        bed.fill(backlog)
        expected = Outcome.COMPLETED if backlog.count else Outcome.NOTHING_PENDING
        env = bed.env(backlog, APPLICATIONINSIGHTS_CONNECTION_STRING=collector.connection_string)
        measure(env, expected=expected)
        collector.check()
        return collector.bytes_taken()


def _row(what: str, size: int, reports: int) -> Sequence[str]:
    total = size * reports
    price = f"{total / GB * LEAST_USD:.2f}–{total / GB * MOST_USD:.2f}"
    return [what, f"{size:,}", f"{reports:,}", f"{total / 1_000_000:,.0f}", price]


_TEXT = f"""\
Bytes of one target, counted where they arrive. Of runs that find nothing, telemetry is told of one
in {TELL_EVERY_SEC / 60:g} minutes.
Azure takes some {LEAST_USD:.2f} to {MOST_USD:.2f} USD for a GB; the first 5 GB of a month are free.
[Prices]({PRICING}) differ by region, and change: these are what others
quoted in 2026, and Azure has billed none of it. Azure counts what it stores, which is by its own documents
[a quarter less]({COUNTING}) than what is sent.
What Azure's host says of each invocation comes on top."""
