"""Reckons what the consumption plan would count, from what was measured. Prices differ by region: none here."""

import math
from collections.abc import Mapping

from bench.section import Section, Table

PRICING = "https://azure.microsoft.com/pricing/details/functions/"
FREE_GB_S, FREE_EXECUTIONS = 400_000, 1_000_000
RUNS_A_MONTH = 30 * 24 * 3600 // 20
STEP_MB, LEAST_SEC = 128, 0.1
NEEDED = ("plain entries/s", "plain peak MB", "idle ms", "idle peak MB")


def gb_s(sec: float, mb: float) -> float:
    """Gigabyte-seconds of one execution: memory rounded up to 128 MB, time to 1 ms, and to 100 ms at least."""
    return max(math.ceil(1000 * sec) / 1000, LEAST_SEC) * math.ceil(mb / STEP_MB) * STEP_MB / 1024


def billing(figures: Mapping[str, float]) -> Section:
    """GB-seconds for a million entries, and for a month without any."""
    peak = max(value for name, value in figures.items() if "peak MB" in name)
    speeds = {
        "plain": figures["plain entries/s"],
        "over TLS": figures.get("TLS entries/s"),
        "plain, 1 ms of network delay": figures.get("entries/s at 1 ms"),
        "plain, 5 ms of network delay": figures.get("entries/s at 5 ms"),
    }
    rows = [["a million entries", "seconds", *(f"GB-s at {mb} MB" for mb in (128, 256, 384))]]
    for name, rate in speeds.items():
        if rate:
            sec = 1_000_000 / rate
            rows.append([name, f"{sec:.1f}", *(f"{gb_s(sec, mb):.2f}" for mb in (128, 256, 384))])
    idle_sec = figures["idle ms"] / 1000
    month = [["a month of runs that find nothing, one every 20 s", "executions", "GB-s", "of the free grant"]]
    for mb in (128, 256, 384):
        total = RUNS_A_MONTH * gb_s(idle_sec, mb)
        month.append([f"at {mb} MB", f"{RUNS_A_MONTH:,}", f"{total:,.0f}", f"{total / FREE_GB_S:.1%}"])
    idle_ms, of_free = figures["idle ms"], RUNS_A_MONTH / FREE_EXECUTIONS
    text = f"""\
The consumption plan counts executions, and gigabyte-seconds: memory rounded up to the next 128 MB,
times the time; at least 100 ms and 128 MB for each execution. For each subscription {FREE_GB_S:,} GB-s and
{FREE_EXECUTIONS:,} executions a month are free (the [pricing page]({PRICING})
has the prices of each region). A process with function_app in it peaked at {peak:.0f} MB here; the platform
counts the whole worker process, with its own modules, so the tables give more than one size. An idle run of
{idle_ms:.1f} ms counts as {max(idle_ms, 100):.0f} ms; a month of them is {RUNS_A_MONTH:,} executions, {of_free:.0%}
of the free ones. The storage account that timers need, and the network, are charged apart."""
    return Section("Billing", text, [Table(rows), Table(month)])
