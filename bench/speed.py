"""Measures the app between the published algorithm and what the server itself can do, and what its options cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.backlog import Backlog
from bench.bed import PLAIN, TLS, Bed
from bench.charts import BOUND, OTHERS, OURS, Bar, chart
from bench.collector import collecting
from bench.contenders import AT_ONCE
from bench.measuring import Sample, Taken, cpu_sec, peak_mb, seconds, server_sec
from bench.race import Contender, race
from bench.section import Goal, Say, Section, Sizes, Table
from dev.server import available

NAMES = {
    "baseline": "baseline: as published",
    "ours": "ours",
    "warm": "ours, not a process's first run",
    "telemetry": "ours, telemetry on",
    "warm telemetry": "ours, telemetry on, not a first run",
    "deletions": "ours, stream with deletions",
    "bare": "the same commands, bare",
    "limit": "one script a page",
}
COLOURS = {"baseline": OTHERS, "bare": BOUND, "limit": BOUND}  # the others are ours
HEAD = ["", "", "entries/s", "of our processor, µs an entry", "peak memory, MB", "× baseline", "of the script's"]
SERVER_HEAD = [
    "",
    "",
    "entries/s",
    "of the server's processor, µs an entry",
    "possible if its core were never idle, entries/s",
    "reached of that",
]
LIMITS = {"plain": 0.85, "TLS": 0.75}  # of what is possible; less than that, and we are what the server waits for
WITH_TELEMETRY = 0.9  # of the speed without
VERSION_FIELD = "entry_id"


@dataclass(frozen=True, slots=True)
class Raced:
    """What came of a race on one server.

    Attributes:
        link: how it was spoken to: plain, or TLS.
        server: its name and version.
        count: entries of each run.
        taken: what each contender took in each round.
    """

    link: str
    server: str
    count: int
    taken: dict[str, list[Taken]]

    def rate(self, name: str) -> Sample:
        """Entries a second."""
        return seconds(self.taken[name]).per(self.count)

    def possible(self, name: str) -> Sample:
        """Entries a second, if the server's core had never been idle for the commands sent."""
        return server_sec(self.taken[name]).per(self.count)

    def reached(self, name: str) -> Sample:
        """How much of that was reached, round by round: as much as the server's core was busy."""
        return self.rate(name).over(self.possible(name))

    def ratio(self, name: str, other: str) -> Sample:
        """How many times as fast one is as the other, round by round."""
        return self.rate(name).over(self.rate(other))


def speed(sizes: Sizes, say: Say) -> Section:
    """Baseline, ours and limit on the same tweets, plain and over TLS."""
    backlog = Backlog(sizes.entries)
    rounds = 2 * sizes.rounds - 1  # more than elsewhere, as these runs are short
    raced = [_plain(backlog, rounds, say)]
    if TLS in available():
        raced.append(_tls(backlog, rounds, say))
    bars = [
        (
            f"{one.link} ({one.server})",
            [Bar(NAMES[name], one.rate(name), COLOURS.get(name, OURS)) for name in _names(one)],
        )
        for one in raced
    ]
    return Section(
        "Speed",
        _text(backlog, raced),
        [
            Table([HEAD, *(_row(one, name) for one in raced for name in _names(one))]),
            Table([SERVER_HEAD, *(_server_row(one, name) for one in raced for name in _names(one))]),
            ("speed.svg", chart("Reclaiming pending tweets", "entries/s", bars)),
        ],
        [goal for one in raced for goal in _goals(one)],
        {f"{one.link} entries/s": one.rate("ours").median for one in raced}
        | {f"{name} peak MB": peak_mb(raced[0].taken[name]).median for name in ("ours", "telemetry")},
    )


def _plain(backlog: Backlog, rounds: int, say: Say) -> Raced:
    """The race without TLS; there ours runs with telemetry too, and on a stream with deletions."""
    with Bed.on(PLAIN) as bed, collecting() as collector:
        env = bed.env(backlog, APPLICATIONINSIGHTS_CONNECTION_STRING=collector.connection_string)
        contenders = _contenders(bed, backlog) | {
            "telemetry": Contender(env, check=collector.check),
            "warm": Contender(bed.env(backlog, BENCH_WARM="1")),
            "warm telemetry": Contender(env | {"BENCH_WARM": "1"}, check=collector.check),
            "deletions": Contender(bed.env(backlog), prepare=lambda: bed.delete_newest(backlog)),
        }
        say(f"speed, plain, {bed.version()}")
        return Raced("plain", bed.version(), backlog.count, race(bed, backlog, contenders, rounds, say))


def _tls(backlog: Backlog, rounds: int, say: Say) -> Raced:
    with Bed.on(TLS, tls=True) as bed:
        say(f"speed, TLS, {bed.version()}")
        return Raced("TLS", bed.version(), backlog.count, race(bed, backlog, _contenders(bed, backlog), rounds, say))


def _contenders(bed: Bed, backlog: Backlog) -> dict[str, Contender]:
    return {name: Contender(bed.env(backlog), name) for name in ("baseline", "ours", "bare", "limit")}


def _names(raced: Raced) -> list[str]:
    """Who took part, in the order of the table."""
    return [name for name in NAMES if name in raced.taken]


def _row(raced: Raced, name: str) -> list[str]:
    some = raced.taken[name]
    cpu = cpu_sec(some).times(1e6 / raced.count)
    times = "1" if name == "baseline" else raced.ratio(name, "baseline").show(".1f")
    part = "100%" if name == "limit" else raced.ratio(name, "limit").show(".0%")
    return [raced.link, NAMES[name], raced.rate(name).show(), cpu.show(".1f"), peak_mb(some).show(), times, part]


def _server_row(raced: Raced, name: str) -> list[str]:
    cpu = server_sec(raced.taken[name]).times(1e6 / raced.count)
    reached = raced.reached(name).show(".0%")
    return [raced.link, NAMES[name], raced.rate(name).show(), cpu.show(".1f"), raced.possible(name).show(), reached]


def _goals(raced: Raced) -> list[Goal]:
    times, reached = raced.ratio("ours", "baseline"), raced.reached("ours")
    wanted, least = 10 if raced.link == "plain" else 8, LIMITS[raced.link]
    what = f"ours, of what its commands let the server do, {raced.link}"
    goals = [
        Goal(f"ours / baseline, {raced.link}", f"≥ {wanted}", times.show(".1f"), times.median >= wanted),
        Goal(what, f"≥ {least:.0%}", reached.show(".0%"), reached.median >= least),
    ]
    if "warm" in raced.taken:
        part = raced.ratio("warm telemetry", "warm")
        enough = part.median >= WITH_TELEMETRY
        goals.append(Goal("speed with telemetry", f"≥ {WITH_TELEMETRY:.0%} of that without", part.show(".0%"), enough))
    return goals


def _text(backlog: Backlog, raced: Sequence[Raced]) -> str:
    plain, *over_tls = raced
    longer = seconds(plain.taken["telemetry"]).minus(seconds(plain.taken["ours"]))
    links = (
        f"Plain and TLS rows are of different servers, {plain.server}, which is built without TLS, and\n"
        f"{over_tls[0].server}: they do not compare with each other."
        if over_tls
        else f"{TLS} is not installed here, so nothing was measured over TLS."
    )
    return f"""\
{backlog.count:,} five-field tweets, all pending and idle, on one server; each run in a process of its own, at
default settings. Ours is `App.run()` with everything on: lease, circuit, history, order, refunds, retries, page
sizes. Baseline is the first article's algorithm in Python as published: list everything, claim everything, one
task for each entry that does HSET and then XACK (redis.asyncio with hiredis). {AT_ONCE} of its tasks are at work at
once, the others wait for a semaphore: go-redis, which the article's program uses, has a pool of ten connections for
each processor, so {AT_ONCE} here. The third is one Lua script a page that finds, claims, stores and acknowledges inside
the server. After every run each hash is compared with its tweet, and nothing may be pending.

The second table shows what the commands sent cost the server: the seconds of the processor that its process had from
before the run to its end, as Linux counts them. One core has no more to give; so that is the limit of these commands,
whoever sends them. The difference is the time in which the server waited for us. The bare client sends the commands of
ours from one blocking socket, and does nothing else: its time of our processor is what Python takes to read the replies
and to pack the commands. It waits for each answer, so it is no faster. What ours takes beyond that goes into order
keys, lanes, claims and deadlines, asyncio and redis-py's connections, in many small parts (docs/why.md).

With telemetry on, a run took {longer.show(".2f")} s longer than the one without in its round: it is its
process's first, which imports what posts, and it ends when its telemetry is posted. Of the stream with deletions the
newest entry was deleted, so any pending one may be, and each is looked for before it is claimed.

{links}"""


def version_field(sizes: Sizes, say: Say) -> Section:
    """What it costs that an older entry never overwrites a newer one."""
    backlog = Backlog(sizes.entries)
    say("HASH_VERSION_FIELD off and on")
    with Bed.on(PLAIN) as bed:
        envs = {"ours": bed.env(backlog), "versioned": bed.env(backlog, HASH_VERSION_FIELD=VERSION_FIELD)}
        taken = race(bed, backlog, {name: Contender(env) for name, env in envs.items()}, sizes.rounds, say)
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
