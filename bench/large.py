"""Large entries: what they cost the server, command by command, and whether slow links carry them in one run."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.backlog import Backlog
from bench.bed import CONSUMER, GROUP, LONG_MS, PLAIN, Bed, CheckFailed
from bench.measuring import measure, turns
from bench.section import Goal, Say, Section, Sizes, Table
from dev.proxy import ErrorReply, Proxy
from dev.server import HOST, available
from reclaim import handlers
from reclaim.handlers.hash import HashHandler
from reclaim.keys import Template
from reclaim.run.replay import Replay
from reclaim.run.report import Outcome
from reclaim.run.runner import Runner
from reclaim.settings import Settings, Target
from reclaim.state.connection import Server, connect
from reclaim.state.dead_letters import DeadLetters
from reclaim.state.server_time import TIME, unix_ms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MB = 1_000_000
COUNT = 3  # large entries at once, in a look for slow commands
LOOKS = 3  # the least of so many counts, as the clock also counts what others do on the machine
NOTED_US = 500
ALLOWED_MS = {1: 10.0, 10: 50.0}  # G7: 10 ms up to 1 MB; then at most 5 ms for each MB
TARGET = Target(stream="tweets_stream", group=GROUP, retry_attempts=1, retry_max_delay_sec=0.01)
OTHER = "number"  # a field that the target's template does not name: the entry is parked
STEPS = ("claim and store", "keep", "refund", "park", "look", "replay", "requeue")


@dataclass(frozen=True, slots=True)
class Link:
    """A slow link, and what is to pass over it both ways within one run."""

    entries: int
    megabytes: int
    megabytes_per_sec: float

    def __str__(self) -> str:
        many = "one entry" if self.entries == 1 else f"{self.entries} entries"
        return f"{many} of {self.megabytes} MB at {self.megabytes_per_sec:g} MB/s"


LINKS = (Link(25, 5, 12.5), Link(1, 10, 1.1))
QUICK_LINKS = (Link(2, 1, 12.5),)


def large(sizes: Sizes, say: Say) -> Section:
    """SLOWLOG after each step with large entries, on each kind of server; and runs over slow links."""
    is_quick = sizes.slow < Sizes().slow
    kinds = available()[:1] if is_quick else available()
    rows, goals = [["the slowest command, ms", "entry", *STEPS]], []
    for kind in kinds:
        with Bed.on(kind) as bed:
            bed.send([("CONFIG", "SET", "slowlog-log-slower-than", NOTED_US)])
            for megabytes, allowed in list(ALLOWED_MS.items())[: 1 if is_quick else None]:
                slowest = _slowest(bed, megabytes, 1 if is_quick else LOOKS)
                say(f"large entries of {megabytes} MB, {bed.version()}: {slowest}")
                rows.append([bed.version(), f"{megabytes} MB", *(_shown(slowest[step]) for step in STEPS)])
                goals.append(_goal(bed, megabytes, allowed, slowest))
    carried = [["over a slow link, there and back", "seconds", "outcome"]]
    with Bed.on(PLAIN) as bed:
        for link in QUICK_LINKS if is_quick else LINKS:
            seconds, outcome = _carry(bed, link)
            say(f"{link}: {outcome} in {seconds:.1f} s")
            carried.append([str(link), f"{seconds:.1f}", outcome])
            reached = outcome == Outcome.COMPLETED.value
            goals.append(Goal(f"reclaimed in one run: {link}", "completed", f"{outcome}, {seconds:.0f} s", reached))
    return Section("Large entries", TEXT, [Table(rows), Table(carried)], goals)


TEXT = f"""\
What the server is kept from its other work by entries of 1 and of 10 MB, as SLOWLOG shows it: the slowest command of
each step, and the least of {LOOKS} looks, because SLOWLOG goes by the clock. The steps: a run claims and stores {COUNT}
entries; it keeps its claims fresh; it gives them back, because HSET is refused; it makes dead letters of them; a person
lists them; they are replayed; a run requeues them. Then one run, by default settings, over a link that carries so many
bytes a second each way."""

Slowest = dict[str, tuple[float, str]]  # by step: milliseconds, and the command's name


def _slowest(bed: Bed, megabytes: int, looks: int) -> Slowest:
    """The least of all looks, for each step."""
    least: Slowest = {}
    for _, step in turns(looks, STEPS):
        took = asyncio.run(_STEPS[step](bed, megabytes))
        least[step] = min(took, least.get(step, took))
    return least


def _fill(bed: Bed, count: int, size: int, name: str = "id") -> None:
    """Empty the server, and let so many entries be pending, their number in a field of this name."""
    ids = [f"{number}-0" for number in range(1, count + 1)]
    bed.send([("FLUSHALL",), ("XGROUP", "CREATE", TARGET.stream, GROUP, "0", "MKSTREAM")])
    for number, one in enumerate(ids):
        bed.send([("XADD", TARGET.stream, one, name, number, "text", b"x" * size)])
    force = ("IDLE", LONG_MS, "RETRYCOUNT", 1, "FORCE", "JUSTID")
    bed.send([("XCLAIM", TARGET.stream, GROUP, CONSUMER, 0, *ids, *force), ("SLOWLOG", "RESET")])


def _noted(bed: Bed) -> tuple[float, str]:
    """The slowest command that SLOWLOG has noted."""
    noted = [(us / 1000, words.split()[0]) for us, words in bed.slow_commands()]
    return max(noted, default=(NOTED_US / 1000, "none"))


@asynccontextmanager
async def _connected(port: int) -> "AsyncIterator[Server]":
    server = connect(Settings(host=HOST, port=port, targets=(TARGET,), tls=False))
    try:
        yield server
    finally:
        await server.aclose()


def _handler(server: Server, name: str = "id") -> HashHandler:
    return HashHandler(server, Template(f"tweet:{{{name}}}"))


async def _run(port: int, outcome: Outcome = Outcome.COMPLETED, park_misfits: str | None = None) -> None:
    async with _connected(port) as server:
        report = await Runner(TARGET, server, _handler(server)).run(60, park_misfits=park_misfits)
    if report.outcome is not outcome:
        raise CheckFailed(f"the run ended as {report.outcome.value}: {report.reason}")


async def _claim_and_store(bed: Bed, megabytes: int) -> tuple[float, str]:
    _fill(bed, COUNT, megabytes * MB)
    await _run(bed.server.port)
    _check(bed, pending=0, dead=0)
    return _noted(bed)


async def _keep(bed: Bed, megabytes: int) -> tuple[float, str]:
    _fill(bed, COUNT, megabytes * MB)
    async with _connected(bed.server.port) as server:
        runner = Runner(TARGET, server, _handler(server))
        runner.finder.begin(unix_ms(await server.call(*TIME)))
        found = await runner.finder.find(b"-", COUNT, COUNT)
        left = [row.id for row in found.rows]
        bodies = [body for one in left for body in await runner.readers[0].first([one])]
        claimed = await runner.claimer.claim(found, bodies)
        bed.send([("SLOWLOG", "RESET")])
        kept = await runner.refunds.keep(claimed.entries)
        if kept.gone or len(claimed.entries) != COUNT:
            raise CheckFailed(f"{len(claimed.entries)} were claimed, {len(kept.gone)} are gone")
    return _noted(bed)


async def _refund(bed: Bed, megabytes: int) -> tuple[float, str]:
    _fill(bed, COUNT, megabytes * MB)
    with Proxy(bed.server.port) as proxy:
        proxy.when("HSET", ErrorReply("OOM for now"), times=None)
        await _run(proxy.port)
    _check(bed, pending=COUNT, dead=0)
    return _noted(bed)


async def _park(bed: Bed, megabytes: int) -> tuple[float, str]:
    _fill(bed, COUNT, megabytes * MB, OTHER)
    await _run(bed.server.port, park_misfits="the benchmark")
    _check(bed, pending=0, dead=COUNT)
    return _noted(bed)


async def _look(bed: Bed, megabytes: int) -> tuple[float, str]:
    await _park(bed, megabytes)
    bed.send([("SLOWLOG", "RESET")])
    async with _connected(bed.server.port) as server:
        letters = [letter async for some in DeadLetters(server, TARGET).walk() for letter in some]
    if len(letters) != COUNT:
        raise CheckFailed(f"{len(letters)} dead letters were listed")
    return _noted(bed)


async def _replay(bed: Bed, megabytes: int) -> tuple[float, str]:
    await _park(bed, megabytes)
    bed.send([("SLOWLOG", "RESET")])
    async with _connected(bed.server.port) as server:
        report = await Replay(TARGET, server, _handler(server, OTHER)).run()
    if report.replayed != COUNT:
        raise CheckFailed(f"{report.replayed} were replayed")
    return _noted(bed)


async def _requeue(bed: Bed, megabytes: int) -> tuple[float, str]:
    _fill(bed, COUNT, megabytes * MB)
    target = replace(TARGET, handler="requeue")
    async with _connected(bed.server.port) as server:
        report = await Runner(target, server, handlers.make(server, target)).run(60)
    if report.moved != COUNT:
        raise CheckFailed(f"{report.moved} were requeued: {report.reason}")
    _check(bed, pending=0, dead=0)
    return _noted(bed)


_STEPS: dict[str, Callable[[Bed, int], Coroutine[None, None, tuple[float, str]]]] = dict(
    zip(STEPS, (_claim_and_store, _keep, _refund, _park, _look, _replay, _requeue), strict=True)
)


def _check(bed: Bed, *, pending: int, dead: int) -> None:
    summary, letters = bed.send([("XPENDING", TARGET.stream, GROUP), ("XLEN", TARGET.keys.dead)])
    if (summary[0], letters) != (pending, dead):
        raise CheckFailed(f"{summary[0]} are pending, {letters} are dead letters")


def _carry(bed: Bed, link: Link) -> tuple[float, str]:
    """One run of the app over a slow link: how long it took, and its outcome."""
    _fill(bed, link.entries, link.megabytes * MB)
    with Proxy(bed.server.port) as proxy:
        proxy.bytes_per_sec = link.megabytes_per_sec * MB
        taken = measure(bed.env(Backlog(link.entries), proxy.port))
    _check(bed, pending=0, dead=0)
    return taken.seconds[0], taken.outcomes[0]


def _shown(slowest: tuple[float, str]) -> str:
    ms, name = slowest
    return f"{ms:.1f} {name}" if name != "none" else f"under {ms:.1f}"


def _goal(bed: Bed, megabytes: int, allowed_ms: float, slowest: Slowest) -> Goal:
    step, (ms, name) = max(slowest.items(), key=lambda one: one[1])
    what = f"no command takes long with entries of {megabytes} MB, {bed.version()}"
    return Goal(what, f"at most {allowed_ms:g} ms", f"{ms:.1f} ms: {name} ({step})", ms <= allowed_ms)
