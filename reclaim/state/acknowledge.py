"""Owns how entries are acknowledged: with XACK, or with DELETE_ACKNOWLEDGED by a script that deletes them as well.

The script deletes only what it acknowledges itself, in the same step. So an entry is never deleted while it is pending
in our group, nor one that its consumer acknowledged or somebody else claimed meanwhile.

If the reply is lost and the script is sent again, the entries are no longer pending, and nothing more is deleted. What
another group needs is counted again all the same, because the count asks the other groups and not our pending list.
Only where the other group finishes an entry between the two calls is the count too low by that entry.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reclaim.entry import Entry, id_number
from reclaim.settings import Target
from reclaim.state.ask import Ask, Command, Reply, checked
from reclaim.state.scripts import script

# What one script may do, so that it blocks the server for a few milliseconds at most.
DELETED_AT_ONCE = 250
BYTES_AT_ONCE = 8 * 2**20  # of the entries deleted: the server frees 1 MB in 0.1 to 0.3 ms
LOOKS_AT_ONCE = 500  # at other groups' pending lists

_ACKNOWLEDGE = script("acknowledge", prelude="delete_prelude")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What came of acknowledging entries.

    Attributes:
        not_deleted: how many of them stay in the stream because another group needs them.
        not_pending: how many of them were pending no more: finished by somebody else, or gone with their group.
        left: the entries that the scripts did not come to; they are to be acknowledged with another call.
    """

    not_deleted: int = 0
    not_pending: int = 0
    left: Sequence[Entry] = ()


_ALL_DONE = Acknowledged()


class Acknowledger:
    """Acknowledges entries of one group."""

    def __init__(self, target: Target) -> None:
        self._stream = target.keys.stream
        self._group = target.group_bytes
        self._consumer = target.consumer_bytes
        self._deletes = target.delete_acknowledged

    def ask(self, entries: Sequence[Entry]) -> Ask[Acknowledged]:
        """Acknowledge the entries."""
        if not self._deletes:
            ids = [entry.id for entry in entries]
            return Ask.one(("XACK", self._stream, self._group, *ids), lambda count: _acknowledged(len(ids) - count))
        parts = list(_parts(sorted(entries, key=lambda entry: id_number(entry.id))))
        return Ask(tuple(map(self._script, parts)), lambda replies: _of_scripts(parts, replies))

    def _script(self, entries: Sequence[Entry]) -> Command:
        ids = [entry.id for entry in entries]
        return ("EVAL", _ACKNOWLEDGE, 1, self._stream, self._group, self._consumer, LOOKS_AT_ONCE, *ids)


def _acknowledged(not_pending: int) -> Acknowledged:
    return Acknowledged(not_pending=not_pending) if not_pending else _ALL_DONE


def _parts(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """The entries in parts that one script each may delete."""
    part: list[Entry] = []
    size = 0
    for entry in entries:
        if len(part) == DELETED_AT_ONCE or size >= BYTES_AT_ONCE:
            yield part
            part, size = [], 0
        part.append(entry)
        size += sum(map(len, entry.fields))
    yield part


def _of_scripts(parts: Sequence[Sequence[Entry]], replies: Sequence[Reply]) -> Acknowledged:
    not_deleted, not_pending, left = 0, 0, list[Entry]()
    for part, reply in zip(parts, replies, strict=True):
        count, needed, acknowledged = checked(reply)
        not_deleted += needed
        not_pending += count - acknowledged
        left += part[count:]
    return Acknowledged(not_deleted, not_pending, left)
