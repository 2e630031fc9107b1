"""Measures a cluster against one plain server of the same kind, in turn; every hash is compared with its tweet."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from bench.backlog import Backlog
from bench.bed import Bed, Command
from bench.measuring import Taken, cpu_sec, measure, seconds, turns
from bench.section import Goal, Say, Section, Sizes, Table
from dev.cluster import KINDS, PRIMARIES, Cluster
from dev.server import available
from reclaim.state.slots import SLOTS, key_of, slot_of

BESIDE = {"EXISTS", "UNLINK"}  # they take many keys, which are in many slots here
NAMES = {
    "plain": "one plain server",
    "three": "three primaries",
    "six": "three primaries with a replica each, `STORE_REPLICAS=0`",
    "replicas": "three primaries with a replica each (`STORE_REPLICAS=auto`, as by default)",
}


class ClusterBed(Bed):
    """A cluster instead of a server: what is sent goes to the primary of its key."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.nodes[0])
        self._beds = [Bed(node) for node in cluster.primaries]

    @classmethod
    @contextmanager
    def of(cls, kind: str, replicas: int) -> Iterator[Self]:
        """A bed on a new cluster whose primaries have so many replicas each."""
        with Cluster(kind, replicas=replicas) as cluster:
            bed = cls(cluster)
            try:
                yield bed
            finally:
                bed.close()

    def close(self) -> None:
        """Close the connections."""
        super().close()
        for bed in self._beds:
            bed.close()

    def env(self, backlog: Backlog, port: int | None = None, **settings: str) -> dict[str, str]:
        """As that of a server, with REDIS_CLUSTER."""
        return super().env(backlog, port, REDIS_CLUSTER="true", **settings)

    def send(self, commands: Iterable[Command]) -> list[Any]:
        """As to a server; what has no key goes to each primary, and the first one's reply counts."""
        all_commands = list(commands)
        replies: list[Any] = [0] * len(all_commands)
        for number, bed in enumerate(self._beds):
            mine = [(at, part) for at, command in enumerate(all_commands) for part in _parts(command, number)]
            for (at, part), reply in zip(mine, Bed.send(bed, (part for _, part in mine)), strict=True):
                is_sum = part[0] in BESIDE
                if is_sum:
                    replies[at] += reply
                elif key_of_any(part) is not None or number == 0:
                    replies[at] = reply
        return replies


def key_of_any(command: Command) -> bytes | None:
    """The key of a command; None also for one that the app never sends."""
    try:
        return key_of(command)
    except LookupError:
        return None


def _parts(command: Command, number: int) -> Iterator[Command]:
    """What a primary gets of a command."""
    if command[0] in BESIDE:
        keys = [key for key in command[1:] if isinstance(key, bytes) and _is_on(key, number)]
        yield from ((command[0], key) for key in keys)
        return
    key = key_of_any(command)
    if key is None or _is_on(key, number):
        yield command


def _is_on(key: bytes, number: int) -> bool:
    first, last = number * SLOTS // PRIMARIES, (number + 1) * SLOTS // PRIMARIES
    return first <= slot_of(key) < last


def cluster(sizes: Sizes, say: Say) -> Section:
    """How fast a cluster is reclaimed, beside one server."""
    backlog = Backlog(sizes.entries)
    kind = next(kind for kind in KINDS if kind in available())
    taken: dict[str, list[Taken]] = {name: [] for name in NAMES}
    with Bed.on(kind) as plain, ClusterBed.of(kind, 0) as three, ClusterBed.of(kind, 1) as six:
        beds: dict[str, tuple[Bed, dict[str, str]]] = {
            "plain": (plain, {}),
            "three": (three, {}),
            "six": (six, {"STORE_REPLICAS": "0"}),
            "replicas": (six, {}),
        }
        say(f"cluster, {plain.version()}")
        for at, name in turns(sizes.rounds, beds):
            bed, settings = beds[name]
            bed.fill(backlog)
            one = measure(bed.env(backlog) | settings)
            bed.check(backlog)
            taken[name].append(one)
            say(f"  {at}/{sizes.rounds} {name}: {backlog.count / one.seconds[0]:,.0f} entries/s")
    rates = {name: seconds(some).per(backlog.count) for name, some in taken.items()}
    rows = [["", "entries/s", "of our processor, µs an entry", "of the plain server"]]
    for name, some in taken.items():
        part, cpu = rates[name].over(rates["plain"]), cpu_sec(some).times(1e6 / backlog.count)
        rows.append([NAMES[name], rates[name].show(), cpu.show(".1f"), part.show(".0%")])
    goals = []
    for name in ("three", "replicas"):
        part = rates[name].over(rates["plain"])
        wanted = "≥ 60 % of one plain server"
        goals.append(Goal(f"speed of a cluster, {NAMES[name]}", wanted, part.show(".0%"), part.median >= 0.6))
    return Section("Cluster", _text(backlog), [Table(rows)], goals)


def _text(backlog: Backlog) -> str:
    return f"""\
{backlog.count:,} five-field tweets of one stream, all pending and idle; each run in a process of its own, at default
settings. The hashes are on all primaries. All nodes share this machine's processors with the app, so each replica takes
time from it that it would not take on a machine of its own. After every run each hash is compared with its tweet, and
nothing may be pending."""
