"""Reckons how reclaim grows beyond one machine: `python -m bench.growth` writes its tables into docs/scale.md.

The constants are measured here and now. The rest is a simulation: instances take messages from a queue, each shares its
core among the runs that it has, and all of them share the one core of the server.
"""

import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.backlog import Backlog
from bench.bed import PLAIN, Bed
from bench.contenders import COMPUTE_SEC, WAIT_SEC
from bench.document import table
from bench.measuring import Sample, measure
from bench.section import Table
from reclaim.fan_out import MOST_MESSAGES
from reclaim.state.node import MAX_CONNECTIONS

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- written by python -m bench.growth -->", "<!-- end -->"
ROUNDS = 3
ENTRIES = 50_000
STEP_SEC = 0.02
TICK_SEC = 20.0
POLL_SEC, AT_ONCE, MORE_WHEN = 2.0, 4, 2  # host.json
LANES = 32
TARGETS, EACH = 1_000, 1_000  # targets, and entries of each
SHARDS = (1, 2, 4, 8, 16, 32, 64)
IN_A_SHARD = 1_000_000  # entries of the target that is divided


@dataclass(frozen=True, slots=True)
class Constants:
    """What was measured, microseconds of a processor for each.

    Attributes:
        ours: of ours, for an entry that becomes a hash.
        server: of the server's, for the same.
        read: of the server's, for an entry that a shard reads and leaves to another.
        look: of the server's, for a target that the timer looks at.
        ours_a_run: of ours, for a run besides its entries.
        connections: that one run has.
    """

    ours: float
    server: float
    read: float
    look: float
    ours_a_run: float
    connections: float


@dataclass(frozen=True, slots=True)
class Work:
    """What an entry costs: of an instance's core, of the server's, and how many a run has at once at most, a second."""

    ours_us: float
    server_us: float
    most_per_sec: float = math.inf


@dataclass(slots=True)
class Instance:
    """One instance: the runs that it has, by the seconds of its core or the entries that are left of each."""

    polls_at: float
    left: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation came to: seconds, and how busy the server's core was."""

    seconds: float
    server_busy: float


def simulate(runs: int, entries: float, work: Work, instances: int, a_run_us: float, at_once: int = AT_ONCE) -> Outcome:
    """Work through so many runs of so many entries each; at each tick the timer enqueues MOST_MESSAGES at most."""
    crew = [Instance(POLL_SEC * at / instances) for at in range(instances)]
    queue: deque[float] = deque()
    to_come, now, next_tick, server_sec = runs, 0.0, 0.0, 0.0
    more_when = min(MORE_WHEN, at_once - 1)
    extra = a_run_us / work.ours_us  # a run's own cost, in entries
    while to_come or queue or any(one.left for one in crew):
        if now >= next_tick and to_come:
            some = min(to_come, MOST_MESSAGES)
            queue.extend([entries + extra] * some)
            to_come, next_tick = to_come - some, next_tick + TICK_SEC
        for one in crew:
            if queue and len(one.left) <= more_when and now >= one.polls_at:
                one.left += [queue.popleft() for _ in range(min(at_once, len(queue)))]
                one.polls_at = now if one.left else now + POLL_SEC
        wanted = [_rates(one, work) for one in crew]
        total = sum(map(sum, wanted))
        part = min(1.0, 1e6 / work.server_us / total) if total else 1.0
        for one, rates in zip(crew, wanted, strict=True):
            one.left = [left - part * rate * STEP_SEC for left, rate in zip(one.left, rates, strict=True)]
            one.left = [left for left in one.left if left > 0]
        server_sec += part * total * work.server_us / 1e6 * STEP_SEC
        now += STEP_SEC
    return Outcome(now, min(1.0, server_sec / now))


def _rates(one: Instance, work: Work) -> list[float]:
    """Entries a second of each run: its share of the core, and no more than its lanes can have."""
    share = 1e6 / work.ours_us / max(1, len(one.left))
    return [min(share, work.most_per_sec)] * len(one.left)


def measured() -> Constants:
    """Measure the constants."""
    backlog, idle = Backlog(ENTRIES), Backlog(0, 1000)
    ours, server, four, look, run, connections = [], [], [], [], [], []
    with Bed.on(PLAIN) as bed:
        for _ in range(ROUNDS):
            taken, busy, clients = _run(bed, backlog)
            ours.append(taken / ENTRIES)
            server.append(busy / ENTRIES)
            connections.append(clients)
            four.append(_run(bed, backlog, SHARDS="4")[1] / ENTRIES)
            taken, busy, _ = _run(bed, idle)
            run.append(taken / idle.streams)
            look.append(busy / idle.streams)
    one = Sample(server).median
    read = (Sample(four).median - one) / 3
    return Constants(
        Sample(ours).median, one, max(read, 0.0), Sample(look).median, Sample(run).median, Sample(connections).median
    )


def _run(bed: Bed, backlog: Backlog, **settings: str) -> tuple[float, float, float]:
    """Microseconds of our processor and of the server's, and how many connections there were."""
    bed.fill(backlog)
    (before,), server_before = bed.send([("INFO", "stats")]), bed.server.processor_sec
    taken = measure(bed.env(backlog, None, **settings), expected=None)
    busy = bed.server.processor_sec - server_before
    (after,) = bed.send([("INFO", "stats")])
    clients = _received(after) - _received(before)
    return 1e6 * taken.cpu_sec[0], 1e6 * busy, clients


def _received(info: bytes) -> int:
    found = re.search(rb"total_connections_received:(\d+)", info)
    return int(found[1]) if found else 0


def tables(known: Constants) -> Iterator[str]:
    """The document's tables, with what is to be said of them."""
    hashes = Work(known.ours, known.server)
    waits = Work(70.0, known.server, LANES / WAIT_SEC)
    computes = Work(1e6 * COMPUTE_SEC, known.server)
    yield _constants(known)
    rows = [["instances", "hash, s", "server busy", "waits 50 ms, s", "computes 2 ms, s", "connections at most"]]
    for count in (1, 2, 4, 8, 16, 32):
        plain, waiting, computing = (
            simulate(TARGETS, EACH, work, count, known.ours_a_run) for work in (hashes, waits, computes)
        )
        times = [f"{one.seconds:,.0f}" for one in (waiting, computing)]
        most = f"{count * MAX_CONNECTIONS:,}"
        rows.append([str(count), f"{plain.seconds:,.0f}", f"{plain.server_busy:.0%}", *times, most])
    yield f"**{TARGETS:,} targets**, each with {EACH:,} entries pending, all found at one tick:"
    yield table(Table(rows))
    rows = [["shards, an instance each", "hash, entries/s", "waits 50 ms, entries/s", "computes 2 ms, entries/s"]]
    rows[0] += ["server's µs an entry", "connections"]
    for count in SHARDS:
        server_us = known.server + (count - 1) * known.read
        reached = [
            IN_A_SHARD
            / simulate(
                count,
                IN_A_SHARD / count,
                Work(work.ours_us, server_us, work.most_per_sec),
                count,
                known.ours_a_run,
                at_once=1,
            ).seconds
            for work in (Work(known.ours + (count - 1) * known.read, known.server), waits, computes)
        ]
        connections = f"{count * known.connections:,.0f}"
        rows.append([str(count), *(f"{one:,.0f}" for one in reached), f"{server_us:.1f}", connections])
    yield f"**One target in shards**, {IN_A_SHARD:,} entries pending, an order key for each:"
    yield table(Table(rows))


def _constants(known: Constants) -> str:
    return f"""\
Measured just before, in µs of a processor: an entry that becomes a hash takes {known.ours:.1f} of ours and
{known.server:.1f} of the server's; one that a shard reads and leaves to another {known.read:.1f} of the server's; a
target with nothing pending {known.look:.0f} of the server's and {known.ours_a_run:.0f} of ours. A run of hashes made
{known.connections:.0f} connections.

Simulated: an instance has one core and takes messages as `host.json` says (with shards, one); a tick comes every
{TICK_SEC:g} s; a handler that waits has {LANES} lanes and takes 70 µs of our processor an entry. How long Azure takes
to start an instance is not in it."""


def main() -> None:
    """Measure, reckon, and write it down."""
    text = "\n\n".join(tables(measured()))
    document = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
