"""What is taken of redis-py that it does not call public: nothing else says so early that a release has changed it."""

import asyncio

from redis.asyncio import Connection

from tests.support import Endpoint


async def test_redis_py_still_has_the_streams_that_are_asked_for(embedded: Endpoint) -> None:
    """`reclaim.connection` puts the head of an array in front of replies (docs/why.md, "Replies are read as one")."""
    connection = Connection(port=embedded.port)
    await connection.connect()
    streams = (connection._reader, connection._writer)
    await connection.disconnect()

    assert isinstance(streams[0], asyncio.StreamReader)
    assert isinstance(streams[1], asyncio.StreamWriter)
