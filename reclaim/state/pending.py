"""Owns a group's pending list as a whole: counts it, acknowledges its entries, and removes consumers without any."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from redis.exceptions import ResponseError

from reclaim.entry import Entry
from reclaim.errors import said
from reclaim.names import written
from reclaim.settings import Target
from reclaim.state.acknowledge import Acknowledged, Acknowledger
from reclaim.state.ask import Ask, Reply, checked
from reclaim.state.connection import Server
from reclaim.state.consumers import MAX_LISTED, consumers_of
from reclaim.state.scripts import script
from reclaim.verdicts import error_code

SWEEP_AT_ONCE = 200  # consumers that one script removes: under 1 ms

_SWEEP = script("sweep")


class TooManyConsumers(Exception):
    """A group has too many consumers for a list of them."""


class Row(NamedTuple):
    """A line of XPENDING: an entry that somebody holds (https://redis.io/docs/latest/commands/xpending/)."""

    id: bytes
    consumer: bytes
    idle_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Summary:
    """How many entries are pending, in all and by consumer; `group_missing` says why there are none.

    Attributes:
        first_id: the smallest ID of a pending entry; None where there are none.
    """

    count: int = 0
    consumers: dict[str, int] | None = None
    group_missing: str | None = None
    first_id: bytes | None = None


class PendingList:
    """The pending list of one group."""

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._target = target
        self._stream = target.keys.stream
        self._group = target.group_bytes
        self._is_ours = target.is_ours
        self._acknowledger = Acknowledger(target)
        self._tells_backlog = target.alert_backlog_sec > 0

    def count(self) -> Ask[Summary]:
        """How many entries are pending, or that the group is not there."""
        return Ask((("XPENDING", self._stream, self._group),), _summary)

    def first_idle_ms(self) -> Ask[int]:
        """How long the pending entry with the smallest ID has been idle; 0 if there is none, or no alert needs it."""
        return self.oldest_idle_ms() if self._tells_backlog else Ask((), lambda _: 0)

    def oldest_idle_ms(self) -> Ask[int]:
        """How long the pending entry with the smallest ID has been idle; 0 if there is none."""
        return Ask((("XPENDING", self._stream, self._group, "-", "+", 1),), _first_idle_ms)

    def acknowledge(self, entries: Sequence[Entry]) -> Ask[Acknowledged]:
        """Acknowledge the entries; they may be none."""
        return self._acknowledger.ask(entries) if entries else Ask((), lambda _: Acknowledged())

    async def sweep(self, idle_ms: int) -> list[str]:
        """Remove consumers that have nothing pending and have been idle longer; never ours. Return their names.

        Raises:
            TooManyConsumers: the group has so many that they are not listed.
        """
        found = await consumers_of(self._server, self._target)
        if found is None:
            raise TooManyConsumers(f"the group has more than {MAX_LISTED:,}, and a list of them would block Redis")
        names = [one.name for one in found if one.pending == 0 and one.idle_ms > idle_ms]
        names = [name for name in names if not self._is_ours(name)]
        swept: list[bytes] = []
        for at in range(0, len(names), SWEEP_AT_ONCE):
            some = names[at : at + SWEEP_AT_ONCE]
            swept += await self._server.call("EVAL", _SWEEP, 1, self._stream, self._group, *some)
        return [written(name) for name in swept]


def _summary(replies: Sequence[Reply]) -> Summary:
    (reply,) = replies
    if isinstance(reply, ResponseError) and error_code(reply) == "NOGROUP":
        return Summary(group_missing=said(reply))
    count, first_id, _, consumers = checked(reply)
    return Summary(count, {written(name): int(held) for name, held in consumers or ()}, first_id=first_id)


def _first_idle_ms(replies: Sequence[Reply]) -> int:
    """The answer to `oldest_idle_ms`. It ignores an error, such as a missing group, because `count` tells the same."""
    rows = [Row(*row) for reply in replies if isinstance(reply, list) for row in reply]
    return max((row.idle_ms for row in rows), default=0)
