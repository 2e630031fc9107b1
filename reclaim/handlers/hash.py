"""Owns the hash handler: each entry becomes a Redis hash, its fields untouched."""

import hashlib
from collections.abc import Sequence
from itertools import chain, repeat

from reclaim.entry import Entry
from reclaim.handlers.outcomes import STORED, SUPERSEDED, Failed, Handled, Keyed
from reclaim.keys import Template
from reclaim.state.ask import Command, Reply
from reclaim.state.connection import Server
from reclaim.state.scripts import script

_STORE_NEWER = script("store_newer")
_WAS_NEWER = 0  # what the script answers where the hash holds a newer entry
_STORE_NEWER_SHA = hashlib.sha1(_STORE_NEWER.encode(), usedforsecurity=False).hexdigest()


class HashHandler:
    """Stores each entry as a Redis hash, its fields untouched (https://redis.io/docs/latest/commands/hset/)."""

    at_once = True

    def __init__(self, server: Server, key: Template, version_field: str | None = None) -> None:
        self._server = server
        self._key = key
        self._version_field = None if version_field is None else version_field.encode()

    def order_key(self, entry: Entry) -> bytes:
        """The hash's key: what goes to the same hash is stored in order."""
        return self._key.render(entry)

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """One pipeline: HSET for each entry, or with a version field a script for each."""
        if self._version_field is None:
            replies = await self._server.batch([("HSET", key, *entry.fields) for key, entry in entries])
            if set(map(type, replies)) == {int}:  # no reply is an error: all were stored
                return [STORED] * len(replies)
            return [_of_reply(reply) for reply in replies]
        replies = await self._server.batch(self._versioned(entries, self._version_field))
        return [SUPERSEDED if reply == _WAS_NEWER else _of_reply(reply) for reply in replies]

    @staticmethod
    def _versioned(entries: Sequence[Keyed], version_field: bytes) -> list[Command]:
        """The first command is an EVAL: it loads the script, so that the others find it, also after a SCRIPT FLUSH."""
        scripts = chain((("EVAL", _STORE_NEWER),), repeat(("EVALSHA", _STORE_NEWER_SHA)))
        return [
            (*call, 1, key, version_field, entry.id, *entry.fields)
            for call, (key, entry) in zip(scripts, entries, strict=False)
        ]


def _of_reply(reply: Reply) -> Handled:
    """The outcome that the reply to an entry's command means."""
    return Failed(reply) if isinstance(reply, Exception) else STORED
