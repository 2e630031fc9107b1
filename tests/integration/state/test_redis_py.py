"""What is taken of redis-py that it does not call public: nothing else says so early that a release has changed it."""

import asyncio

from redis.asyncio import Connection
from redis.asyncio.connection import DefaultParser

from tests.support import Endpoint


async def test_redis_py_still_has_the_streams_that_are_asked_for(embedded: Endpoint) -> None:
    """`reclaim.state.node` puts the head of an array before replies (docs/why.md, "Replies are read as one")."""
    connection = Connection(port=embedded.port)
    await connection.connect()
    streams = (connection._reader, connection._writer)
    await connection.disconnect()

    assert isinstance(streams[0], asyncio.StreamReader)
    assert isinstance(streams[0]._buffer, bytearray)
    assert isinstance(streams[1], asyncio.StreamWriter)


async def test_redis_pys_parser_still_reads_where_ours_listens(embedded: Endpoint) -> None:
    """`reclaim.state.handshake` keeps what is read last, so that a server's last words can be told."""
    connection = Connection(port=embedded.port)
    await connection.connect()
    parser = connection._parser

    assert isinstance(parser, DefaultParser)
    assert parser._stream is connection._reader
    assert callable(parser._reader.feed)
    assert parser._reader.has_data() is False
    assert asyncio.iscoroutinefunction(parser.read_from_socket)
    await connection.disconnect()
