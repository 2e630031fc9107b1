"""Measures the app between the published algorithm and what the server itself can do, and what its options cost."""

from collections.abc import Mapping
from contextlib import ExitStack

from bench.bed import Backlog, Bed, CheckFailed
from bench.charts import BOUND, OTHERS, OURS, Bar, chart
from bench.collector import KEY
from bench.contenders import AT_ONCE
from bench.measuring import Sample, Taken, helping, measure
from bench.section import Goal, Say, Section, Sizes, Table
from dev.server import available

PLAIN, TLS = "valkey-9", "redis-7.0"
NAMES = {
    "baseline": "baseline: as published",
    "ours": "ours",
    "telemetry": "ours, telemetry on",
    "limit": "limit: all in the server",
}
COLOURS = {"baseline": OTHERS, "ours": OURS, "telemetry": OURS, "limit": BOUND}
VERSION_FIELD = "entry_id"


class Race:
    """Contenders on one bed, in turn, each round begun by another; every run is checked."""

    def __init__(self, bed: Bed, backlog: Backlog, say: Say) -> None:
        self._bed = bed
        self._backlog = backlog
        self._say = say

    def run(self, rounds: int, envs: Mapping[str, Mapping[str, str]]) -> dict[str, list[Taken]]:
        """What each contender took in each round; those that are not baseline or limit are ours."""
        taken: dict[str, list[Taken]] = {name: [] for name in envs}
        names = list(envs)
        for at in range(rounds):
            for name in names[at % len(names) :] + names[: at % len(names)]:
                self._bed.fill(self._backlog)
                one = measure(envs[name], name if name in {"baseline", "limit"} else "ours")
                self._bed.check(self._backlog, envs[name].get("HASH_VERSION_FIELD"))
                taken[name].append(one)
                self._say(f"  {at + 1}/{rounds} {name}: {self._backlog.count / one.seconds[0]:,.0f} entries/s")
        return taken


def seconds(taken: list[Taken]) -> Sample:
    """The clock's seconds of processes that ran once."""
    return Sample([one.seconds[0] for one in taken])


def speed(sizes: Sizes, say: Say) -> Section:
    """Baseline, ours and limit on the same tweets, plain and over TLS."""
    backlog = Backlog(sizes.entries)
    rates: dict[str, dict[str, Sample]] = {}
    rows = [["", "", "entries/s", "of the processor, µs an entry", "peak memory, MB", "× baseline", "of the limit"]]
    figures: dict[str, float] = {}
    versions, notes = {}, []
    with ExitStack() as stack:
        beds = {"plain": stack.enter_context(Bed.on(PLAIN))}
        if TLS in available():
            beds["TLS"] = stack.enter_context(Bed.on(TLS, tls=True))
        else:
            notes.append(f"{TLS} is not installed here, so nothing was measured over TLS.")
        collector = stack.enter_context(helping("bench.collector"))
        for link, bed in beds.items():
            versions[link] = bed.version()
            say(f"speed, {link}, {versions[link]}")
            envs = {name: bed.env(backlog) for name in ("baseline", "ours", "limit")}
            if link == "plain":
                where = f"InstrumentationKey={KEY};IngestionEndpoint=http://127.0.0.1:{collector.said}"
                envs["telemetry"] = bed.env(backlog, APPLICATIONINSIGHTS_CONNECTION_STRING=where)
            taken = Race(bed, backlog, say).run(2 * sizes.rounds - 1, envs)  # more, as these runs are short
            rates[link] = {name: seconds(taken[name]).per(backlog.count) for name in NAMES if name in taken}
            rows += [_row(link, name, rates[link], taken[name]) for name in rates[link]]
            figures[f"{link} entries/s"] = rates[link]["ours"].median
            figures[f"{link} peak MB"] = Sample([one.peak_mb for one in taken["ours"]]).median
    if collector.last == "0":
        raise CheckFailed("the app sent no telemetry though it was asked to")
    bars = [
        (f"{link} ({versions[link]})", [Bar(NAMES[name], rate, COLOURS[name]) for name, rate in some.items()])
        for link, some in rates.items()
    ]
    text = f"""\
{sizes.entries:,} five-field tweets, all pending and idle, on one server; each run in a process of its own, at
default settings. Ours is `App.run()` with everything on: lease, circuit, history, order, refunds, retries, page
sizes. Baseline is the first article's algorithm in Python as published: list everything, claim everything, one
task for each entry that does HSET and then XACK (redis.asyncio with hiredis). {AT_ONCE} of its tasks are at work at
once, the others wait for a semaphore: go-redis, which the article's program uses, has a pool of ten connections for
each processor, so {AT_ONCE} here. Limit is one Lua script a page that finds, claims, stores and acknowledges inside the server.
After every run each hash is compared with its tweet, and nothing may be pending. {" ".join(notes)}"""
    return Section(
        "Speed",
        text,
        [Table(rows), ("speed.svg", chart("Reclaiming pending tweets", "entries/s", bars))],
        [goal for link, some in rates.items() for goal in _goals(link, some)],
        figures,
    )


def _row(link: str, name: str, rates: Mapping[str, Sample], taken: list[Taken]) -> list[str]:
    rate = rates[name]
    cpu = Sample([one.cpu_sec[0] for one in taken]).over(seconds(taken)).median / rate.median
    peak = Sample([one.peak_mb for one in taken])
    times, part = rate.median / rates["baseline"].median, rate.median / rates["limit"].median
    return [link, NAMES[name], rate.show(), f"{1e6 * cpu:.1f}", f"{peak.median:.0f}", f"{times:.1f}", f"{part:.0%}"]


def _goals(link: str, rates: Mapping[str, Sample]) -> list[Goal]:
    times, part = rates["ours"].over(rates["baseline"]), rates["ours"].over(rates["limit"])
    wanted = 10 if link == "plain" else 8
    goals = [Goal(f"ours / baseline, {link}", f"≥ {wanted}", times.show(".1f"), times.median >= wanted)]
    if link == "plain":
        goals.append(Goal(f"ours / limit, {link}", "≥ 60 %", part.show(".0%"), part.median >= 0.6))
    return goals


def version_field(sizes: Sizes, say: Say) -> Section:
    """What it costs that an older entry never overwrites a newer one."""
    backlog = Backlog(sizes.entries)
    say("HASH_VERSION_FIELD off and on")
    with Bed.on(PLAIN) as bed:
        envs = {"ours": bed.env(backlog), "versioned": bed.env(backlog, HASH_VERSION_FIELD=VERSION_FIELD)}
        taken = Race(bed, backlog, say).run(sizes.rounds, envs)
    off, on = (seconds(taken[name]).per(backlog.count) for name in envs)
    part = on.over(off)
    rows = [["HASH_VERSION_FIELD", "entries/s", "of that without"], ["off", off.show(), ""]]
    rows.append(["on", on.show(), part.show(".0%")])
    return Section(
        "HASH_VERSION_FIELD",
        f"{sizes.entries:,} tweets; with the field each store is a script that compares IDs inside the server.",
        [Table(rows)],
        [Goal("speed with HASH_VERSION_FIELD", "≥ 50 % of that without", part.show(".0%"), part.median >= 0.5)],
    )
