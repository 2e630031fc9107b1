"""Measures an app with many targets: as fast as with one, and cheap while there is nothing to do."""

from bench.bed import Backlog, Bed
from bench.charts import OTHERS, OURS, Bar, chart
from bench.measuring import Sample, measure
from bench.section import Goal, Say, Section, Sizes, Table
from bench.speed import PLAIN, seconds

IDLE_RUNS = 20


def many(sizes: Sizes, say: Say) -> Section:
    """Many streams with some entries each, one stream with all of them, and many streams with nothing."""
    count = sizes.entries * 2
    one, split = Backlog(count), Backlog(count, sizes.streams)
    say(f"{sizes.streams} targets")
    taken: dict[Backlog, list[float]] = {one: [], split: []}
    peaks: dict[Backlog, list[float]] = {one: [], split: []}
    with Bed.on(PLAIN) as bed:
        for at in range(sizes.rounds):
            for backlog in (one, split):
                bed.fill(backlog)
                got = measure(bed.env(backlog))
                bed.check(backlog)
                taken[backlog].append(got.seconds[0])
                peaks[backlog].append(got.peak_mb)
                say(f"  {at + 1}/{sizes.rounds} streams {backlog.streams}: {got.seconds[0]:.2f} s")
        nothing = Backlog(0, sizes.streams)
        bed.fill(nothing)
        idle = [measure(bed.env(nothing), runs=1 + IDLE_RUNS) for _ in range(sizes.rounds)]
    ratio = Sample(taken[split]).over(Sample(taken[one]))
    first = seconds(idle).times(1000)
    later = Sample([1000 * Sample(some.seconds[1:]).median for some in idle])
    cpu = Sample([1000 * Sample(some.cpu_sec[1:]).median for some in idle])
    say(f"  idle: {first.show('.0f')} ms the first run, {later.show('.0f')} ms later ones")
    rows = [["", "seconds", "entries/s", "peak memory, MB"]]
    times = {some: Sample(values) for some, values in taken.items()}
    rows += [
        [_name(some), times[some].show(".2f"), times[some].per(count).show(), Sample(peaks[some]).show()]
        for some in taken
    ]
    idle_rows = [
        [f"{sizes.streams} idle targets, one run", "ms"],
        ["by the clock", later.show(".1f")],
        ["of our processor", cpu.show(".1f")],
        ["by the clock, a process's first run (it connects, and sweeps)", first.show(".1f")],
    ]
    bars = [Bar(_name(one), times[one], OTHERS), Bar(_name(split), times[split], OURS, 1.2 * times[one].median)]
    return Section(
        "Many targets",
        "One app with default settings, all of its targets at once. Idle runs are those after a process's first.",
        [Table(rows), Table(idle_rows), ("targets.svg", chart("Many streams or one", "seconds", [("", bars)], ".2f"))],
        [
            Goal(f"time of {sizes.streams} streams / of one", "≤ 1.2", ratio.show(".2f"), ratio.median <= 1.2),
            Goal(f"a run of {sizes.streams} idle targets", "≤ 250 ms", f"{later.show('.0f')} ms", later.median <= 250),
            Goal("the same, a process's first run", "≤ 250 ms", f"{first.show('.0f')} ms", first.median <= 250),
        ],
    )


def _name(backlog: Backlog) -> str:
    if backlog.streams == 1:
        return f"1 × {backlog.count:,}"
    return f"{backlog.streams} × {backlog.count // backlog.streams:,}"
