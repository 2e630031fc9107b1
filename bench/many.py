"""Measures an app with many targets: as fast as with one, and cheap while there is nothing to do."""

from collections.abc import Mapping, Sequence

from bench.backlog import Backlog
from bench.bed import PLAIN, Bed
from bench.charts import OTHERS, OURS, Bar, chart
from bench.measuring import Sample, Taken, measure, peak_mb, seconds, turns
from bench.section import Goal, Say, Section, Sizes, Table
from reclaim.run.report import Outcome

IDLE_RUNS = 20


def many(sizes: Sizes, say: Say) -> Section:
    """Many streams with some entries each, one stream with all of them, and many streams with nothing."""
    count = sizes.entries * 2
    say(f"{sizes.streams} targets")
    with Bed.on(PLAIN) as bed:
        taken = _full(bed, [Backlog(count), Backlog(count, sizes.streams)], sizes.rounds, say)
        idle = _idle(bed, Backlog(0, sizes.streams), sizes.rounds, say)
    table, bars, goal = _compared(taken)
    idle_table, idle_goals = _of_idle(idle, sizes.streams)
    _, split = taken
    return Section(
        "Many targets",
        "One app with default settings, all of its targets at once. Idle runs are those after a process's first.",
        [table, idle_table, ("targets.svg", chart("Many streams or one", "seconds", [("", bars)], ".2f"))],
        [goal, *idle_goals],
        {"targets": sizes.streams, "targets peak MB": peak_mb(taken[split]).median},
    )


def _full(bed: Bed, backlogs: Sequence[Backlog], rounds: int, say: Say) -> dict[Backlog, list[Taken]]:
    """Runs on each backlog, in turn."""
    taken: dict[Backlog, list[Taken]] = {backlog: [] for backlog in backlogs}
    for at, backlog in turns(rounds, backlogs):
        bed.fill(backlog)
        taken[backlog].append(measure(bed.env(backlog)))
        bed.check(backlog)
        say(f"  {at}/{rounds} streams {backlog.streams}: {taken[backlog][-1].seconds[0]:.2f} s")
    return taken


def _idle(bed: Bed, nothing: Backlog, rounds: int, say: Say) -> list[Taken]:
    """Processes that run again and again and find nothing."""
    bed.fill(nothing)
    env = bed.env(nothing)
    idle = [measure(env, runs=1 + IDLE_RUNS, expected=Outcome.NOTHING_PENDING) for _ in range(rounds)]
    say(f"  idle: {seconds(idle).times(1000).show('.0f')} ms the first run")
    return idle


def _compared(taken: Mapping[Backlog, list[Taken]]) -> tuple[Table, list[Bar], Goal]:
    times = {backlog: seconds(some) for backlog, some in taken.items()}
    rows = [["", "seconds", "entries/s", "peak memory, MB"]]
    rows += [
        [_name(one), times[one].show(".2f"), times[one].per(one.count).show(), peak_mb(some).show()]
        for one, some in taken.items()
    ]
    one, split = taken
    ratio = times[split].over(times[one])
    bars = [Bar(_name(one), times[one], OTHERS), Bar(_name(split), times[split], OURS, 1.2 * times[one].median)]
    what = f"time of {split.streams} streams / of one"
    return Table(rows), bars, Goal(what, "≤ 1.2", ratio.show(".2f"), ratio.median <= 1.2)


def _of_idle(idle: Sequence[Taken], streams: int) -> tuple[Table, list[Goal]]:
    first = seconds(idle).times(1000)
    later = Sample([1000 * Sample(one.seconds[1:]).median for one in idle])
    cpu = Sample([1000 * Sample(one.cpu_sec[1:]).median for one in idle])
    rows = [
        [f"{streams} idle targets, one run", "ms"],
        ["by the clock", later.show(".1f")],
        ["of our processor", cpu.show(".1f")],
        ["by the clock, a process's first run (it connects, and sweeps)", first.show(".1f")],
    ]
    return Table(rows), [
        Goal(f"a run of {streams} idle targets", "≤ 250 ms", f"{later.show('.0f')} ms", later.median <= 250),
        Goal("the same, a process's first run", "≤ 250 ms", f"{first.show('.0f')} ms", first.median <= 250),
    ]


def _name(backlog: Backlog) -> str:
    if backlog.streams == 1:
        return f"1 × {backlog.count:,}"
    return f"{backlog.streams} × {backlog.count // backlog.streams:,}"
