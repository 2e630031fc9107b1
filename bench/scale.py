"""Measures whether a large backlog costs more for each entry than a small one, or keeps the server from its work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.backlog import Backlog
from bench.bed import CHECK_ALL_UP_TO, CHECK_ONE_IN, PLAIN, SLOW_US, Bed, Slow
from bench.charts import OURS, Bar, chart
from bench.measuring import Sample, Taken, measure, peak_mb, seconds, turns
from bench.section import Goal, Say, Section, Sizes, Table

RUNS_OF_FEW = 7  # a round: one run of 10,000 takes 0.14 s, which tells little beside the 14 s of a million
ALL_FRESH_SEC = "3600"  # what is claimed must have been idle for longer than any run here takes


@dataclass(slots=True)
class Rounds:
    """What the runs on one backlog took, round by round, and which commands of theirs were slow."""

    taken: list[list[Taken]] = field(default_factory=list)
    slow: list[Slow] = field(default_factory=list)

    @property
    def seconds(self) -> Sample:
        """A run's, of each round the median."""
        return Sample([seconds(some).median for some in self.taken])

    @property
    def peak_mb(self) -> Sample:
        """A run's, of each round the median."""
        return Sample([peak_mb(some).median for some in self.taken])


def scale(sizes: Sizes, say: Say) -> Section:
    """Few entries and many, in turn; SLOWLOG after each; and many that are fresh."""
    few, many = Backlog(sizes.few), Backlog(sizes.many)
    with Bed.on(PLAIN) as small, Bed.on(PLAIN) as large:
        say(f"scale: putting {sizes.many:,} entries on a server")
        beds = {few: small, many: large}
        for backlog, bed in beds.items():
            bed.put(backlog)
        rounds = {few: Rounds(), many: Rounds()}
        for at, backlog in turns(sizes.rounds, beds):
            some = [_run(beds[backlog], backlog, rounds[backlog]) for _ in range(RUNS_OF_FEW if backlog == few else 1)]
            rounds[backlog].taken.append(some)
            per_entry = 1e6 * seconds(some).median / backlog.count
            say(f"  {at}/{sizes.rounds} {backlog.count:,} pending: {per_entry:.1f} µs an entry")
        fresh, slow_fresh = run_fresh(large, many)
        say(f"  {many.count:,} fresh: {fresh.seconds[0]:.2f} s, {len(slow_fresh)} slow commands")
    return _section(rounds, fresh, slow_fresh)


def _run(bed: Bed, backlog: Backlog, rounds: Rounds) -> Taken:
    """One run on all of it, pending again."""
    bed.refill(backlog)
    taken = measure(bed.env(backlog))
    rounds.slow += bed.slow_commands()
    bed.check(backlog)
    return taken


def run_fresh(bed: Bed, backlog: Backlog) -> tuple[Taken, list[Slow]]:
    """A run that finds everything pending and nothing idle, and leaves it so; and which commands of it were slow."""
    bed.hold(backlog, idle_ms=0)
    taken = measure(bed.env(backlog, MIN_IDLE_TIME_SEC=ALL_FRESH_SEC))
    slow = bed.slow_commands()
    bed.check_untouched(backlog)
    return taken, slow


def said_of(slow: Sequence[Slow]) -> str:
    """What SLOWLOG showed, as a paragraph to add; empty where that is nothing."""
    if not slow:
        return ""
    return "\n\nSLOWLOG, which counts as well what others took of the processor meanwhile, showed:\n\n" + "\n".join(
        f"- {us / 1000:.1f} ms: `{command}`" for us, command in slow[:10]
    )


def _section(rounds: Mapping[Backlog, Rounds], fresh: Taken, slow_fresh: Sequence[Slow]) -> Section:
    per_entry = {backlog: some.seconds.times(1e6 / backlog.count) for backlog, some in rounds.items()}
    rows = [["pending", "µs an entry", "entries/s", "peak memory, MB"]]
    rows += [
        [f"{one.count:,}", per_entry[one].show(".1f"), some.seconds.per(one.count).show(), some.peak_mb.show(".1f")]
        for one, some in rounds.items()
    ]
    bars = [("", [Bar(f"{one.count:,} pending", sample, OURS) for one, sample in per_entry.items()])]
    _, many = rounds
    slow = [one for some in rounds.values() for one in some.slow]
    return Section(
        "Scale",
        _text(rounds, fresh) + said_of([*slow, *slow_fresh]),
        [Table(rows), ("scale.svg", chart("Time for each entry", "µs", bars, ".1f"))],
        [
            *_ratio_goals(rounds, per_entry),
            Goal(f"slow commands at {many.count:,} idle", "0", str(len(slow)), not slow),
            Goal(f"slow commands at {many.count:,} fresh", "0", str(len(slow_fresh)), not slow_fresh),
        ],
        {"many entries": many.count, "seconds of many": rounds[many].seconds.median},
    )


def _ratio_goals(rounds: Mapping[Backlog, Rounds], per_entry: Mapping[Backlog, Sample]) -> list[Goal]:
    few, many = rounds
    time, peak = per_entry[many].over(per_entry[few]), rounds[many].peak_mb.over(rounds[few].peak_mb)
    what = f"time per entry, {many.count:,} / {few.count:,}"
    return [
        Goal(what, "≤ 1.1", time.show(".2f"), time.median <= 1.1),
        Goal("peak memory, the same", "≤ 1.15", peak.show(".2f"), peak.median <= 1.15),
    ]


def _text(rounds: Mapping[Backlog, Rounds], fresh: Taken) -> str:
    few, many = rounds
    return f"""\
The app's own run, default settings, each in a process of its own; before each, every hash is gone and every
entry pending again, and SLOWLOG ({SLOW_US // 1000} ms) is empty. A round has one run of {many.count:,} entries, and
{RUNS_OF_FEW} of {few.count:,}, whose median is the round's value. The start of a run is included: it connects, and
sweeps. After each run nothing may be pending and each hash must be there, and is compared with its tweet; above
{CHECK_ALL_UP_TO:,} entries one hash in {CHECK_ONE_IN} is compared, others each time. A run that finds {many.count:,}
entries pending, all of them fresh, took {fresh.seconds[0]:.2f} s, {fresh.cpu_sec[0]:.2f} s of our processor, and
{fresh.peak_mb:.0f} MB at most; after it all of them are still whose they were."""
