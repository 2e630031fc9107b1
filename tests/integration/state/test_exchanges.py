"""An exchange gets its own replies, whatever ended the one before it: no reply is taken for another's (G1)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trustme
from redis.asyncio import SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from dev.proxy import ErrorReply, Fault, Proxy
from dev.server import HOST
from reclaim import handlers
from reclaim.entry import Entry
from reclaim.errors import ServerError
from reclaim.handlers.outcomes import Failed
from reclaim.state import node
from reclaim.state.connection import Server, connect
from reclaim.state.node import Node
from reclaim.verdicts import is_transient
from tests.support import Client, Endpoint, a_target, settings_for

STEPS = 60  # of the event loop: far more than an exchange has
LARGE = b"x" * 1_000_000  # more than a socket takes at once, so that a request is on its way in parts


async def _echo(server: Server, what: bytes) -> None:
    """Ask for a marker that nothing else was ever asked for, between two others."""
    replies = await server.batch([("ECHO", b"<" + what), ("ECHO", what), ("ECHO", b">" + what)])
    is_own = replies == [b"<" + what, what, b">" + what]
    assert is_own, f"{what[:40]!r} was answered with {str(replies)[:200]}"


@pytest.mark.parametrize("size", [0, len(LARGE)], ids=["small", "large"])
async def test_an_exchange_that_was_cancelled_leaves_nothing_to_the_next_one(embedded: Endpoint, size: int) -> None:
    """Cancelled at each step of the event loop: while connecting, sending, and reading."""
    server, body = connect(settings_for(embedded)), LARGE[:size]
    await _echo(server, b"warm")
    cancelled = 0
    for at in range(STEPS):
        asking = asyncio.ensure_future(_echo(server, b"given up %d" % at + body))
        for _ in range(at):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        cancelled += asking.cancelled()

        await _echo(server, b"next %d" % at)

    await server.aclose()
    assert cancelled > 2


@pytest.mark.parametrize("bytes_per_sec", [0, 3_000_000], ids=["any speed", "narrow"])
async def test_no_reply_is_taken_for_anothers_on_a_bad_network(
    embedded_proxy: Proxy, bytes_per_sec: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many exchanges at once, some cancelled, some cut off, some timed out: each that ends well has its own replies."""
    proxy, random = embedded_proxy, Random(bytes_per_sec)
    monkeypatch.setattr(node, "MAX_CONNECTIONS", 4)
    server = connect(settings_for(proxy), timeout_sec=0.1)
    proxy.bytes_per_sec = bytes_per_sec
    well = 0

    async def one(number: int) -> None:
        nonlocal well
        body = LARGE[: random.choice([0, 0, 10_000, 300_000])]
        try:
            async with asyncio.timeout(random.choice([None, 0, 0.001, 0.01, 0.05])):
                await _echo(server, b"%d " % number + body)
            well += 1
        except (RedisError, ServerError, OSError):
            pass

    faults = [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.DROP_REPLY, Fault.HANG, ErrorReply("LOADING")]
    for start in range(0, 600, 12):
        if start % 36 == 0:
            proxy.when("ECHO", random.choice(faults), skip=random.randrange(20))
        if start % 60 == 0:
            proxy.cut()
        await asyncio.gather(*(one(number) for number in range(start, start + 12)))

    proxy.clear()
    await server.aclose()
    assert well > 50


# --- what is no answer -----------------------------------------------------------------------------------------------


async def test_a_connection_that_was_cancelled_as_it_was_made_is_not_used_ungreeted(
    embedded: Endpoint, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TLS it may be connected at the very moment of the cancellation; every later exchange failed on it."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    client.execute_command("FLUSHALL")
    connected = SSLConnection._connect

    async def connect_and_be_cancelled(connection: Any) -> None:
        await connected(connection)
        monkeypatch.undo()
        asking.cancel()

    with Proxy(embedded.server_port, tls=context) as tls:
        there = Node(settings_for(tls, db=3, tls=True, ca_file=str(ca_file)))
        monkeypatch.setattr(SSLConnection, "_connect", connect_and_be_cancelled)
        asking = asyncio.ensure_future(there.send([("SET", "a", 1)]))
        await asyncio.wait({asking})
        assert asking.cancelled()

        assert await there.send([("SET", "a", 2)]) == [b"OK"]

        await there.aclose()
    assert client.execute_command("EXISTS", "a") == 0
    client.execute_command("SELECT", 3)
    assert client.execute_command("GET", "a") == b"2"
    client.execute_command("SELECT", 0)


@pytest.fixture
async def echoing() -> AsyncIterator[Endpoint]:
    """What sends back whatever it is sent, as a TCP connection to itself does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as listener:
        yield Endpoint("echo", listener.sockets[0].getsockname()[1], 0)


async def test_what_is_no_redis_is_not_spoken_to(echoing: Any) -> None:
    server = connect(settings_for(echoing))

    with pytest.raises(ServerError, match="no Redis"):
        await server.call("PING")

    await server.aclose()


async def test_a_server_that_says_more_than_it_was_asked_is_not_believed() -> None:
    """Its answers and the commands are out of step, by whoever's mistake."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(b"+OK\r\n" if b"SETINFO" in data else b":4\r\n:5\r\n")
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as listener:
        server = connect(settings_for(Endpoint("odd", listener.sockets[0].getsockname()[1], 0)))

        with pytest.raises(RedisConnectionError, match="more than it was asked"):
            await server.call("HLEN", "a")

        await server.aclose()


async def test_only_the_answer_of_a_store_counts_as_stored(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a connection that is in a MULTI, HSET is answered with QUEUED, and nothing is stored."""
    monkeypatch.setattr(node, "MAX_CONNECTIONS", 1)
    client.execute_command("FLUSHALL")
    target, server = a_target(), connect(settings_for(embedded))
    handler = handlers.make(server, target)
    await server.batch([("MULTI",)])

    (outcome,) = await handler.store([(b"tweet:1", Entry.of({"id": "1"}))])

    await server.aclose()
    assert isinstance(outcome, Failed)
    assert is_transient(outcome.error)
    assert "QUEUED" in str(outcome.error)
    assert client.execute_command("EXISTS", "tweet:1") == 0
