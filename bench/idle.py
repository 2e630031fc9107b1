"""Measures a run that finds nothing: round trips on the wire, and what it costs."""

import asyncio
from collections.abc import Mapping

from bench.backlog import Backlog
from bench.bed import PLAIN, Bed
from bench.billing import RUNS_A_MONTH
from bench.measuring import Sample, measure, peak_mb, seconds
from bench.section import Goal, Say, Section, Sizes, Table
from dev.proxy import Proxy
from reclaim.app import App
from reclaim.run.report import Outcome

COUNTED_RUNS = 10
REPLY_DELAY_SEC = 0.002  # so that no answer overtakes the end of its batch


def idle(sizes: Sizes, say: Say) -> Section:
    """Runs with nothing pending, after a first one that also connects and sweeps."""
    nothing = Backlog(0)
    say("a run that finds nothing")
    with Bed.on(PLAIN) as bed:
        bed.fill(nothing)
        with Proxy(bed.server.port) as proxy:
            proxy.reply_delay_sec = REPLY_DELAY_SEC
            trips, commands, there, back = asyncio.run(_count(proxy, bed.env(nothing, proxy.port)))
        rounds = [
            measure(bed.env(nothing), runs=1 + sizes.idle_runs, expected=Outcome.NOTHING_PENDING)
            for _ in range(sizes.rounds)
        ]
    cpu = Sample([1000 * sum(one.cpu_sec[1:]) / sizes.idle_runs for one in rounds])
    wall = Sample([1000 * sum(one.seconds[1:]) / sizes.idle_runs for one in rounds])
    first = seconds(rounds).times(1000)
    say(f"  {trips:g} round trips; {cpu.show('.2f')} ms of the processor")
    rows = [
        ["", "median (least–most)"],
        ["round trips a run, counted on the wire", f"{trips:g}"],
        ["commands a run", f"{commands:g}"],
        ["bytes to Redis a run, without TLS and TCP", f"{there:,.0f}"],
        ["bytes from Redis a run", f"{back:,.0f}"],
        ["both, in a month of a run every 20 s, MB", f"{RUNS_A_MONTH * (there + back) / 1_000_000:,.0f}"],
        ["of our processor, ms a run", cpu.show(".2f")],
        ["by the clock, ms a run", wall.show(".2f")],
        ["by the clock, ms, a process's first run (it connects, and sweeps)", first.show(".1f")],
    ]
    text = f"""\
Round trips, commands and bytes are counted by a proxy that reads what passes (`dev/proxy.py`), over {COUNTED_RUNS}
runs. Times are of {sizes.idle_runs} runs one after another in one process, without the proxy."""
    reached = trips == 2
    return Section(
        "A run that finds nothing",
        text,
        [Table(rows)],
        [Goal("round trips of an idle run", "2", f"{trips:g}", reached)],
        {"idle ms": wall.median, "idle peak MB": peak_mb(rounds).median},
    )


async def _count(proxy: Proxy, env: Mapping[str, str]) -> tuple[float, float, float, float]:
    """Round trips, commands, and bytes in each direction, of one run."""
    app = App.from_env(env)
    await app.run()
    proxy.forget()
    for _ in range(COUNTED_RUNS):
        await app.run()
    counted = proxy.round_trips, len(proxy.commands), proxy.bytes_there, proxy.bytes_back
    await app.aclose()
    trips, commands, there, back = (number / COUNTED_RUNS for number in counted)
    return trips, commands, there, back
