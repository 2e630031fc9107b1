"""Looks for commands that keep a server from its other work: on each kind of server, at 100,000 pending entries."""

from collections.abc import Callable, Mapping, Sequence

from bench.backlog import Backlog
from bench.bed import PLAIN, SLOW_US, TLS, Bed, Slow
from bench.measuring import Sample, measure, turns
from bench.scale import run_fresh, said_of
from bench.section import Goal, Say, Section, Sizes, Table
from dev.server import available

IDLE, FRESH, DELETED = "idle", "fresh", "idle, newest entry deleted"
CASES = {
    PLAIN: (DELETED,),  # `scale` looks at the others, with more entries
    TLS: (IDLE, FRESH, DELETED),
    "redis-6.2": (IDLE, FRESH),  # it does not tell what was deleted, so it is asked the same with deletions
}
LOOKS = 3  # one tells too little where others use the machine

Looks = Mapping[str, Sequence[Sequence[Slow]]]  # of each case: what was slow, look by look


def slow(sizes: Sizes, say: Say) -> Section:
    """Runs on entries that are idle, fresh, and idle in a stream with deletions; SLOWLOG after each."""
    backlog = Backlog(sizes.slow)
    seen: dict[str, Looks] = {}
    for kind in [kind for kind in CASES if kind in available()]:
        with Bed.on(kind) as bed:
            seen[bed.version()] = looks = _look(bed, backlog, CASES[kind])
            say(f"slow commands at {backlog.count:,}, {bed.version()}: {_counts(looks)}")
    rows = [["slow commands of a run", IDLE, FRESH, DELETED]]
    rows += [
        [server, *(_count(looks[case]) if case in looks else "–" for case in rows[0][1:])]
        for server, looks in seen.items()
    ]
    return Section(
        "Slow commands",
        _text(backlog)
        + said_of([one for looks in seen.values() for some in looks.values() for each in some for one in each]),
        [Table(rows)],
        [_goal(backlog, server, looks) for server, looks in seen.items()],
    )


def _look(bed: Bed, backlog: Backlog, cases: Sequence[str]) -> Looks:
    looks: dict[str, list[list[Slow]]] = {case: [] for case in cases}
    for _, case in turns(LOOKS, cases):
        looks[case].append(_HOW[case](bed, backlog))
    return looks


def _idle(bed: Bed, backlog: Backlog) -> list[Slow]:
    bed.fill(backlog)
    return _run(bed, backlog)


def _fresh(bed: Bed, backlog: Backlog) -> list[Slow]:
    bed.put(backlog)
    return run_fresh(bed, backlog)[1]


def _deleted(bed: Bed, backlog: Backlog) -> list[Slow]:
    bed.fill(backlog)
    bed.delete_newest(backlog)
    return _run(bed, backlog)


_HOW: dict[str, Callable[[Bed, Backlog], list[Slow]]] = {IDLE: _idle, FRESH: _fresh, DELETED: _deleted}


def _run(bed: Bed, backlog: Backlog) -> list[Slow]:
    measure(bed.env(backlog))
    found = bed.slow_commands()
    bed.check(backlog)
    return found


def _count(some: Sequence[Sequence[Slow]]) -> str:
    return Sample([len(each) for each in some]).show()


def _counts(looks: Looks) -> str:
    return "; ".join(f"{case} {_count(some)}" for case, some in looks.items())


def _goal(backlog: Backlog, server: str, looks: Looks) -> Goal:
    reached = all(Sample([len(each) for each in some]).median == 0 for some in looks.values())
    return Goal(f"slow commands at {backlog.count:,}, {server}", "0", _counts(looks), reached)


def _text(backlog: Backlog) -> str:
    return f"""\
{LOOKS} runs of each kind on {backlog.count:,} pending entries: commands that took {SLOW_US // 1000} ms or more, as
SLOWLOG shows them. It goes by the clock, so a command during which somebody else had the processor is shown as well, be
it the HSET of one tweet; one that is slow by itself would be shown in each run. Where the stream's newest entry was
deleted, any pending one may be, and is looked for before it is claimed."""
