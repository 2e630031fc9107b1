"""Measures whether a large backlog costs more for each entry than a small one, or keeps the server from its work."""

from bench.bed import Backlog, Bed
from bench.charts import OURS, Bar, chart
from bench.measuring import Sample, Taken, measure
from bench.section import Goal, Say, Section, Sizes, Table
from bench.speed import PLAIN, seconds


def scale(sizes: Sizes, say: Say) -> Section:
    """Few entries and many, in turn; SLOWLOG after each; and many that are fresh."""
    few, many = Backlog(sizes.few), Backlog(sizes.many)
    taken: dict[Backlog, list[Taken]] = {few: [], many: []}
    slow: list[tuple[int, str]] = []
    with Bed.on(PLAIN) as small, Bed.on(PLAIN) as large:
        beds = {few: small, many: large}
        say(f"scale: putting {sizes.many:,} entries on a server")
        for backlog, bed in beds.items():
            bed.fill(backlog)
        for at in range(sizes.rounds):
            for backlog, bed in beds.items():
                if at:
                    bed.refill(backlog)
                taken[backlog].append(measure(bed.env(backlog)))
                slow += bed.slow_commands()
                bed.check(backlog)
                per_entry = 1e6 * taken[backlog][-1].seconds[0] / backlog.count
                say(f"  {at + 1}/{sizes.rounds} {backlog.count:,} pending: {per_entry:.1f} µs an entry")
        large.hold(many, idle_ms=0)
        fresh = measure(large.env(many, MIN_IDLE_TIME_SEC="3600"))
        slow_fresh = large.slow_commands()
        say(f"  {many.count:,} fresh: {fresh.seconds[0]:.2f} s, {len(slow_fresh)} slow commands")
    return _section(few, many, taken, slow, fresh, slow_fresh)


def _section(
    few: Backlog,
    many: Backlog,
    taken: dict[Backlog, list[Taken]],
    slow: list[tuple[int, str]],
    fresh: Taken,
    slow_fresh: list[tuple[int, str]],
) -> Section:
    per_entry = {backlog: seconds(some).times(1e6 / backlog.count) for backlog, some in taken.items()}
    peaks = {backlog: Sample([one.peak_mb for one in some]) for backlog, some in taken.items()}
    time_ratio, peak_ratio = per_entry[many].over(per_entry[few]), peaks[many].over(peaks[few])
    rows = [["pending", "µs an entry", "entries/s", "peak memory, MB"]]
    rows += [
        [f"{one.count:,}", per_entry[one].show(".1f"), seconds(some).per(one.count).show(), peaks[one].show(".1f")]
        for one, some in taken.items()
    ]
    said = "\n".join(f"- {us / 1000:.1f} ms: `{command}`" for us, command in (slow + slow_fresh)[:10])
    text = f"""\
The app's own run, default settings, each in a process of its own; before each, every hash is gone and every
entry pending again, and SLOWLOG (10 ms) is empty. A run that finds {many.count:,} entries pending, all of them
fresh, took {fresh.seconds[0]:.2f} s, {fresh.cpu_sec[0]:.2f} s of our processor, and {fresh.peak_mb:.0f} MB at most."""
    if said:
        text += f"\n\nSLOWLOG showed:\n\n{said}"
    bars = [("", [Bar(f"{one.count:,} pending", per_entry[one], OURS) for one in taken])]
    times = time_ratio.show(".2f")
    return Section(
        "Scale",
        text,
        [Table(rows), ("scale.svg", chart("Time for each entry", "µs", bars, ".1f"))],
        [
            Goal(f"time per entry, {many.count:,} / {few.count:,}", "≤ 1.1", times, time_ratio.median <= 1.1),
            Goal("peak memory, the same", "≤ 1.15", peak_ratio.show(".2f"), peak_ratio.median <= 1.15),
            Goal(f"slow commands at {many.count:,} idle", "0", str(len(slow)), not slow),
            Goal(f"slow commands at {many.count:,} fresh", "0", str(len(slow_fresh)), not slow_fresh),
        ],
        {"peak MB at many": peaks[many].median},
    )
