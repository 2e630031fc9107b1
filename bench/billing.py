"""Reckons what Azure's plans would count, from what was measured.

`python -m bench.billing` prints the table of docs/deploy.md: what a month of executions costs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.section import Section, Table
from reclaim.observe.export import EXPORT_SEC

PRICING = "https://azure.microsoft.com/pricing/details/functions/"
FREE_GB_S, FREE_EXECUTIONS = 400_000, 1_000_000
MONTH_SEC = 30 * 24 * 3600
RUNS_A_MONTH = MONTH_SEC // 20
STEP_MB, LEAST_SEC = 128, 0.1
A_MILLION = 1_000_000
SIZES_MB = (128, 256, 384)
KINDS = {  # by the names of their figures
    "ours": "default settings",
    "telemetry": "telemetry on",
    "targets": "{targets:.0f} targets",
    "idle": "nothing to do",
}
NEEDED = ("seconds of many", "many entries", "idle ms", *(f"{name} peak MB" for name in KINDS))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan counts, and what it takes in US dollars.

    The prices differ by region; these are what others quoted for the plans in 2025 and 2026
    (https://modal.com/blog/azure-function-pricing-guide, and repositories that wrote down Azure's own page).

    Attributes:
        gb: memory that is counted, GB.
        least_sec: what each execution counts as, at least.
        usd_gb_s, usd_million: of a GB-s, and of a million executions.
        free_gb_s, free_executions: of each month and subscription.
    """

    name: str
    gb: float
    least_sec: float
    usd_gb_s: float
    usd_million: float
    free_gb_s: int
    free_executions: int

    def usd(self, gb_sec: float, executions: int, *, is_granted: bool) -> float:
        """What so much costs, with or without what is free."""
        free_gb_s, free = (self.free_gb_s, self.free_executions) if is_granted else (0, 0)
        time = max(gb_sec - free_gb_s, 0) * self.usd_gb_s
        return time + max(executions - free, 0) * self.usd_million / 1_000_000


PLANS = (
    Plan("Flex Consumption, 512 MB", 0.5, 1.0, 0.000026, 0.40, 100_000, 250_000),
    Plan("classic (Y1), 256 MB", 0.25, LEAST_SEC, 0.000016, 0.20, FREE_GB_S, FREE_EXECUTIONS),
)
MONTHS = {  # how long each run takes, seconds; 1,000 entries take some 20 ms
    "no run finds anything": 0.0,
    "every run stores 1,000 entries": 0.1,
    "a run is always under way": 20.0,
}


def months() -> Table:
    """What a month of executions is counted as and costs, with a run every 20 s."""
    rows = [["a month in which", "plan", "GB-s", "executions", "USD", "USD without the free grant"]]
    for what, run_sec in MONTHS.items():
        for plan in PLANS:
            gb_sec = RUNS_A_MONTH * max(run_sec, plan.least_sec) * plan.gb
            prices = (plan.usd(gb_sec, RUNS_A_MONTH, is_granted=granted) for granted in (True, False))
            rows.append([what, plan.name, f"{gb_sec:,.0f}", f"{RUNS_A_MONTH:,}", *(f"{price:.2f}" for price in prices)])
    return Table(rows)


def lines(table: Table) -> list[str]:
    """A table as docs/deploy.md has it."""
    head, *rows = ["| " + " | ".join(row) + " |" for row in table.rows]
    return [head, "|" + "---|" * len(table.rows[0]), *rows]


def counted_mb(mb: float) -> int:
    """The memory that is counted: the next 128 MB."""
    return math.ceil(mb / STEP_MB) * STEP_MB


def gb_s(sec: float, mb: float) -> float:
    """Gigabyte-seconds of one execution: memory rounded up to 128 MB, time to 1 ms, and to 100 ms at least."""
    return max(math.ceil(1000 * sec) / 1000, LEAST_SEC) * counted_mb(mb) / 1024


def billing(figures: Mapping[str, float]) -> Section:
    """GB-seconds for a million entries, and for a month without any."""
    return Section("Billing", _text(figures), [_memory(figures), _million(figures), _month(figures)])


def _memory(figures: Mapping[str, float]) -> Table:
    rows = [["a process with function_app in it", "peak memory, MB", "counted as, MB", "left of that, MB"]]
    for name, what in KINDS.items():
        mb = figures[f"{name} peak MB"]
        rows.append([what.format_map(figures), f"{mb:.0f}", str(counted_mb(mb)), f"{counted_mb(mb) - mb:.0f}"])
    return Table(rows)


def _million(figures: Mapping[str, float]) -> Table:
    count = figures["many entries"]
    seconds = {f"plain, as {count:,.0f} took": figures["seconds of many"] * A_MILLION / count}
    rates = {
        "over TLS": figures.get("TLS entries/s"),
        "plain, 1 ms of network delay": figures.get("entries/s at 1 ms"),
        "plain, 5 ms of network delay": figures.get("entries/s at 5 ms"),
    }
    seconds |= {f"{name}, by the speed of fewer": A_MILLION / rate for name, rate in rates.items() if rate}
    rows = [["a million entries", "seconds", *(f"GB-s at {mb} MB" for mb in SIZES_MB)]]
    rows += [[name, f"{sec:.1f}", *(f"{gb_s(sec, mb):.2f}" for mb in SIZES_MB)] for name, sec in seconds.items()]
    return Table(rows)


def _month(figures: Mapping[str, float]) -> Table:
    rows = [["a month of runs that find nothing, one every 20 s", "executions", "GB-s", "of the free grant"]]
    for mb in SIZES_MB:
        total = RUNS_A_MONTH * gb_s(figures["idle ms"] / 1000, mb)
        rows.append([f"at {mb} MB", f"{RUNS_A_MONTH:,}", f"{total:,.0f}", f"{total / FREE_GB_S:.1%}"])
    return Table(rows)


def _text(figures: Mapping[str, float]) -> str:
    idle_ms, of_free = figures["idle ms"], RUNS_A_MONTH / FREE_EXECUTIONS
    return f"""\
The consumption plan counts executions, and gigabyte-seconds: memory rounded up to the next {STEP_MB} MB,
times the time; at least 100 ms and {STEP_MB} MB for each execution. For each subscription {FREE_GB_S:,} GB-s and
{FREE_EXECUTIONS:,} executions a month are free (the [pricing page]({PRICING})
has the prices of each region). The platform counts the whole worker process, with its own modules and other functions,
of which the peaks here know nothing: so the tables give more than one size. An idle run of {idle_ms:.1f} ms counts as
{max(idle_ms, 1000 * LEAST_SEC):.0f} ms; a month of them is {RUNS_A_MONTH:,} executions, {of_free:.0%} of the free ones.
With telemetry on, an idle tick too waits for its post, {EXPORT_SEC:g} s at most: what both take beyond 100 ms is
counted on top. The storage account that timers need, and the network, are charged apart."""


if __name__ == "__main__":
    print(*lines(months()), sep="\n")
