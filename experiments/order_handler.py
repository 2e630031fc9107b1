"""The handler of the second article's experiment: it appends a number to its key's list, and throws when it is to."""

import os

from redis.asyncio import Redis

from reclaim import Entry

EVERY = 100
_stores: list[Redis] = []


async def handle(entry: Entry) -> None:
    """Append the entry's number to the list of its key.

    Raises:
        ValueError: MODE is ``once`` or ``always``, and the number is one of those that throw.
        ConnectionError: the key ``away`` is there: what the handler needs is said to be away.
        redis.exceptions.ConnectionError: the store itself is away.
    """
    if not _stores:
        host, _, port = os.environ["STORE"].rpartition(":")
        _stores.append(Redis(host=host, port=int(port), socket_connect_timeout=2, socket_timeout=5))
    (store,), mode = _stores, os.environ["MODE"]
    key, number = entry.text("key"), int(entry.text("n"))
    if mode == "minute" and await store.exists("away"):
        raise ConnectionError("what the handler needs is away")
    if number % EVERY == 0 and mode == "always":
        raise ValueError("every hundredth throws")
    if number % EVERY == 0 and mode == "once" and await store.set(f"thrown:{key}:{number}", 1, nx=True):
        raise ValueError("every hundredth throws, once")
    await store.rpush(f"done:{key}", number)
