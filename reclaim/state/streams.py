"""Owns `reclaim:streams`: which streams and groups the patterns of RECLAIM_TARGETS have found, for all instances.

Finding them takes a pass over all keys (SCAN), in steps: a tick looks at KEYS_AT_ONCE keys at most, and the next one
goes on where it stopped. It is one hash:

    format               the version of this format
    pass                 the number of the last pass
    cursors              while a pass is under way: where it stands on each node, as JSON
    ended_ms             when the last pass ended, Unix ms by the server's clock
    version              changes whenever pairs come or go
    p:<length>:<names>   a stream and a group, and in which pass they were seen last; the length is the stream's

A pair that a pass did not meet is removed at the pass's end.
"""

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from redis.exceptions import ResponseError

from reclaim.entry import by_name
from reclaim.state.ask import Command, Reply, raised
from reclaim.state.connection import Server
from reclaim.state.formats import FIELD, FORMAT
from reclaim.state.server_time import TIME, unix_ms

KEY = b"reclaim:streams"
KEYS_AT_ONCE = 50_000  # keys that one tick looks at
SCAN_COUNT = 1_000  # keys that one SCAN looks at: 1 ms
GROUPS_AT_ONCE = 500  # streams whose groups one round trip asks for
WRITE_AT_ONCE = 500
MAX_PAIRS = 100_000
MAX_DIGITS = 18  # of a number that is ours
DONE = "done"

logger = logging.getLogger("reclaim")

Pair = tuple[bytes, bytes]  # a stream and a group
Wanted = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the search stands.

    Attributes:
        number: of the last pass; 0 before the first.
        cursors: while a pass is under way, where it goes on, by the node's name; DONE where it has seen all.
        ended_ms: when the last pass ended.
        version: changes whenever pairs come or go.
        now_ms: what the server's clock says.
        is_foreign: whether a newer release has written it, so that it is neither read nor overwritten.
    """

    number: int = 0
    cursors: Mapping[str, str] | None = None
    ended_ms: int = 0
    version: int = 0
    now_ms: int = 0
    is_foreign: bool = False

    @classmethod
    def read(cls, facts: Sequence[bytes | None], now_ms: int) -> Self:
        """What the hash says; what cannot be read begins anew."""
        kept_format, number, cursors, ended_ms, version = facts
        if kept_format not in {None, FORMAT}:
            return cls(now_ms=now_ms, is_foreign=True)
        try:
            where = None if cursors is None else {str(node): str(at) for node, at in json.loads(cursors).items()}
            return cls(int(number or 0), where, int(ended_ms or 0), int(version or 0), now_ms)
        except (ValueError, AttributeError):
            return cls(now_ms=now_ms)


@dataclass(slots=True)
class Met:
    """What one step of a pass has met.

    Attributes:
        progress: where the pass stands now.
        pairs: what it has met.
    """

    progress: Progress
    pairs: set[Pair] = field(default_factory=set)


class FoundStreams:
    """The streams and groups that were found, and the search for them."""

    def __init__(self, server: Server, is_wanted: Wanted, are_wanted: Callable[[Pair], bool]) -> None:
        """Make it.

        Args:
            server: where to search.
            is_wanted: whether a stream of this name may have a group that is wanted.
            are_wanted: whether a stream and a group are.
        """
        self._server = server
        self._is_wanted = is_wanted
        self._are_wanted = are_wanted

    async def progress(self) -> Progress:
        """Where the search stands; one round trip."""
        ask: Sequence[Command] = (TIME, ("HMGET", KEY, FIELD, "pass", "cursors", "ended_ms", "version"))
        time, facts = raised(await self._server.batch(ask))
        return Progress.read(facts, unix_ms(time))

    async def pairs(self) -> dict[Pair, int]:
        """All that were found, and in which pass each was seen last: in none, where somebody else has written there."""
        found: dict[Pair, int] = {}
        cursor: Reply = 0
        while True:
            cursor, flat = await self._server.call("HSCAN", KEY, cursor, "COUNT", SCAN_COUNT)
            for name, number in by_name(flat).items():
                pair = _pair(name)
                if pair is not None:
                    found[pair] = int(number) if number.isdigit() and len(number) <= MAX_DIGITS else 0
            if int(cursor) == 0:
                return found

    async def step(self, before: Progress, known: Mapping[Pair, int]) -> tuple[Progress, dict[Pair, int], set[Pair]]:
        """Go on with the pass, or begin one: look at KEYS_AT_ONCE keys, and keep what was met.

        Returns:
            Where it stands now, all that is known now, and what vanished: that is known only at the end of a pass.
        """
        met = await self._met(await self._begun(before))
        now = met.progress
        new = sorted(met.pairs - known.keys())[: max(MAX_PAIRS - len(known), 0)]
        pairs = {**known, **dict.fromkeys(met.pairs & known.keys(), now.number), **dict.fromkeys(new, now.number)}
        vanished = set() if now.cursors else {pair for pair, number in pairs.items() if number < now.number}
        pairs = {pair: number for pair, number in pairs.items() if pair not in vanished}
        if new or vanished:
            now = replace(now, version=now.version + 1)
        await self._keep({pair: pairs[pair] for pair in met.pairs if pair in pairs}, vanished, now)
        return now, pairs, vanished

    async def remove(self, gone: Iterable[Pair]) -> None:
        """Forget pairs that are not there any more."""
        names = [_name(pair) for pair in gone]
        for at in range(0, len(names), WRITE_AT_ONCE):
            await self._server.call("HDEL", KEY, *names[at : at + WRITE_AT_ONCE])
        if names:
            await self._server.call("HINCRBY", KEY, "version", 1)

    async def _begun(self, before: Progress) -> Progress:
        """The pass that is under way, on the nodes that there are now; or a new one."""
        nodes = await self._server.nodes()
        if before.cursors is None:
            return replace(before, number=before.number + 1, cursors=dict.fromkeys(nodes, "0"))
        # A node that has come meanwhile is searched from its beginning; one that has gone is not.
        return replace(before, cursors={node: before.cursors.get(node, "0") for node in nodes})

    async def _met(self, begun: Progress) -> Met:
        cursors = dict(begun.cursors or {})
        met, left = Met(begun), KEYS_AT_ONCE
        while left > 0 and (node := next((node for node, at in cursors.items() if at != DONE), None)) is not None:
            cursor = cursors[node]
            after, names = await self._scan(node, cursor)
            left -= SCAN_COUNT
            async for pair in self._pairs_of([name for name in names if self._is_wanted(name)]):
                met.pairs.add(pair)
            cursors[node] = DONE if after == "0" else after
        if set(cursors.values()) <= {DONE}:
            met.progress = replace(begun, cursors=None, ended_ms=begun.now_ms)
        else:
            met.progress = replace(begun, cursors=cursors)
        return met

    async def _scan(self, node: str, cursor: str) -> tuple[str, Sequence[bytes]]:
        command = ("SCAN", cursor, "COUNT", SCAN_COUNT, "TYPE", "stream")
        (reply,) = raised(await self._server.batch_at(node, [command]))
        after, names = reply
        return after.decode(), names

    async def _pairs_of(self, streams: Sequence[bytes]) -> AsyncIterator[Pair]:
        for at in range(0, len(streams), GROUPS_AT_ONCE):
            some = streams[at : at + GROUPS_AT_ONCE]
            replies = await self._server.batch([("XINFO", "GROUPS", stream) for stream in some])
            for stream, reply in zip(some, replies, strict=True):
                if isinstance(reply, ResponseError):  # it has gone meanwhile
                    continue
                for facts in raised([reply])[0]:
                    pair = (stream, by_name(facts)[b"name"])
                    if self._are_wanted(pair):
                        yield pair

    async def _keep(self, seen: Mapping[Pair, int], vanished: Iterable[Pair], now: Progress) -> None:
        flat = [(_name(pair), number) for pair, number in seen.items()]
        for at in range(0, len(flat), WRITE_AT_ONCE):
            await self._server.call("HSET", KEY, *(part for pair in flat[at : at + WRITE_AT_ONCE] for part in pair))
        gone = [_name(pair) for pair in vanished]
        for at in range(0, len(gone), WRITE_AT_ONCE):
            await self._server.call("HDEL", KEY, *gone[at : at + WRITE_AT_ONCE])
        facts = ("pass", now.number, "ended_ms", now.ended_ms, "version", now.version)
        where: Command = ("HDEL", KEY, "cursors")
        if now.cursors is not None:
            where = ("HSET", KEY, "cursors", json.dumps(dict(now.cursors)))
        raised(await self._server.batch([("HSET", KEY, FIELD, FORMAT, *facts), where]))


def _name(pair: Pair) -> bytes:
    stream, group = pair
    return b"p:%d:%b%b" % (len(stream), stream, group)


def _pair(name: bytes) -> Pair | None:
    kind, _, rest = name.partition(b":")
    length, colon, names = rest.partition(b":")
    if kind != b"p" or not colon or not length.isdigit() or len(length) > MAX_DIGITS:
        return None
    return names[: int(length)], names[int(length) :]
