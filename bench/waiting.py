"""Measures the app where it has to wait: for a handler, and for a slower network."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from redis.asyncio import Redis

from bench.backlog import Backlog
from bench.bed import PLAIN, Bed
from bench.charts import OTHERS, OURS, Bar, chart
from bench.contenders import WAIT_SEC
from bench.measuring import Sample, Taken, cpu_sec, helping, measure, seconds, turns
from bench.section import Goal, Say, Section, Sizes, Table
from dev.server import HOST

LANES = (4, 32, 256)
DIRECT = -1  # no proxy
HANDLER = "bench.contenders:wait"

# Milliseconds added to a round trip, and which part of the speed is to be left. 2 and 10 are 1 and 5 on each way.
DELAYS = {1: 0.75, 2: None, 5: 0.80, 10: None}


def lanes(sizes: Sizes, say: Say) -> Section:
    """A handler of the user's that waits 50 ms, at several widths."""
    taken: dict[int, list[Taken]] = {width: [] for width in LANES}
    say(f"a handler that waits {1000 * WAIT_SEC:.0f} ms")
    with Bed.on(PLAIN) as bed:
        for at, width in turns(sizes.rounds, LANES):
            backlog = Backlog(width * sizes.waits_a_lane)
            bed.fill(backlog)
            one = measure(bed.env(backlog, HANDLER=HANDLER, LANES=str(width)))
            bed.check_handled(backlog, one.stored)
            taken[width].append(one)
            reached = backlog.count / one.seconds[0] * WAIT_SEC / width
            say(f"  {at}/{sizes.rounds} LANES {width}: {reached:.1%} of possible")
    return _lanes_section(taken, sizes)


def _lanes_section(taken: Mapping[int, list[Taken]], sizes: Sizes) -> Section:
    rows = [["LANES", "entries", "possible, entries/s", "reached, entries/s", "of that", "our processor, ms an entry"]]
    goals, bars = [], []
    for width, some in taken.items():
        count, possible = width * sizes.waits_a_lane, width / WAIT_SEC
        rate, cpu_ms = seconds(some).per(count), cpu_sec(some).times(1000 / count)
        part = rate.times(1 / possible)
        rows.append([str(width), f"{count:,}", f"{possible:,.0f}", rate.show(), part.show(".1%"), cpu_ms.show(".2f")])
        wanted, reached = f"≥ 90 % of {possible:,.0f}/s", part.median >= 0.9
        goals.append(Goal(f"handler of 50 ms, LANES {width}", wanted, part.show(".1%"), reached))
        bars.append(Bar(f"LANES {width}", part.times(100), OURS, goal=90))
    text = """\
An async function that awaits 50 ms, as a call over the network may; every entry has an order key of its own. After each
run every entry must have been handled once, and none may be pending or a dead letter."""
    return Section(
        "A handler that waits",
        text,
        [Table(rows), ("lanes.svg", chart("A handler of 50 ms", "% of LANES / 50 ms", [("", bars)]))],
        goals,
    )


def delay(sizes: Sizes, say: Say) -> Section:
    """A network with a delay: the same run through a proxy that adds none, and some."""
    backlog = Backlog(sizes.entries)
    names = [DIRECT, 0, *DELAYS]
    taken: dict[int, list[Taken]] = {name: [] for name in names}
    pings: dict[int, list[float]] = {name: [] for name in names}
    say("a network with a delay")
    with Bed.on(PLAIN) as bed:
        for at, name in turns(sizes.rounds, names):
            bed.fill(backlog)
            with reaching(bed, name) as port:
                pings[name].append(asyncio.run(_ping_ms(port)))
                taken[name].append(measure(bed.env(backlog, port)))
            bed.check(backlog)
            rate = backlog.count / taken[name][-1].seconds[0]
            say(f"  {at}/{sizes.rounds} {_label(name)}: {rate:,.0f} entries/s")
    rates = {name: seconds(some).per(backlog.count) for name, some in taken.items()}
    return _delay_section(rates, {name: Sample(some) for name, some in pings.items()}, sizes)


def _delay_section(rates: Mapping[int, Sample], pings: Mapping[int, Sample], sizes: Sizes) -> Section:
    rows = [
        ["added to a round trip", "round trip of a PING, ms", "entries/s", "of that at 0 ms", "of that without proxy"]
    ]
    goals, bars = [], []
    for name, rate in rates.items():
        part, of_direct, wanted = rate.over(rates[0]), rate.over(rates[DIRECT]), DELAYS.get(name)
        rows.append([_label(name), pings[name].show(".2f"), rate.show(), part.show(".0%"), of_direct.show(".0%")])
        if wanted:
            what = f"speed with {name} ms of network delay"
            goals.append(Goal(what, f"≥ {wanted:.0%} of that at 0 ms", part.show(".0%"), part.median >= wanted))
        colour = OURS if name > 0 else OTHERS
        bars.append(Bar(_label(name), rate, colour, wanted * rates[0].median if wanted else None))
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


@contextmanager
def reaching(bed: Bed, delay_ms: float) -> Iterator[int]:
    """The port at which the server is reached with this delay."""
    if delay_ms == DIRECT:
        yield bed.server.port
        return
    with helping("bench.delay", str(bed.server.port), str(delay_ms)) as port:
        yield port


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
