"""The handler of the order experiment (`dev/order.py`): it notes each entry, and throws at every hundredth, once."""

import os

from redis.asyncio import Redis

from reclaim import Entry

EVERY = int(os.environ.get("THROW_EVERY", "100"))
_clients: dict[str, Redis] = {}


async def handle(entry: Entry) -> None:
    """Append the entry's number to its key's list.

    Raises:
        ValueError: the number is a hundredth, and is tried for the first time.
    """
    address = os.environ["REDIS_HOST"]
    host, _, port = address.rpartition(":")
    client = _clients.setdefault(address, Redis(host=host, port=int(port)))
    key, number = entry.text("key"), int(entry.text("n"))
    if number % EVERY == 0 and await client.set(f"thrown:{key}:{number}", 1, nx=True):
        raise ValueError("every hundredth throws, once")
    await client.rpush(f"done:{key}", number)
