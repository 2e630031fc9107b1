"""The backlog that broke the monitor: a million pending entries are drained while live consumers go on working."""

import asyncio
import sys
import time
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.backlog import DISTINCT, Backlog, as_dict, entry_id, key, tweet
from bench.bed import AT_ONCE, GROUP, LONG_MS, PLAIN, SLOW_US, Bed
from dev.child import Child
from experiments.hosted import ROOT, Hosted, bare_env
from experiments.live import EACH_SEC
from experiments.progress import say
from experiments.result import Chart, Claim, Result, Size, Table
from reclaim.keys import Keys
from reclaim.run.history import History

TITLE = "The backlog that broke the monitor"
DEAD, LIVE = ("pod-1", "pod-2", "pod-3", "pod-4"), ("live-1", "live-2")
STREAM = Backlog(1).names[0]
BEFORE, DURING, AFTER = "before the drain", "during the drain", "after the drain"
PHASES = (BEFORE, DURING, AFTER)
TIMES, AT_MOST_MS = 3.0, 20.0  # of the 99th percentile before; or so much
LEVEL = 1.15  # how much more memory the app may have at the most than after its first run
LEVEL_MB = 8.0
OVER_BUDGET_SEC = 1.0
LONGEST_DRAIN_SEC = 400.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything.

    Attributes:
        entries: that are pending.
        quiet_sec: how long the live consumers work alone, before the drain and after it.
        budget_sec: RUN_BUDGET_SEC.
        tick_sec: how often the timer ticks.
        bin_sec: for how long the charts take percentiles together.
    """

    entries: int
    quiet_sec: float
    budget_sec: int
    tick_sec: int
    bin_sec: float


SCALES = {Size.QUICK: Scale(40_000, 2, 1, 2, 0.5), Size.FULL: Scale(1_000_000, 15, 10, 12, 1)}


@dataclass(frozen=True, slots=True)
class Run:
    """A run's report, as far as it matters here."""

    outcome: str
    seconds: float
    acknowledged: int
    others: Mapping[str, int]  # what else became of entries: parked, lost, failed and so on, where not 0


@dataclass(frozen=True, slots=True)
class Found:
    """What was found.

    Attributes:
        backlog: how many entries dead consumers had pending.
        added, handled: by the live producer, and by the live consumers.
        runs: the runs of the drain, oldest first.
        pending, dead, lost: at the end.
        missing, wrong, beyond: hashes that are not there, that differ from their entry, that nobody produced.
        p50_ms, p99_ms: by phase, from the planned moment to the acknowledgement.
        rate: by phase, entries that live consumers handled in a second.
        memory: seconds after the start of the drain, and MB of the app's process.
    """

    backlog: int
    added: int
    handled: int
    runs: Sequence[Run]
    budget_sec: float
    pending: int
    dead: int
    lost: int
    missing: int
    wrong: int
    beyond: int
    p50_ms: Mapping[str, float]
    p99_ms: Mapping[str, float]
    rate: Mapping[str, float]
    memory: Sequence[tuple[float, float]]


def claims(found: Found) -> list[Claim]:
    """What the experiment was to show."""
    settled = sum(run.acknowledged for run in found.runs)
    others = sum((Counter(run.others) for run in found.runs), Counter[str]())
    cut = sum(run.outcome == "out_of_time" for run in found.runs)
    longest = max((run.seconds for run in found.runs), default=0.0)
    before, during = found.p99_ms[BEFORE], found.p99_ms[DURING]
    first, most = _levels(found.memory)
    slowest = min(found.rate.values())
    return [
        Claim(
            "Runs acknowledge each entry of the backlog once, and none of the live consumers'.",
            settled == found.backlog and not others,
            f"{settled:,} of {found.backlog:,}{f', and {dict(others)}' if others else ''}",
        ),
        Claim(
            "Nothing is pending at the end, dead or lost.",
            not (found.pending or found.dead or found.lost),
            f"{found.pending:,} pending, {found.dead:,} dead letters, {found.lost:,} lost",
        ),
        Claim(
            "Each entry's hash is there, and holds what was produced; there is no other hash.",
            not (found.missing or found.wrong or found.beyond),
            f"{found.missing:,} missing, {found.wrong:,} wrong, {found.beyond:,} beyond",
        ),
        Claim(
            "The live consumers handle all that the live producer adds.",
            found.added == found.handled > 0,
            f"{found.handled:,} of {found.added:,}",
        ),
        Claim(
            f"They go on at {EACH_SEC:,} entries a second, within a tenth, in each phase.",
            slowest >= 0.9 * EACH_SEC,
            f"{slowest:,.0f} a second in the slowest phase",
            is_of_time=True,
        ),
        Claim(
            f"Their 99th percentile during the drain is at most {TIMES:g} × that before, or {AT_MOST_MS:g} ms.",
            during <= max(TIMES * before, AT_MOST_MS),
            f"{during:.1f} ms; {before:.1f} ms before",
            is_of_time=True,
        ),
        Claim(
            "No run takes longer than its budget, and the backlog takes several.",
            longest <= found.budget_sec + OVER_BUDGET_SEC and cut > 0,
            f"the longest {longest:.1f} s of {found.budget_sec:g} s; {cut} of {len(found.runs)} runs stopped in time",
            is_of_time=True,
        ),
        Claim(
            f"The app's memory stays level: at most {LEVEL - 1:.0%} or {LEVEL_MB:g} MB more than in the first third.",
            most <= max(first * LEVEL, first + LEVEL_MB),
            f"{first:.0f} MB in the first third, {most:.0f} MB at the most after it",
        ),
    ]


def _levels(memory: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The most memory in the first third of the drain, and after it."""
    third = len(memory) // 3 or 1
    head, tail = memory[:third], memory[third:] or memory
    return max(mb for _, mb in head), max(mb for _, mb in tail)


# --- how it is done --------------------------------------------------------------------------------------------------


class _Live:
    """The live producer and its consumers, each a process of its own."""

    def __init__(self, port: int, first: int, directory: Path) -> None:
        words = [sys.executable, "-m", "experiments.live"]
        place = [str(port), STREAM, GROUP]
        self._files = [directory / name for name in ("added", *LIVE)]
        whats = [("produce", str(first)), *(("consume", name) for name in LIVE)]
        self._commands: list[list[str | Path]] = [
            [*words, what, *place, who, file] for (what, who), file in zip(whats, self._files, strict=True)
        ]
        self._children = [Child(file.with_suffix(".log")) for file in self._files]

    def start(self) -> None:
        for child, command in zip(self._children, self._commands, strict=True):
            child.start(command, {**bare_env(), "PYTHONPATH": str(ROOT)})

    def stop(self, settle_sec: float) -> None:
        """Stop the producer; the consumers a while later, when they have handled the rest."""
        for at, child in enumerate(self._children):
            if not child.is_running:
                raise RuntimeError(f"a live program ended by itself: {child.log[-2000:]}")
            child.end()
            if at == 0:
                time.sleep(settle_sec)

    def added(self) -> int:
        return int(self._files[0].read_text(encoding="utf-8"))

    def taken(self) -> list[tuple[float, float]]:
        """When each entry was acknowledged, and how many seconds after its planned moment; in order."""
        flat = array("d")
        for file in self._files[1:]:
            flat.frombytes(file.read_bytes())
        return sorted(zip(flat[::2], flat[1::2], strict=True))


@dataclass(slots=True)
class _Clock:
    """The moments of the experiment, in seconds of the machine's monotonic clock."""

    began: float = 0.0
    drain: float = 0.0
    drained: float = 0.0
    over: float = 0.0


async def experiment(size: Size) -> Result:
    """Do it, on a server of its own."""
    return await asyncio.to_thread(_experiment, SCALES[size])


def _experiment(scale: Scale) -> Result:
    with ExitStack() as stack:
        bed = stack.enter_context(Bed.on(PLAIN))
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="backlog-")))
        _fill(bed, Backlog(scale.entries))
        say(f"  {scale.entries:,} entries are pending")
        live = _Live(bed.server.port, scale.entries, directory)
        app = Hosted(_env(bed, scale), directory / "app.log")
        stack.callback(app.kill)
        live.start()
        clock, pending, memory = _phases(bed, app, scale)
        live.stop(settle_sec=1.0)
        say(f"  drained in {clock.drained - clock.drain:.0f} s; every hash is looked at")
        slow = bed.slow_commands()  # before we look at a million hashes ourselves
        found = _look(bed, scale, live, clock, memory)
        return _result(scale, found, live.taken(), clock, pending, slow)


def _fill(bed: Bed, backlog: Backlog) -> None:
    """Put the backlog on the server, and let dead consumers hold it, each a part."""
    bed.put(backlog)
    for first in range(0, backlog.count, AT_ONCE):
        ids = [entry_id(number) for number in range(first, min(first + AT_ONCE, backlog.count))]
        name = DEAD[first // AT_ONCE % len(DEAD)]
        options = ("IDLE", LONG_MS, "RETRYCOUNT", 1, "FORCE", "JUSTID")
        bed.send([("XCLAIM", STREAM, GROUP, name, 0, *ids, *options)])
    bed.send([("SLOWLOG", "RESET")])


def _settings(scale: Scale) -> dict[str, str]:
    return {
        "STREAM_NAME": STREAM,
        "STREAM_CONSUMER_GROUP_NAME": GROUP,
        "RECLAIM_SCHEDULE": f"*/{scale.tick_sec} * * * * *",
        "RUN_BUDGET_SEC": str(scale.budget_sec),
    }


def _env(bed: Bed, scale: Scale) -> dict[str, str]:
    return {**bare_env(), "REDIS_HOST": bed.server.address, "REDIS_TLS": "false", **_settings(scale)}


def _phases(bed: Bed, app: Hosted, scale: Scale) -> tuple[_Clock, list[tuple[float, float]], list[tuple[float, float]]]:
    """Live work alone, the drain, live work alone; the backlog and the app's memory meanwhile."""
    clock, pending, memory = _Clock(), [], []
    _until_live(bed)
    clock.began = time.monotonic()
    time.sleep(scale.quiet_sec)
    clock.drain = time.monotonic()
    app.start()
    while (left := _left(bed)) and time.monotonic() - clock.drain < LONGEST_DRAIN_SEC:
        pending.append((time.monotonic() - clock.began, float(left)))
        memory.append((time.monotonic() - clock.drain, app.memory_mb()))
        time.sleep(scale.bin_sec / 2)
    clock.drained = time.monotonic()
    pending.append((clock.drained - clock.began, float(_left(bed))))
    app.stop()
    time.sleep(scale.quiet_sec)
    clock.over = time.monotonic()
    return clock, pending, memory


def _until_live(bed: Bed) -> None:
    """Wait until each live consumer has handled something: the programs take a while to start."""
    while True:
        (consumers,) = bed.send([("XINFO", "CONSUMERS", STREAM, GROUP)])
        if len({as_dict(flat)[b"name"] for flat in consumers} & {name.encode() for name in LIVE}) == len(LIVE):
            time.sleep(1.0)  # and until what waited for them is done
            return
        time.sleep(0.05)


def _left(bed: Bed) -> int:
    """How many entries are pending that are not a live consumer's."""
    (summary,) = bed.send([("XPENDING", STREAM, GROUP)])
    return sum(int(count) for name, count in summary[3] or () if name.decode() not in LIVE)


def _look(bed: Bed, scale: Scale, live: _Live, clock: _Clock, memory: Sequence[tuple[float, float]]) -> Found:
    keys, added, taken = Keys.of(STREAM.encode(), GROUP.encode()), live.added(), live.taken()
    summary, dead, lost, runs, size, *ours = bed.send(
        [
            ("XPENDING", STREAM, GROUP),
            ("XLEN", keys.dead),
            ("XLEN", keys.lost),
            ("XRANGE", keys.runs, "-", "+"),
            ("DBSIZE",),
            *(("EXISTS", one) for one in (keys.dead, keys.lost, keys.runs, keys.seen, keys.totals, keys.tries)),
            *(("EXISTS", one) for one in (keys.circuit, keys.failures, keys.lease, keys.audit, STREAM)),
        ]
    )
    missing, wrong = _hashes(bed, scale.entries + added)
    hashes = size - sum(ours)
    return Found(
        backlog=scale.entries,
        added=added,
        handled=len(taken),
        runs=[_run(report) for _, report in History.read(runs)],
        budget_sec=scale.budget_sec,
        pending=summary[0],
        dead=dead,
        lost=lost,
        missing=missing,
        wrong=wrong,
        beyond=hashes - (scale.entries + added - missing),
        p50_ms={phase: 1000 * _percentile(some, 50) for phase, some in _by_phase(taken, clock).items()},
        p99_ms={phase: 1000 * _percentile(some, 99) for phase, some in _by_phase(taken, clock).items()},
        rate={phase: len(some) / _seconds(clock)[phase] for phase, some in _by_phase(taken, clock).items()},
        memory=memory,
    )


def _run(report: Mapping[str, object]) -> Run:
    names = ("superseded", "parked", "failed", "retried", "held", "lost", "lost_at_most", "taken")
    others = {name: int(str(report[name])) for name in names if report[name]}
    return Run(str(report["outcome"]), float(str(report["seconds"])), int(str(report["acknowledged"])), others)


def _hashes(bed: Bed, count: int) -> tuple[int, int]:
    """How many of the hashes are missing, and how many are not what was produced."""
    missing = wrong = 0
    texts = [as_dict(tweet(number)) for number in range(min(count, DISTINCT))]
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        for number, flat in zip(numbers, bed.send(("HGETALL", key(one)) for one in numbers), strict=True):
            held = as_dict(flat)
            held.pop(b"planned", None)
            missing += not held
            produced = {**texts[number % DISTINCT], b"id": key(number).removeprefix(b"tweet:")}
            wrong += bool(held) and held != produced
    return missing, wrong


def _seconds(clock: _Clock) -> dict[str, float]:
    return dict(
        zip(PHASES, (clock.drain - clock.began, clock.drained - clock.drain, clock.over - clock.drained), strict=True)
    )


def _by_phase(taken: Sequence[tuple[float, float]], clock: _Clock) -> dict[str, list[float]]:
    ends = (
        (BEFORE, clock.began, clock.drain),
        (DURING, clock.drain, clock.drained),
        (AFTER, clock.drained, clock.over),
    )
    return {phase: [took for at, took in taken if since <= at < until] for phase, since, until in ends}


def _percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


# --- what there is to say --------------------------------------------------------------------------------------------


def _result(
    scale: Scale,
    found: Found,
    taken: Sequence[tuple[float, float]],
    clock: _Clock,
    pending: Sequence[tuple[float, float]],
    slow: Sequence[tuple[int, str]],
) -> Result:
    rows = [[phase, found.rate[phase], found.p50_ms[phase], found.p99_ms[phase]] for phase in PHASES]
    runs = [[at, run.outcome, run.seconds, run.acknowledged] for at, run in enumerate(found.runs, 1)]
    marks = [(clock.drain - clock.began, "timer on"), (clock.drained - clock.began, "drained")]
    lines = {f"{percent}th percentile": _line(taken, clock.began, scale.bin_sec, percent) for percent in (50, 99)}
    seconds = "seconds"
    return Result(
        _text(scale, slow),
        claims(found),
        [
            Table("Live consumers", ["", "entries/s", "p50, ms", "p99, ms"], rows),
            Table("Runs of the drain", ["run", "outcome", "seconds", "acknowledged"], runs),
        ],
        [
            Chart("backlog-latency", "A live entry, until it is acknowledged", seconds, "ms", lines, marks),
            Chart("backlog-pending", "Entries pending from dead consumers", seconds, "entries", {"": pending}, marks),
            Chart(
                *("backlog-memory", "Memory of the app's process", f"{seconds} of the drain", "MB"),
                {"": list(found.memory)},
            ),
        ],
    )


def _line(
    taken: Sequence[tuple[float, float]], began: float, bin_sec: float, percent: int
) -> list[tuple[float, float]]:
    bins: dict[int, list[float]] = {}
    for at, took in taken:
        if at >= began:
            bins.setdefault(int((at - began) / bin_sec), []).append(took)
    return [(at * bin_sec, 1000 * _percentile(some, percent)) for at, some in sorted(bins.items())]


def _text(scale: Scale, slow: Sequence[tuple[int, str]]) -> str:
    settings = ", ".join(f"`{name}={value}`" for name, value in _settings(scale).items())
    noted = "\n".join(f"- {us / 1000:.1f} ms: `{command}`" for us, command in slow[:5])
    said = f"It noted {len(slow)}, the latest of them:\n\n{noted}" if slow else "It noted none."
    return f"""\
The monitor of the first article reclaims nothing where 1,000,000 entries are pending. Here {scale.entries:,} entries
of {len(DEAD)} dead consumers are pending when the timer is switched on. A run has {scale.budget_sec} seconds, and the
timer ticks every {scale.tick_sec} seconds. All the time a producer adds {EACH_SEC:,} entries a second to the same
stream, and {len(LIVE)} consumers of the same group store and acknowledge them. A live entry's time counts from the
moment for which it was planned until its acknowledgement is answered, so that a late producer hides nothing. Server,
app, producer and consumers are processes of their own that share this machine's processors; in production they would
not. Settings: {settings}; all others have their defaults.

SLOWLOG notes commands that take longer than {SLOW_US // 1000} ms by the clock, whoever had the processor meanwhile.
{said}"""
