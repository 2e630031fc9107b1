"""Owns the moving of entries to the end of a stream: added there and removed from where they were, at one stroke.

They come from the pending list of a group, or from the dead letters. A script adds an entry only while it is there, and
ours: so a call whose reply was lost can be made again, and makes no second copy.

On a cluster one script takes keys of one slot only. The server itself says where it does not take both: then the
entries are added by a script of their own, and the caller removes them from where they were.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import NamedTuple, Self

from redis.exceptions import RedisError, ResponseError

from reclaim.errors import CannotMove, NotMoved, ServerError, said
from reclaim.names import written
from reclaim.settings import Target
from reclaim.state.acknowledge import LOOKS_AT_ONCE
from reclaim.state.ask import Command, Reply
from reclaim.state.connection import Server
from reclaim.state.dead_letters import MAX_SCRIPT_VALUES
from reclaim.state.scripts import script
from reclaim.verdicts import error_code, is_transient

# What one script may do, so that it blocks the server for a few milliseconds at most.
MOVED_AT_ONCE = 250
BYTES_AT_ONCE = 2**20
VALUE_BYTES = 100  # what a name or a value costs, besides its bytes


class Answer(Enum):
    """What came of moving an entry. The numbers are those of the scripts."""

    GONE = 0  # it was not there any more, or pending no more: there was nothing to move
    MOVED = 1
    GONE_AND_NEEDED = 2  # as GONE; and it is still in its stream, because another group needs it
    MOVED_AND_NEEDED = 3
    ADDED = 4  # it is in the other stream, and still where it was: the caller has to remove it there


class Move(NamedTuple):
    """An entry on its way.

    Attributes:
        id: its ID where it is: the entry's own, or that of its dead letter.
        deliveries: its delivery count as we left it.
        key: its order key.
        fields: the names and values that are added.
    """

    id: bytes
    deliveries: int
    key: bytes
    fields: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where entries come from: its key, and what the scripts begin with that take them from there."""

    key: bytes
    prelude: str

    @property
    def move(self) -> str:
        return self.prelude + _MOVE

    @property
    def move_wide(self) -> str:
        return self.prelude + _MOVE_WIDE


_MOVE = script("move")
_MOVE_WIDE = script("move_wide", prelude="added_prelude")
_PENDING = script("move_pending_prelude", prelude="keep_prelude")
_PENDING_AND_DELETED = script("move_pending_prelude", prelude="delete_prelude")
_LETTER = script("move_letter_prelude", prelude="keep_prelude")
_COPY = script("move_copy_prelude", prelude="keep_prelude")


class Moves:
    """Moves entries from one place to the end of one stream.

    Attributes:
        to: that stream.
    """

    def __init__(self, server: Server, target: Target, source: _Source, to: bytes, most: int) -> None:
        """Use `from_group` or `from_letters`."""
        self._server = server
        self._source = source
        self.to = to
        self._most = most
        self._about = (target.group_bytes, target.consumer_bytes)
        self._at_one_stroke = True

    @classmethod
    def from_group(cls, server: Server, target: Target, to: bytes, most: int = 0) -> Self:
        """Move what is pending in the target's group.

        Args:
            server: where.
            target: whose entries they are.
            to: the stream that they go to.
            most: how many entries that stream keeps, about; 0: all.
        """
        prelude = _PENDING_AND_DELETED if target.delete_acknowledged else _PENDING
        return cls(server, target, _Source(target.keys.stream, prelude), to, most)

    @classmethod
    def from_letters(cls, server: Server, target: Target, to: bytes, most: int = 0) -> Self:
        """Move dead letters of the target; the arguments are those of `from_group`."""
        return cls(server, target, _Source(target.keys.dead, _LETTER), to, most)

    async def move(self, moves: Sequence[Move]) -> list[Answer | Exception]:
        """Move the entries, in their order, and say what came of each; it never raises for what Redis answers.

        An entry that is not moved holds back the later ones of its order key (G3). An error is transient, or it is:
            NotMoved: somebody else has the entry, or it is held back.
            CannotMove: the stream takes no entry.
            AccessDenied: this user may not move entries.
        """
        answers: list[Answer | Exception] = []
        stuck: set[bytes] = set()
        while len(answers) < len(moves):
            some = _first(moves, len(answers), stuck)
            if not some:
                answers.append(NotMoved(_LEFT["HELD"]))
                continue
            try:
                replies = await self._wide(some[0]) if _is_wide(some[0]) else await self._narrow(some)
                told = await self._told_of(replies)
            except (RedisError, ServerError) as exc:  # what is behind it would wait for the same
                return [*answers, *([exc] * (len(moves) - len(answers)))]
            answers += told
            if told.count(Answer.MOVED) < len(told):
                stuck.update(one.key for one, answer in zip(some, told, strict=False) if isinstance(answer, Exception))
        return answers

    async def refused(self) -> Exception | None:
        """Why the stream would take no entry, as far as that can be seen without adding one."""
        (last,) = await self._server.batch([("XREVRANGE", self.to, "+", "-", "COUNT", 1)])
        return await self._why(last) if isinstance(last, Exception) else None

    async def _narrow(self, moves: Sequence[Move]) -> Sequence[Reply]:
        """A reply for each of the first entries, as many as the script came to: at least for one."""
        (reply,) = await self._send(self._command(moves))
        if self._is_of_two_slots(reply):
            (reply,) = await self._send(self._command(moves))
        return reply if isinstance(reply, list) else [reply] * len(moves)

    async def _send(self, command: Command) -> Sequence[Reply]:
        """At one stroke, copy and acknowledgement reach every replica in their order; else the copy has to be there."""
        return await self._server.batch([command], stores=not self._at_one_stroke)

    def _is_of_two_slots(self, reply: Reply) -> bool:
        """Whether the server refused both keys together; from then on they are not sent together."""
        refused = self._at_one_stroke and isinstance(reply, ResponseError) and error_code(reply) == "CROSSSLOT"
        self._at_one_stroke = self._at_one_stroke and not refused
        return refused

    def _command(self, moves: Sequence[Move]) -> Command:
        keys = (self._source.key, self.to) if self._at_one_stroke else (self.to,)
        text = self._source.move if self._at_one_stroke else _COPY + _MOVE
        words: list[bytes | int] = []
        numbers: dict[bytes, int] = {}
        for move in moves:
            number = numbers.setdefault(move.key, len(numbers))
            words += (move.id, move.deliveries, number, len(move.fields))
            words += move.fields
        return ("EVAL", text, len(keys), *keys, *self._about, self._most, LOOKS_AT_ONCE, *words)

    async def _wide(self, move: Move) -> Sequence[Reply]:
        """The same, for an entry with more fields than Lua can pass on to a command."""
        cap = ("MAXLEN", "~", self._most) if self._most else ()
        add: Command = ("XADD", self.to, *cap, "*", *move.fields)
        if self._at_one_stroke:
            keys = (self._source.key, self.to)
            about = (*self._about, move.id, move.deliveries, len(move.fields))
            end: Command = ("EVAL", self._source.move_wide, 2, *keys, *about)
            try:
                return (await self._server.transaction([add, end]))[1:]
            except ResponseError as exc:
                if not self._is_of_two_slots(exc):
                    raise
        (reply,) = await self._send(add)
        return [reply if isinstance(reply, Exception) else Answer.ADDED.value]

    async def _told_of(self, replies: Sequence[Reply]) -> Sequence[Answer | Exception]:
        if replies.count(Answer.MOVED.value) == len(replies):  # nearly always
            return [Answer.MOVED] * len(replies)
        return [await self._told(reply) for reply in replies]

    async def _told(self, reply: Reply) -> Answer | Exception:
        """What a reply means."""
        return await self._why(reply) if isinstance(reply, Exception) else Answer(reply)

    async def _why(self, reply: Exception) -> Exception:
        """What an entry that is not moved fails with."""
        if error_code(reply) in _LEFT:
            return NotMoved(_LEFT[error_code(reply)])
        if is_transient(reply):
            return reply
        try:
            await self._server.name_refused(self._needed())
        except (RedisError, ServerError) as exc:
            return exc
        what = f"entries cannot be moved from {written(self._source.key)} to {written(self.to)}: {said(reply)}"
        return CannotMove(what)

    def _needed(self) -> Sequence[Command]:
        """The commands that the scripts run; permission for one of them may be missing."""
        group, _ = self._about
        key = self._source.key
        return [
            ("XADD", self.to, "*", "f", "v"),
            ("XREVRANGE", self.to, "+", "-", "COUNT", 1),
            ("XDEL", self.to, "0-0"),
            ("XPENDING", key, group),
            ("XACK", key, group, "0-0"),
            ("XDEL", key, "0-0"),
        ]


_LEFT = {"TAKEN": "taken by somebody else", "HELD": "held: an earlier entry of its order key is not done"}


def _first(moves: Sequence[Move], start: int, stuck: AbstractSet[bytes]) -> Sequence[Move]:
    """The next entries that one script moves: none of a stuck key, and one that is wide or large alone."""
    some = moves[start : start + MOVED_AT_ONCE]
    values = [move.fields for move in some]
    size = sum(map(len, chain.from_iterable(values))) + VALUE_BYTES * sum(map(len, values))
    if not stuck and size <= BYTES_AT_ONCE and not any(map(_is_wide, some)):  # nearly always
        return some
    weight = 0
    for at in range(start, min(len(moves), start + MOVED_AT_ONCE)):
        fields = moves[at].fields
        weight += sum(map(len, fields)) + VALUE_BYTES * len(fields)
        is_alone = at == start
        if moves[at].key in stuck or (not is_alone and (weight > BYTES_AT_ONCE or _is_wide(moves[at]))):
            return moves[start:at]
        if _is_wide(moves[at]):
            return moves[start : at + 1]
    return moves[start : start + MOVED_AT_ONCE]


def _is_wide(move: Move) -> bool:
    """Whether the entry has more fields than Lua can pass on to a command."""
    return len(move.fields) > MAX_SCRIPT_VALUES
