"""Measures the handlers that move entries against the hash, in turn; every copy is compared with its tweet."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.backlog import Backlog
from bench.bed import GROUP, PLAIN, Bed
from bench.measuring import Taken, cpu_sec, measure, seconds, turns
from bench.section import Goal, Say, Section, Sizes, Table

ELSEWHERE = "elsewhere"  # the stream that is forwarded to


@dataclass(frozen=True, slots=True)
class _Handler:
    """One that takes part: its settings, and how to see that a run of it did what it should."""

    settings: dict[str, str]
    check: Callable[[Bed, Backlog], None]


def _check_requeued(bed: Bed, backlog: Backlog) -> None:
    bed.check_copies(backlog, backlog.names[0], behind=True, more={b"reclaim:requeues": lambda _: b"1"})


def _check_forwarded(bed: Bed, backlog: Backlog) -> None:
    stream, group = backlog.names[0].encode(), GROUP.encode()
    origin = {b"reclaim:stream": lambda _: stream, b"reclaim:group": lambda _: group, b"reclaim:id": lambda one: one}
    bed.check_copies(backlog, ELSEWHERE, behind=False, more=origin | {b"reclaim:deliveries": lambda _: b"2"})


HANDLERS = {
    "hash": _Handler({}, Bed.check),
    "requeue": _Handler({"HANDLER": "requeue"}, _check_requeued),
    "forward": _Handler({"HANDLER": "forward", "FORWARD_STREAM": ELSEWHERE}, _check_forwarded),
}


def moves(sizes: Sizes, say: Say) -> Section:
    """How fast entries are requeued and forwarded."""
    backlog = Backlog(sizes.entries)
    taken: dict[str, list[Taken]] = {name: [] for name in HANDLERS}
    with Bed.on(PLAIN) as bed:
        say(f"requeue and forward, {bed.version()}")
        for at, name in turns(sizes.rounds, HANDLERS):
            bed.fill(backlog)
            one = measure(bed.env(backlog) | HANDLERS[name].settings)
            HANDLERS[name].check(bed, backlog)
            taken[name].append(one)
            say(f"  {at}/{sizes.rounds} {name}: {backlog.count / one.seconds[0]:,.0f} entries/s")
    rates = {name: seconds(some).per(backlog.count) for name, some in taken.items()}
    rows, goals = [["HANDLER", "entries/s", "of our processor, µs an entry", "of the hash"]], []
    for name, some in taken.items():
        part, cpu = rates[name].over(rates["hash"]), cpu_sec(some).times(1e6 / backlog.count)
        rows.append([name, rates[name].show(), cpu.show(".1f"), part.show(".0%")])
        if name != "hash":
            goals.append(Goal(f"speed with HANDLER={name}", "≥ 60 % of the hash", part.show(".0%"), part.median >= 0.6))
    return Section("Requeue and forward", _text(backlog), [Table(rows)], goals)


def _text(backlog: Backlog) -> str:
    return f"""\
{backlog.count:,} five-field tweets, all pending and idle; each run in a process of its own, at default settings but for
`HANDLER`. Requeue adds each entry to the end of its own stream, forward to another stream. After every run each copy is
compared with its tweet, each entry has one, and nothing may be pending."""
