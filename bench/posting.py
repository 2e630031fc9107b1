"""Measures HANDLER=http against the HTTP client alone, in turn; each entry must have come to the service once."""

from bench.backlog import Backlog
from bench.bed import PLAIN, Bed, CheckFailed
from bench.measuring import APP, Taken, cpu_sec, helping, measure, seconds, turns
from bench.section import Goal, Say, Section, Sizes, Table
from bench.service import ANSWER_SEC, counted
from dev.server import HOST

LANES = (32, 256)
ALONE = "posts"  # of the contenders
LEAST = 0.8


def posting(sizes: Sizes, say: Say) -> Section:
    """How fast entries are POSTed, at several widths."""
    backlog = Backlog(sizes.posts)
    taken: dict[tuple[str, int], list[Taken]] = {(name, width): [] for width in LANES for name in (ALONE, APP)}
    say(f"a service that answers after {1000 * ANSWER_SEC:.0f} ms")
    with Bed.on(PLAIN) as bed, helping("bench.service") as port:
        url, count = f"http://{HOST}:{port}/entries", str(backlog.count)
        for at, (name, width) in turns(sizes.rounds, taken):
            bed.fill(backlog)
            env = bed.env(backlog, HANDLER="http", HTTP_URL=url, LANES=str(width), BENCH_POSTS=count)
            one = measure(env, name)
            _check(bed, backlog, port, name)
            taken[name, width].append(one)
            say(f"  {at}/{sizes.rounds} LANES {width} {name}: {backlog.count / one.seconds[0]:,.0f} entries/s")
    rates = {one: seconds(some).per(backlog.count) for one, some in taken.items()}
    rows, goals = [["LANES", "", "entries/s", "our processor, µs an entry", "of the client alone"]], []
    for (name, width), some in taken.items():
        part = rates[name, width].over(rates[ALONE, width])
        cpu = cpu_sec(some).times(1e6 / backlog.count)
        label = "HANDLER=http" if name == APP else "the client alone"
        rows.append([str(width), label, rates[name, width].show(), cpu.show(), part.show(".0%")])
        if name == APP:
            wanted = f"≥ {LEAST:.0%} of the client alone"
            goals.append(Goal(f"speed of HANDLER=http, LANES {width}", wanted, part.show(".0%"), part.median >= LEAST))
    return Section("Entries that are POSTed", _text(backlog), [Table(rows)], goals)


def _check(bed: Bed, backlog: Backlog, port: int, name: str) -> None:
    if name == APP:
        bed.check_settled(backlog)
    posts, entries = counted(port)
    if not posts == entries == backlog.count:
        raise CheckFailed(f"{posts} posts of {entries} entries came to the service, and there were {backlog.count}")


def _text(backlog: Backlog) -> str:
    return f"""\
{backlog.count:,} five-field tweets, all pending and idle; each run in a process of its own, at default settings but for
`HANDLER` and `LANES`. The service answers each request after {1000 * ANSWER_SEC:.0f} ms (`bench/service.py`), and every
entry must have come there once. *The client alone* is aiohttp without anything of ours: it sends the same requests, so
many at a time, which are made before. Service, server and app share two processors."""
