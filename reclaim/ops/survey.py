"""Owns the survey: every stream and group of a server, worst first. It needs an address only, and changes nothing.

It looks at all keys, in commands that are bounded: SCAN on every node, then a few questions for each group. A large
keyspace takes many commands, and none that keeps the server long.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from reclaim.entry import by_name
from reclaim.keys import is_ours
from reclaim.names import written
from reclaim.settings import Settings
from reclaim.state.ask import Ask, Command, Reply, checked, raised
from reclaim.state.connection import Server
from reclaim.state.consumers import MAX_LISTED, Consumer, list_of
from reclaim.state.streams import GROUPS_AT_ONCE, SCAN_COUNT

LOOKS_DEAD_MS = 600_000  # a consumer with pending entries that has asked for nothing for so long
SAMPLE = 10  # pending entries, those with the smallest IDs: how long idle, and whether they are there
AT_ONCE = 50  # groups that one round trip asks about
KEPT = 2_000  # groups that are remembered, the worst
IN_SNIPPET = 20
_NAME = "survey"  # the settings want a target; none is touched


class _Group(NamedTuple):
    """What is known of a group before a closer look."""

    stream: bytes
    name: bytes
    length: int
    consumers: int
    pending: int


@dataclass(frozen=True, slots=True)
class SurveyedGroup:
    """A group of a stream.

    Attributes:
        length: how many entries the stream has.
        pending: how many entries are pending.
        oldest_idle_ms: the longest idle time among the SAMPLE pending entries with the smallest IDs.
        consumers: how many there are.
        dead_consumers: how many of them have pending entries and have been idle for LOOKS_DEAD_MS; None if they are
            too many to be listed.
        held_by_dead: how many entries those have.
        sampled: how many pending entries were looked for in the stream.
        deleted: how many of those are not there any more.
    """

    stream: str
    group: str
    length: int
    pending: int
    oldest_idle_ms: int
    consumers: int
    dead_consumers: int | None
    held_by_dead: int
    sampled: int
    deleted: int

    @property
    def badness(self) -> tuple[int, int, int, int]:
        """What the worst have most of."""
        return (self.held_by_dead, self.deleted, self.oldest_idle_ms, self.pending)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a server has.

    Attributes:
        streams: how many streams were met.
        groups: how many groups they have.
        pending: how many entries are pending in all of them.
        worst: the groups, the worst first; at most KEPT.
        targets: RECLAIM_TARGETS for the worst that have something pending; empty if none has.
    """

    address: str
    streams: int
    groups: int
    pending: int
    worst: Sequence[SurveyedGroup]
    targets: str


def settings_of(env: Mapping[str, str]) -> Settings:
    """What says where the server is, without any target.

    Raises:
        SettingsError: the address is missing or bad.
    """
    connection = {name: value for name, value in env.items() if name.startswith(("REDIS_", "IDENTITY_", "MSI_"))}
    return Settings.from_env(connection | {"STREAM_NAME": _NAME, "STREAM_CONSUMER_GROUP_NAME": _NAME})


async def survey(server: Server) -> Survey:
    """Look at every stream and group of a server, or of all nodes of a cluster.

    Raises:
        ServerError, redis.exceptions.RedisError: Redis cannot be used, or refuses SCAN.
    """
    streams = groups = pending = 0
    worst: list[SurveyedGroup] = []
    async for names in _streams(server):
        streams += len(names)
        pairs = [pair async for pair in _groups(server, names)]
        groups += len(pairs)
        for few in _bounded(pairs):
            some = await _looked_at(server, few)
            pending += sum(one.pending for one in some)
            by_name = sorted([*worst, *some], key=lambda one: (one.stream, one.group))
            worst = sorted(by_name, key=lambda one: one.badness, reverse=True)[:KEPT]
    return Survey(server.address, streams, groups, pending, worst, _snippet(worst))


async def _streams(server: Server) -> AsyncIterator[Sequence[bytes]]:
    """The names of all streams but our own keys, some at a time; SCAN may give one twice."""
    for node in await server.nodes():
        cursor, met = "0", set[bytes]()
        while True:
            command: Command = ("SCAN", cursor, "COUNT", SCAN_COUNT, "TYPE", "stream")
            (reply,) = raised(await server.batch_at(node, [command]))
            cursor, names = reply[0].decode(), [one for one in dict.fromkeys(reply[1]) if one not in met]
            met.update(names)
            yield [name for name in names if not is_ours(name)]
            if cursor == "0":
                break


async def _groups(server: Server, streams: Sequence[bytes]) -> AsyncIterator[_Group]:
    """Each group of the streams."""
    for at in range(0, len(streams), GROUPS_AT_ONCE // 2):
        some = streams[at : at + GROUPS_AT_ONCE // 2]
        asks: list[Command] = [ask for one in some for ask in (("XINFO", "GROUPS", one), ("XLEN", one))]
        replies = await server.batch(asks)
        for stream, found, length in zip(some, replies[::2], replies[1::2], strict=True):
            if isinstance(found, ResponseError) or isinstance(length, ResponseError):  # it has gone meanwhile
                continue
            for facts in map(by_name, raised([found])[0]):
                consumers, pending = int(facts[b"consumers"]), int(facts[b"pending"])
                yield _Group(stream, facts[b"name"], int(raised([length])[0]), consumers, pending)


def _bounded(groups: Sequence[_Group]) -> Iterator[Sequence[_Group]]:
    """The groups, as many at a time as one round trip may ask about: its commands are run one right after another."""
    some, consumers = list[_Group](), 0
    for one in groups:
        listed = one.consumers if one.consumers <= MAX_LISTED else 0
        if some and (len(some) == AT_ONCE or consumers + listed > MAX_LISTED):
            yield some
            some, consumers = [], 0
        some.append(one)
        consumers += listed
    if some:
        yield some


async def _looked_at(server: Server, groups: Sequence[_Group]) -> list[SurveyedGroup]:
    asks: list[Ask[Any]] = []
    for one in groups:
        rows = Ask.one(("XPENDING", one.stream, one.name, "-", "+", SAMPLE), list)
        asks += [list_of(one.stream, one.name, one.consumers).or_error(), rows.or_error()]
    answers = await server.ask(*asks)
    known = [
        (one, consumers, rows)
        for one, consumers, rows in zip(groups, answers[::2], answers[1::2], strict=True)
        if not (_has_gone(consumers) or _has_gone(rows))
    ]
    looks: list[Command] = [("XRANGE", one.stream, row[0], row[0]) for one, _, rows in known for row in rows]
    there = iter(raised(await server.batch(looks)) if looks else [])
    return [_surveyed(one, consumers, rows, there) for one, consumers, rows in known]


def _has_gone(answer: Any) -> bool:
    """Whether the answer says that the group is not there any more; any other error than the server's is raised."""
    if isinstance(answer, ResponseError):
        return True
    checked(answer)
    return False


def _surveyed(
    group: _Group, consumers: Sequence[Consumer] | None, rows: Sequence[Any], there: Iterator[Reply]
) -> SurveyedGroup:
    dead = [one for one in consumers or () if one.pending and one.idle_ms >= LOOKS_DEAD_MS]
    return SurveyedGroup(
        stream=written(group.stream),
        group=written(group.name),
        length=group.length,
        pending=group.pending,
        oldest_idle_ms=max((int(row[2]) for row in rows), default=0),
        consumers=group.consumers,
        dead_consumers=None if consumers is None else len(dead),
        held_by_dead=sum(one.pending for one in dead),
        sampled=len(rows),
        deleted=sum(not next(there) for _ in rows),
    )


def _snippet(worst: Sequence[SurveyedGroup]) -> str:
    """RECLAIM_TARGETS for these: a plain star in a name is written with a backslash, because a star is a pattern."""
    targets = [
        {"stream": one.stream.replace("*", r"\*"), "group": one.group.replace("*", r"\*")}
        for one in worst
        if one.pending
    ]
    return json.dumps(targets[:IN_SNIPPET]) if targets else ""
