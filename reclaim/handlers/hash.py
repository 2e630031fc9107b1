"""Owns the hash handler: each entry becomes a Redis hash, its fields untouched."""

import hashlib
from collections.abc import Sequence
from itertools import chain, repeat

from reclaim.entry import Entry
from reclaim.errors import NameTaken
from reclaim.handlers.outcomes import STORED, SUPERSEDED, Failed, Handled, Keyed, Stored
from reclaim.keys import Template
from reclaim.names import written
from reclaim.state.ask import Command, Reply
from reclaim.state.connection import Server
from reclaim.state.scripts import script

_STORE_NEWER = script("store_newer")
_WAS_NEWER = 0  # what the script answers where the hash holds a newer entry
_STORE_NEWER_SHA = hashlib.sha1(_STORE_NEWER.encode(), usedforsecurity=False).hexdigest()


class HashHandler:
    """Stores each entry as a Redis hash, its fields untouched (https://redis.io/docs/latest/commands/hset/)."""

    at_once = True

    def __init__(self, server: Server, key: Template, version_field: bytes | None = None) -> None:
        self._server = server
        self._key = key
        self._version_field = version_field

    def order_key(self, entry: Entry) -> bytes:
        """The hash's key: what goes to the same hash is stored in order.

        Raises:
            MissingField: the entry lacks a field that the key needs.
            NameTaken: the entry has a field with the name of the version field, whose value the ID would overwrite.
        """
        if self._version_field is not None and self._version_field in entry.fields[::2]:
            raise NameTaken(f"it has a field called {written(self._version_field)}, like HASH_VERSION_FIELD")
        return self._key.render(entry)

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """One pipeline: HSET for each entry, or with a version field a script for each."""
        if self._version_field is None:
            commands: list[Command] = [("HSET", key, *entry.fields) for key, entry in entries]
            replies = await self._server.batch(commands)
            if set(map(type, replies)) == {int} and not _any_duplicates(entries, commands, replies):
                return [STORED] * len(replies)  # no reply is an error
            return [_of_reply(reply, entry) for reply, (_, entry) in zip(replies, entries, strict=True)]
        replies = await self._server.batch(self._versioned(entries, self._version_field))
        return [
            SUPERSEDED if reply == _WAS_NEWER else _of_reply(reply, entry)
            for reply, (_, entry) in zip(replies, entries, strict=True)
        ]

    @staticmethod
    def _versioned(entries: Sequence[Keyed], version_field: bytes) -> list[Command]:
        """The first command is an EVAL: it loads the script, so that the others find it, also after a SCRIPT FLUSH."""
        scripts = chain((("EVAL", _STORE_NEWER),), repeat(("EVALSHA", _STORE_NEWER_SHA)))
        return [
            (*call, 1, key, version_field, entry.id, *entry.fields)
            for call, (key, entry) in zip(scripts, entries, strict=False)
        ]


def _any_duplicates(entries: Sequence[Keyed], commands: Sequence[Command], replies: Sequence[int]) -> bool:
    """Whether any entry has a name more than once.

    HSET replies how many fields are new. So if the replies come to the number of all fields, there is no duplicate, and
    nobody has to look at the names (0.02 µs for each entry). Else each list of names is examined, but not if it is the
    same as that of the entry before (0.15 µs, and 0.6 µs for a new list).
    """
    if 2 * sum(replies) == sum(map(len, commands)) - 2 * len(commands):
        return False
    examined: Sequence[bytes] = ()
    for _, entry in entries:
        names = entry.fields[::2]
        if names != examined:
            if len(set(names)) < len(names):
                return True
            examined = names
    return False


def _of_reply(reply: Reply, entry: Entry) -> Handled:
    """The outcome that the reply to an entry's command means."""
    if isinstance(reply, Exception):
        return Failed(reply)
    duplicate = entry.duplicate_name()
    return STORED if duplicate is None else Stored(duplicate)
