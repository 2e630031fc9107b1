"""Reckons what the consumption plan would count, from what was measured. Prices differ by region: none here."""

import math
from collections.abc import Mapping

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
