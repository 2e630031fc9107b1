"""Measures what an operator waits for: searches among many dead letters, and the start of a command."""

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

from bench.backlog import Backlog
from bench.bed import GROUP, PLAIN, SLOW_US, Bed, CheckFailed
from bench.measuring import ROOT, Sample, turns
from bench.section import Goal, Say, Section, Sizes, Table
from dev.many import FIRST_MS, letters
from reclaim.app import App
from reclaim.keys import Keys
from reclaim.ops import letter_acts, letter_looks
from reclaim.settings import Settings
from reclaim.state.audit import Actor
from reclaim.state.letter_filter import LetterFilter

FIRST_MATCH_SEC, START_SEC = 1.0, 0.4
RARE = "number 77,"  # one dead letter's text; of the newest first, almost the last
WHO = Actor("the benchmark")
# Each command that takes so long. With 0, what scripts call would be noted too, and that makes the scripts slow.
NOTED_US = 500
OWN = {b"CONFIG", b"SLOWLOG"}  # of the benchmark itself: to empty a long SLOWLOG takes long


def _check(found: bool) -> None:  # noqa: FBT001  # it reads as a sentence
    if not found:
        raise CheckFailed("an answer about dead letters does not hold what it should")


Look = Callable[[App, int], Awaitable[object]]


async def _first_page(app: App, _: int) -> None:
    _check(bool((await letter_looks.list_dead_letters(app, newest_first=True, limit=50)).letters))


async def _first_matches(app: App, count: int) -> None:
    """The first answer of a search: it says how far it has looked, and a page goes on from there."""
    wanted = LetterFilter(text=f"number {count - 77},")
    _check(bool((await letter_looks.list_dead_letters(app, newest_first=True, wanted=wanted, limit=50)).letters))


async def _rarest(app: App, _: int) -> None:
    page = await letter_looks.list_many_dead_letters(app, newest_first=True, wanted=LetterFilter(text=RARE), limit=1)
    _check(bool(page.letters))


async def _first_groups(app: App, _: int) -> None:
    _check(bool((await letter_looks.group_dead_letters(app, newest_first=True)).groups))


async def _groups(app: App, count: int) -> None:
    found = [one async for one in letter_looks.group_all_dead_letters(app)]
    _check(bool(sum(group.count for group in found[-1].groups) == count))


async def _of_an_entry(app: App, _: int) -> None:
    _check(bool((await letter_looks.show_dead_letters(app, [b"%d-0" % (FIRST_MS - 60_000)])).letters))


async def _dry_run(app: App, _: int) -> None:
    done = await letter_acts.replay_dead_letters(app, None, wanted=LetterFilter(reason="failed"), dry_run=True)
    _check(bool(done.report.chosen))


async def _discard(app: App, count: int) -> None:
    done = await letter_acts.discard_dead_letters(app, None, wanted=LetterFilter(reason="failed"), by=WHO, why="bench")
    _check(bool(done.discarded == count // 2))


# What is asked, in this order: the last one changes what the others find. True: somebody waits for it as for a page.
LOOKS: Mapping[str, tuple[Look, bool]] = {
    "the newest page": (_first_page, True),
    "the first answer of a search by text": (_first_matches, True),
    "the first answer of the groups": (_first_groups, True),
    "a search by text to the end of the list": (_rarest, False),
    "all groups": (_groups, False),
    "dead letters of an entry's ID": (_of_an_entry, False),
    "a replay's dry run by reason": (_dry_run, False),
    "discard half of them, by reason": (_discard, False),
}
COMMANDS = (["--help"], ["status"])


def workbench(sizes: Sizes, say: Say) -> Section:
    """How long a person waits for dead letters, and for a command."""
    backlog, count = Backlog(1), sizes.slow
    taken: dict[str, list[float]] = {name: [] for name in LOOKS}
    slowest: dict[str, list[float]] = {name: [] for name in LOOKS}
    started: dict[str, list[float]] = {" ".join(command): [] for command in COMMANDS}
    with Bed.on(PLAIN) as bed:
        for at, _ in turns(sizes.rounds, ["all"]):
            bed.fill(backlog)
            keys = Keys.of(backlog.names[0].encode(), GROUP.encode())
            bed.send(letters(keys, count))
            asyncio.run(_ask(bed, Settings.from_env(bed.env(backlog)), count, taken, slowest))
            for command in COMMANDS:
                started[" ".join(command)].append(_start(bed.env(backlog), command))
            say(f"dead letters {at}/{sizes.rounds}: {', '.join(f'{some[-1]:.2f}' for some in taken.values())} s")
        version = bed.version()
    rows = [["asked", "seconds", "longest command, ms"]]
    rows += [[name, Sample(taken[name]).show(".2f"), Sample(slowest[name]).show(".1f")] for name in LOOKS]
    starts = [["command", "processor time, s"]]
    starts += [[f"reclaim {name}", Sample(some).show(".2f")] for name, some in started.items()]
    return Section(
        "An operator's workbench",
        _text(count, version),
        [Table(rows), Table(starts)],
        [*_goals(count, taken, slowest), *_goals_of_starts(started)],
    )


async def _ask(
    bed: Bed, settings: Settings, count: int, taken: dict[str, list[float]], slowest: dict[str, list[float]]
) -> None:
    app = App(settings)
    try:
        for name, (look, _) in LOOKS.items():
            bed.send(
                [("CONFIG", "SET", "slowlog-log-slower-than", 0, "slowlog-max-len", 100_000), ("SLOWLOG", "RESET")]
            )
            began = time.perf_counter()
            await look(app, count)
            taken[name].append(time.perf_counter() - began)
            (found,) = bed.send([("SLOWLOG", "GET", 10_000)])
            noted = [entry[2] for entry in found if entry[3][0].upper() not in OWN]
            slowest[name].append(max(noted, default=NOTED_US) / 1000)
    finally:
        bed.send([("CONFIG", "SET", "slowlog-log-slower-than", SLOW_US)])
        await app.aclose()


def _start(env: Mapping[str, str], command: list[str]) -> float:
    """The processor time of a command, its start and its end included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, "-m", "reclaim", *command]
    subprocess.run(words, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _goals(count: int, taken: Mapping[str, list[float]], slowest: Mapping[str, list[float]]) -> list[Goal]:
    goals = []
    for name, (_, is_waited_for) in LOOKS.items():
        sample = Sample(taken[name])
        if is_waited_for:
            what = f"{name}, {count:,} dead letters"
            goals.append(Goal(what, f"≤ {FIRST_MATCH_SEC:g} s", sample.show(".2f"), sample.median <= FIRST_MATCH_SEC))
    longest = max((Sample(some) for some in slowest.values()), key=lambda one: one.least)
    what = f"longest command, {count:,} dead letters"
    most_ms = SLOW_US / 1000
    return [*goals, Goal(what, f"≤ {most_ms:g} ms", f"{longest.show('.1f')} ms", longest.least <= most_ms)]


def _goals_of_starts(started: Mapping[str, list[float]]) -> list[Goal]:
    samples = {name: Sample(some) for name, some in started.items()}
    return [
        Goal(f"processor time of reclaim {name}", f"≤ {START_SEC:g} s", one.show(".2f"), one.least <= START_SEC)
        for name, one in samples.items()
    ]


def _text(count: int, version: str) -> str:
    return f"""\
{count:,} dead letters of four kinds on {version}, asked for one after another by an app in the same process, with the
longest command as SLOWLOG shows it. Whatever else uses the machine makes it longer, so its goal is for the least of the
rounds: one that is slow by itself is so in each. An answer looks at 20,000 dead letters at most, or for 0.6 s, and says
where to go on: a page waits for that. Below: what a command takes from start to end, in a process of its own."""
