"""Measures the app where it has to wait: for a handler, and for a slower network."""

import asyncio
import time

from redis.asyncio import Redis

from bench.bed import Backlog, Bed
from bench.charts import OTHERS, OURS, Bar, chart
from bench.contenders import WAIT_SEC
from bench.measuring import Sample, helping, measure
from bench.section import Goal, Say, Section, Sizes, Table
from bench.speed import PLAIN
from dev.server import HOST

LANES = (4, 32, 256)
DIRECT = -1  # no proxy
HANDLER = "bench.contenders:wait"

# Milliseconds added to a round trip, and which part of the speed is to be left. 2 and 10 are 1 and 5 on each way.
DELAYS = {1: 0.75, 2: None, 5: 0.50, 10: None}


def lanes(sizes: Sizes, say: Say) -> Section:
    """A handler of the user's that waits 50 ms, at several widths."""
    head = ["LANES", "entries", "possible, entries/s", "reached, entries/s", "of that", "our processor, ms an entry"]
    rows = [head]
    goals, bars = [], []
    taken: dict[int, list[float]] = {width: [] for width in LANES}
    cpu: dict[int, list[float]] = {width: [] for width in LANES}
    say(f"a handler that waits {1000 * WAIT_SEC:.0f} ms")
    with Bed.on(PLAIN) as bed:
        for at in range(sizes.rounds):
            for width in LANES:
                backlog = Backlog(width * sizes.waits_a_lane)
                bed.fill(backlog)
                one = measure(bed.env(backlog, HANDLER=HANDLER, LANES=str(width)))
                _check_acknowledged(bed, backlog)
                taken[width].append(backlog.count / one.seconds[0])
                cpu[width].append(1000 * one.cpu_sec[0] / backlog.count)
                say(f"  {at + 1}/{sizes.rounds} LANES {width}: {taken[width][-1] * WAIT_SEC / width:.1%} of possible")
    for width in LANES:
        rate, possible = Sample(taken[width]), width / WAIT_SEC
        part = rate.times(1 / possible)
        count = f"{width * sizes.waits_a_lane:,}"
        spent = Sample(cpu[width]).show(".2f")
        rows.append([str(width), count, f"{possible:,.0f}", rate.show(), part.show(".1%"), spent])
        wanted, reached = f"≥ 90 % of {possible:,.0f}/s", part.median >= 0.9
        goals.append(Goal(f"handler of 50 ms, LANES {width}", wanted, part.show(".1%"), reached))
        bars.append(Bar(f"LANES {width}", part.times(100), OURS, goal=90))
    return Section(
        "A handler that waits",
        "An async function that awaits 50 ms, as a call over the network may; every entry has an order key of its own.",
        [Table(rows), ("lanes.svg", chart("A handler of 50 ms", "% of LANES / 50 ms", [("", bars)]))],
        goals,
    )


def _check_acknowledged(bed: Bed, backlog: Backlog) -> None:
    (summary,) = bed.send([("XPENDING", backlog.names[0], bed.env(backlog)["STREAM_CONSUMER_GROUP_NAME"])])
    if summary[0]:
        raise RuntimeError(f"{summary[0]} entries are pending")


def delay(sizes: Sizes, say: Say) -> Section:
    """A network with a delay: the same run through a proxy that adds none, and some."""
    backlog = Backlog(sizes.entries)
    names = [DIRECT, 0, *DELAYS]
    taken: dict[int, list[float]] = {name: [] for name in names}
    pings: dict[int, list[float]] = {name: [] for name in names}
    say("a network with a delay")
    with Bed.on(PLAIN) as bed:
        for at in range(sizes.rounds):
            for name in names:
                bed.fill(backlog)
                with helping("bench.delay", str(bed.server.port), str(max(name, 0))) as proxy:
                    port = bed.server.port if name == DIRECT else int(proxy.said)
                    pings[name].append(asyncio.run(_ping_ms(port)))
                    one = measure(bed.env(backlog, port))
                bed.check(backlog)
                taken[name].append(backlog.count / one.seconds[0])
                say(f"  {at + 1}/{sizes.rounds} {_label(name)}: {taken[name][-1]:,.0f} entries/s")
    rates = {name: Sample(values) for name, values in taken.items()}
    rows = [
        ["added to a round trip", "round trip of a PING, ms", "entries/s", "of that at 0 ms", "of that without proxy"]
    ]
    goals, bars = [], []
    for name in names:
        part, wanted = rates[name].over(rates[0]), DELAYS.get(name)
        of_direct = rates[name].over(rates[DIRECT])
        ping = Sample(pings[name]).show(".2f")
        rows.append([_label(name), ping, rates[name].show(), part.show(".0%"), of_direct.show(".0%")])
        if wanted:
            what = f"speed with {name} ms of network delay"
            goals.append(Goal(what, f"≥ {wanted:.0%} of that at 0 ms", part.show(".0%"), part.median >= wanted))
        colour = OURS if name > 0 else OTHERS
        bars.append(Bar(_label(name), rates[name], colour, wanted * rates[0].median if wanted else None))
    text = f"""\
{sizes.entries:,} tweets at default settings, through a proxy that passes bytes on some time after they came
(`bench/delay.py`): half of the delay on the way there, half on the way back. 2 and 10 ms are what 1 and 5 ms on
each way come to. The goals compare with the same proxy at 0 ms. The proxy is a process of its own; the app, the server
and the proxy share two processors, which costs most at 0 ms, where all three are busy at once: the first row shows
how much. The last column compares with that row, and so counts what the proxy takes as if it were the network's."""
    return Section(
        "A slower network",
        text,
        [Table(rows), ("delay.svg", chart("Network delay, added to a round trip", "entries/s", [("", bars)]))],
        goals,
        {f"entries/s at {name} ms": rates[name].median for name in (1, 5)},
    )


def _label(delay_ms: int) -> str:
    return "none, without the proxy" if delay_ms == DIRECT else f"{delay_ms} ms"


async def _ping_ms(port: int, count: int = 20) -> float:
    """The median round trip of a PING."""
    async with Redis(host=HOST, port=port) as client:
        await client.ping()
        taken = []
        for _ in range(count):
            began = time.perf_counter()
            await client.ping()
            taken.append(1000 * (time.perf_counter() - began))
        return Sample(taken).median
