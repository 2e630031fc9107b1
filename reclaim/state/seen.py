"""Owns what a target's last run saw of its group: by it the next run notices that the group was made anew.

A stream or a group that is deleted takes its pending list along, without a word, and one with the same names may stand
in its place at the next look. So each run writes down what it saw of the group, and the next run compares:

- The group's last-delivered ID went back, or it has fewer consumers. Both may have a harmless cause (XGROUP SETID;
  somebody removed consumers), so the run then asks what tells for certain (`is_made_anew`).
- The server's clock went back: entries that were delivered before seem idle for too short a time.

What is kept costs an idle run no round trip: it is read and written with what the run asks anyway.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.exceptions import ResponseError

from reclaim.entry import by_name, id_number, readable
from reclaim.names import written
from reclaim.settings import Target
from reclaim.state.ask import Ask, Command, Reply, plain
from reclaim.state.connection import Server
from reclaim.state.consumers import list_of
from reclaim.state.formats import FIELD, FORMAT
from reclaim.state.pending import Summary
from reclaim.state.server_time import TIME, unix_ms
from reclaim.verdicts import error_code

CLOCK_STEP_MS = 1000  # a clock that went back by less was set right, which happens every day
STORED_UNDER = b"stored under:"  # and a template's text: something was stored under it
GROUP_SETTING = "STREAM_CONSUMER_GROUP_NAME"
MAX_NAMES, MAX_NAME_CHARS = 10, 60  # of groups that a message names


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw of the group.

    Attributes:
        at_ms: when, in Unix ms by the server's clock.
        last_delivered: the ID of the entry that the group delivered last.
        consumers: how many the group has.
        pending: how many entries are pending.
        first_pending: the smallest ID of them; None where there are none.
    """

    at_ms: int
    last_delivered: bytes = b"0-0"
    consumers: int = 0
    pending: int = 0
    first_pending: bytes | None = None

    def may_follow(self, earlier: "Sight") -> bool:
        """Whether nothing here speaks against this being the group that was seen earlier."""
        went_back = id_number(self.last_delivered) < id_number(earlier.last_delivered)
        return not went_back and self.consumers >= earlier.consumers


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a target from its earlier runs.

    Attributes:
        sight: what the last run saw.
        is_ours: whether our consumer was in the group then: a run had claimed entries.
        clock_until_ms: the server's clock went back; it had come to this time before. 0: it never went back.
        stored_under: the templates under which something was stored once.
        is_foreign: whether a newer release has written it, so that it is neither read nor overwritten.
    """

    sight: Sight | None = None
    is_ours: bool = False
    clock_until_ms: int = 0
    stored_under: frozenset[str] = frozenset()
    is_foreign: bool = False

    @property
    def clock_behind_ms(self) -> int:
        """How much the server's clock was behind where it had been, when the last run looked."""
        return 0 if self.sight is None else max(self.clock_until_ms - self.sight.at_ms, 0)

    @classmethod
    def read(cls, facts: Mapping[bytes, bytes]) -> "Seen":
        """What the hash says; what somebody else has put there is passed over."""
        stored = frozenset(readable(name[len(STORED_UNDER) :]) for name in facts if name.startswith(STORED_UNDER))
        if facts.get(FIELD, FORMAT) != FORMAT:
            return cls(stored_under=stored, is_foreign=True)
        try:
            sight = Sight(
                int(facts[b"server_ms"]),
                facts[b"last_delivered"],
                int(facts[b"consumers"]),
                int(facts[b"pending"]),
                facts[b"first_pending"] or None,
            )
            id_number(sight.last_delivered)
            id_number(sight.first_pending or b"0-0")
        except (KeyError, ValueError):
            return cls(stored_under=stored)
        is_ours, until_ms = facts.get(b"ours") == b"1", facts.get(b"clock_until_ms", b"")
        return cls(sight, is_ours, int(until_ms) if until_ms.isdigit() else 0, stored)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the target.

    Attributes:
        now_ms: the server's time.
        seen: what earlier runs have left.
        groups: the stream's groups by name, with what XINFO GROUPS says of them; None where the stream is not there,
            or where that could not be asked.
        has_stream: whether the stream is there.
    """

    now_ms: int
    seen: Seen
    groups: Mapping[bytes, Mapping[bytes, Reply]] | None
    has_stream: bool

    def sight(self, group: bytes, summary: Summary) -> Sight | None:
        """What this look saw of the group; None where it is not there or could not be asked for."""
        facts = None if self.groups is None else self.groups.get(group)
        if facts is None or summary.group_missing:
            return None
        return Sight(
            self.now_ms, facts[b"last-delivered-id"], int(facts[b"consumers"]), summary.count, summary.first_id
        )

    def missing(self, target: Target) -> str:
        """What is not there, in words that name the setting, and the groups that there are."""
        if not self.has_stream:
            pattern = " (a name with * is taken as it is, not as a pattern)" if "*" in target.stream else ""
            return f"the stream {target.stream!r} does not exist; check STREAM_NAME{pattern}"
        return f"the stream {target.stream!r} has no group {target.group!r}{self._there()}; check {GROUP_SETTING}"

    def _there(self) -> str:
        if self.groups is None:
            return ""
        names = [written(name)[:MAX_NAME_CHARS] for name in sorted(self.groups)]
        if not names:
            return "; it has no groups"
        more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
        return f"; its groups are {', '.join(map(repr, names[:MAX_NAMES]))}{more}"


class SeenGroup:
    """What is kept of a target's group from run to run, and the questions that tell whether it is still that group."""

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._key = target.keys.seen
        self._stream = target.keys.stream
        self._group = target.group_bytes
        self._is_ours = target.is_ours

    def look(self) -> Ask[Look]:
        """What there is now, beside what the last run saw. What may not be asked is left out."""
        commands: tuple[Command, ...] = (TIME, ("HGETALL", self._key), ("XINFO", "GROUPS", self._stream))
        return Ask(commands, _look)

    def sight(self, look: Look, summary: Summary) -> Sight | None:
        """What the look saw of the group, with what is pending there; None where the group is not there."""
        return look.sight(self._group, summary)

    async def is_made_anew(self, seen: Seen, now: Sight) -> bool:
        """Whether the group is not the one that the last run saw; it costs a round trip only where that is in doubt.

        A group that has our consumer no more was made anew, or somebody has removed the consumer by hand. Where an
        entry is still pending that was pending then, and the group has not gone back, it was by hand.
        """
        before = seen.sight
        if before is None or now.may_follow(before):
            return False
        first_is_there, has_ours = await self._first_and_ours(before, now.consumers)
        went_back = id_number(now.last_delivered) < id_number(before.last_delivered)
        if first_is_there and not went_back:
            return False
        if seen.is_ours:
            return not has_ours
        fewer = now.pending < before.pending or now.consumers < before.consumers
        return went_back and (fewer or not first_is_there)

    async def _first_and_ours(self, before: Sight, consumers: int) -> tuple[bool, bool]:
        first = before.first_pending or b"0-0"
        row: Ask[bool] = Ask.one(("XPENDING", self._stream, self._group, first, first, 1), bool)
        return await self._server.ask(row, self._has_our_consumer(consumers))

    async def is_gone(self, began: Sight) -> bool:
        """Whether the group that a run has claimed entries in is gone, or was made anew meanwhile.

        Our consumer is in a group in which we have claimed anything.
        """
        (look,) = await self._server.ask(self.look())
        there = (look.groups or {}).get(self._group, {})
        (has_ours,) = await self._server.ask(self._has_our_consumer(int(there.get(b"consumers", 0))))
        if look.groups is None and look.has_stream:  # what the groups are may not be asked
            return not has_ours
        sight = look.sight(self._group, Summary())
        return sight is None or not has_ours or id_number(sight.last_delivered) < id_number(began.last_delivered)

    def _has_our_consumer(self, count: int) -> Ask[bool]:
        """Whether one of the group's `count` consumers is ours. Where that cannot be asked, other signs decide: True.

        A group with so many that they are not listed was hardly made a moment ago.
        """
        listed = list_of(self._stream, self._group, count)

        def read(replies: Sequence[Reply]) -> bool:
            if any(isinstance(reply, ResponseError) for reply in replies):
                return not _is_missing(replies[0])
            found = listed.read(replies)
            return found is None or any(self._is_ours(one.name) for one in found)

        return Ask(listed.commands, read)

    def write(self, seen: Seen) -> Ask[Reply]:
        """Keep what this run saw. Nothing is asked where there is nothing to keep, or where a newer format is kept."""
        if seen.sight is None or seen.is_foreign:
            return Ask((), lambda _: None)
        return plain(*self.command(seen))

    def command(self, seen: Seen) -> Command:
        """The command that keeps it."""
        sight = seen.sight or Sight(0)
        return (
            *("HSET", self._key, FIELD, FORMAT, "server_ms", sight.at_ms, "last_delivered", sight.last_delivered),
            *("consumers", sight.consumers, "pending", sight.pending, "first_pending", sight.first_pending or b""),
            *("ours", int(seen.is_ours), "clock_until_ms", seen.clock_until_ms),
        )

    def mark(self, template: str) -> Ask[Reply]:
        """Note that something was stored under this template."""
        return plain("HSET", self._key, STORED_UNDER + template.encode(), 1)


def _look(replies: Sequence[Reply]) -> Look:
    time, facts, groups = replies
    now_ms = unix_ms(time)
    seen = Seen() if isinstance(facts, Exception) else Seen.read(by_name(facts))
    if isinstance(groups, Exception):
        return Look(now_ms, seen, None, has_stream=not _is_missing(groups))
    return Look(now_ms, seen, {facts[b"name"]: facts for facts in map(by_name, groups)}, has_stream=True)


def _is_missing(error: Exception) -> bool:
    """Whether it says that the stream or the group is not there."""
    return error_code(error) == "NOGROUP" or "no such key" in str(error)
