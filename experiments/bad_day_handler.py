"""The handler of the bad day: it stores an entry in a database of its own, unless the entry is made to fail."""

import os

from redis.asyncio import Redis

from reclaim import Entry, RejectEntry

_stores: list[Redis] = []


async def handle(entry: Entry) -> None:
    """Store it.

    Raises:
        ValueError: the entry is poison.
        RejectEntry: it is bad.
        redis.exceptions.ConnectionError: the database is away.
    """
    if not _stores:
        host, _, port = os.environ["STORE"].rpartition(":")
        _stores.append(Redis(host=host, port=int(port), socket_connect_timeout=2, socket_timeout=5))
    kind = entry.text("kind")
    if kind == "poison":
        raise ValueError("nobody can store this")
    if kind == "bad":
        raise RejectEntry("it is bad")
    await _stores[0].hset("stored", entry.id.decode(), entry.text("n"))
