"""Each fault of the proxy does to a real client and a real server what its name says, and nothing else."""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trustme
from redis import Redis
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ExecAbortError, OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from dev.proxy import ErrorReply, Fault, NeverHappened, Proxy, redis_6_0_commands
from dev.server import HOST, Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
async def direct(server: Server) -> AsyncIterator[redis.Redis]:
    """A client that is not behind the proxy, on an empty database."""
    async with redis.Redis(port=server.port, protocol=2) as client:
        await client.flushall()
        yield client


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: Proxy, direct: redis.Redis) -> AsyncIterator[redis.Redis]:  # noqa: ARG001 - empties the database
    """A client behind the proxy that is connected already and tries everything once."""
    async with connect(proxy) as client:
        client.response_callbacks.pop("XPENDING")  # it expects the short form only
        await client.ping()
        proxy.forget()
        yield client


def connect(proxy: Proxy, **options: Any) -> redis.Redis:
    kept: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), 0), "socket_timeout": 0.5}
    return redis.Redis(port=proxy.port, **kept, **options)


async def set_abc(client: redis.Redis) -> list[object]:
    """SET a, b and c in one pipeline."""
    pipeline = client.pipeline(transaction=False)
    for key in "abc":
        pipeline.set(key, 1)
    return await pipeline.execute(raise_on_error=False)


async def test_without_rules_everything_passes_unchanged(client: redis.Redis, direct: redis.Redis) -> None:
    blob = bytes(range(256)) * 20_000

    await client.hset("hash", mapping={"blob": blob, "empty": b""})

    assert await client.hgetall("hash") == await direct.hgetall("hash") == {b"blob": blob, b"empty": b""}


async def test_resp3_passes_too(proxy: Proxy, direct: redis.Redis) -> None:
    await direct.hset("hash", mapping={"a": "1", "b": "2"})

    async with redis.Redis(port=proxy.port, protocol=3) as client:
        assert await client.hgetall("hash") == {b"a": b"1", b"b": b"2"}


async def test_commands_are_recorded_as_sent(proxy: Proxy, client: redis.Redis) -> None:
    await set_abc(client)

    assert proxy.commands == [[b"SET", b"a", b"1"], [b"SET", b"b", b"1"], [b"SET", b"c", b"1"]]
    assert (proxy.count("set"), proxy.count("GET")) == (3, 0)


async def test_a_pipeline_is_one_round_trip_and_two_commands_are_two(proxy: Proxy, client: redis.Redis) -> None:
    await set_abc(client)
    assert proxy.round_trips == 1

    await client.get("a")
    await client.get("b")
    assert proxy.round_trips == 3


async def test_bytes_are_counted_in_each_direction(proxy: Proxy, client: redis.Redis) -> None:
    await client.set("a", "0123456789")
    await client.get("a")

    assert proxy.bytes_there == len("*3|$3|SET|$1|a|$10|0123456789|*2|$3|GET|$1|a|".replace("|", "\r\n"))
    assert proxy.bytes_back == len("+OK|$10|0123456789|".replace("|", "\r\n"))
    proxy.forget()
    assert (proxy.bytes_there, proxy.bytes_back) == (0, 0)


async def test_a_delay_is_latency_and_a_pipeline_pays_it_once(proxy: Proxy, client: redis.Redis) -> None:
    proxy.request_delay_sec, proxy.reply_delay_sec = 0.02, 0.03
    pipeline = client.pipeline(transaction=False)
    for number in range(1000):
        pipeline.set(f"key{number}", 1)

    started = time.monotonic()
    await pipeline.execute()

    assert time.monotonic() - started >= 0.05
    assert proxy.round_trips == 1


async def test_cut_before_executes_what_precedes_the_command(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    rule = proxy.when("SET", Fault.CUT_BEFORE, skip=1)

    with pytest.raises(RedisConnectionError):
        await set_abc(client)

    assert await direct.keys() == [b"a"]
    assert rule.hits == 1
    assert await set_abc(client) == [True, True, True]


async def test_cut_after_executes_the_command_and_nothing_later(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    proxy.when("SET", Fault.CUT_AFTER, skip=1)

    with pytest.raises(RedisConnectionError):
        await set_abc(client)

    assert sorted(await direct.keys()) == [b"a", b"b"]


async def test_answers_before_a_cut_arrive(proxy: Proxy, direct: redis.Redis) -> None:
    proxy.when("GET", Fault.CUT_AFTER, skip=1)
    await direct.set("key", "x" * 1_000_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)

    writer.write(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n" * 3)
    answer = await reader.read()
    writer.close()

    assert answer == b"$1000000\r\n" + b"x" * 1_000_000 + b"\r\n"


async def test_drop_reply_executes_everything_and_answers_nothing(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    proxy.when("SET", Fault.DROP_REPLY, skip=1)

    with pytest.raises(RedisTimeoutError):
        await set_abc(client)

    assert sorted(await direct.keys()) == [b"a", b"b", b"c"]


async def test_hang_executes_and_answers_nothing_more(proxy: Proxy, client: redis.Redis, direct: redis.Redis) -> None:
    rule = proxy.when("SET", Fault.HANG, skip=1)

    with pytest.raises(RedisTimeoutError):
        await set_abc(client)

    assert await direct.keys() == [b"a"]
    assert rule.reached.is_set()


async def test_an_error_takes_the_place_of_one_reply(proxy: Proxy, client: redis.Redis, direct: redis.Redis) -> None:
    proxy.when("SET", ErrorReply("OOM command not allowed"), skip=1)

    first, second, third = await set_abc(client)

    assert (first, third) == (True, True)
    assert isinstance(second, OutOfMemoryError)
    assert sorted(await direct.keys()) == [b"a", b"c"]


async def test_an_error_inside_multi_aborts_the_transaction(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    proxy.when("XACK", ErrorReply("OOM command not allowed"))
    async with client.pipeline(transaction=True) as transaction:
        transaction.set("a", 1).xack("stream", "group", "1-1")
        with pytest.raises((ExecAbortError, OutOfMemoryError)):
            await transaction.execute()

    assert await direct.keys() == []


async def test_an_error_in_the_place_of_exec_ends_the_transaction(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    proxy.when("EXEC", ErrorReply("OOM no memory"))

    with pytest.raises(OutOfMemoryError):
        await client.pipeline(transaction=True).set("a", 1).execute()

    assert await client.set("b", 2)  # on the same connection, and at once
    assert await direct.mget("a", "b") == [None, b"2"]


async def test_a_function_is_called_before_the_command_passes(client: redis.Redis, proxy: Proxy) -> None:
    called: list[int] = []
    proxy.when("SET", lambda: called.append(proxy.count("SET")), skip=1)

    assert await set_abc(client) == [True, True, True]
    assert called == [2]


async def test_a_rule_can_look_at_the_arguments_and_apply_for_ever(proxy: Proxy, client: redis.Redis) -> None:
    rule = proxy.when("SET", ErrorReply("ERR no"), args=lambda args: args[0] == b"b", times=None)

    for _ in range(2):
        replies = await set_abc(client)
        assert [isinstance(reply, ResponseError) for reply in replies] == [False, True, False]
    assert rule.hits == 2

    proxy.clear()
    assert await set_abc(client) == [True, True, True]


async def test_a_server_killed_at_a_command_is_a_closed_connection() -> None:
    """The server may be stopped and started from the proxy's thread too, and outlives it."""
    with Server() as server:
        with Proxy(server.port) as proxy:
            async with connect(proxy) as client:
                proxy.when("SET", server.kill)
                with pytest.raises(RedisConnectionError):
                    await client.set("a", 1)
                server.start()
                proxy.when("GET", server.restart)
                with pytest.raises(RedisConnectionError):
                    await client.get("a")
        async with redis.Redis(port=server.port) as direct:
            assert await direct.ping()


async def test_cut_closes_every_connection_and_new_ones_work(proxy: Proxy, client: redis.Redis) -> None:
    passed = proxy.when("BLPOP", lambda: None).reached
    waiting = asyncio.create_task(client.blpop(["list"], timeout=5))
    assert await asyncio.to_thread(passed.wait, 5)

    proxy.cut()

    with pytest.raises(RedisConnectionError):
        await waiting
    assert await client.ping()


async def test_mute_lets_commands_take_effect_and_drops_the_answers(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    proxy.mute()

    with pytest.raises(RedisTimeoutError):
        await client.set("a", 1)

    assert await direct.get("a") == b"1"
    assert await client.get("a") == b"1"  # on a new connection


async def test_refuse_keeps_what_is_connected_and_accept_ends_it(proxy: Proxy, client: redis.Redis) -> None:
    proxy.refuse()
    assert await client.ping()
    proxy.cut()
    with pytest.raises(RedisConnectionError):
        await client.ping()

    proxy.accept()

    assert await client.ping()


@pytest.mark.parametrize(("before", "after"), [(1e9, 0.0), (0.0, 1e9)], ids=["narrow, then wide", "wide, then narrow"])
def test_what_passes_is_the_same_if_the_link_changes_meanwhile(server: Server, before: float, after: float) -> None:
    """The client reads nothing until it has changed, so that the change comes in the middle of the reply."""
    value = random.Random(1).randbytes(16_000_000)
    expected = b"$%d\r\n%b\r\n" % (len(value), value)
    with Proxy(server.port) as proxy, Redis(port=server.port) as direct, socket.socket() as client:
        direct.set("a", value)
        proxy.bytes_per_sec = before
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.settimeout(10)
        client.connect((HOST, proxy.port))
        client.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
        client.recv(1, socket.MSG_PEEK)

        proxy.bytes_per_sec = after
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as reply:
            assert reply.read() == expected


@pytest.mark.parametrize("is_cleared", [False, True], ids=["at the end", "cleared before"])
def test_a_fault_that_never_happened_is_an_error(server: Server, *, is_cleared: bool) -> None:
    """Or a test would pass that tries nothing."""
    proxy = Proxy(server.port).__enter__()
    proxy.when("XACK", Fault.CUT_AFTER)
    proxy.when("XDEL", Fault.HANG, may_miss=True)
    if is_cleared:
        proxy.clear()

    with pytest.raises(NeverHappened, match=r"CUT_AFTER at XACK$"):
        proxy.__exit__(None, None, None)


async def test_nobody_else_gets_the_port_of_a_proxy_that_refuses(proxy: Proxy, client: redis.Redis) -> None:
    """Or a client of ours would speak to somebody else's server, and a client of theirs to ours."""
    proxy.refuse()
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind((HOST, proxy.port))

    proxy.accept()

    assert await client.ping()


async def test_tls_in_front_of_a_plain_server(server: Server) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca = authority.cert_pem.bytes().decode()

    with Proxy(server.port, tls=context) as proxy:
        async with connect(proxy, host="127.0.0.1", ssl=True, ssl_ca_data=ca) as client:
            assert await client.ping()
            proxy.when("SET", Fault.CUT_AFTER)
            with pytest.raises(RedisConnectionError):
                await client.set("a", 1)
        async with connect(proxy, host="127.0.0.1", ssl=True) as client:
            with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.ping()


@pytest.mark.parametrize(
    "command",
    [
        "XPENDING stream group IDLE 10 - + 10",
        "XPENDING stream group (1-1 + 10",
        "XRANGE stream (1-1 +",
        "XAUTOCLAIM stream group me 0 0-0",
        "XADD stream MINID 1-1 * a b",
        "XADD stream NOMKSTREAM * a b",
        "SET key value GET",
        "GETDEL key",
    ],
)
async def test_redis_6_0_refuses_what_came_later(proxy: Proxy, client: redis.Redis, command: str) -> None:
    redis_6_0_commands(proxy)
    await client.xgroup_create("stream", "group", mkstream=True)

    with pytest.raises(ResponseError):
        await client.execute_command(*command.split())

    proxy.clear()
    await client.execute_command(*command.split())


async def test_redis_6_0_lets_through_what_it_knows(proxy: Proxy, client: redis.Redis) -> None:
    redis_6_0_commands(proxy)

    await client.xgroup_create("stream", "group", mkstream=True)
    entry_id = await client.execute_command("XADD", "stream", "*", "IDLE", "(MINID")
    await client.execute_command("XREADGROUP", "GROUP", "group", "one", "STREAMS", "stream", ">")
    pending = await client.execute_command("XPENDING", "stream", "group", "-", "+", "10", "one")
    claimed = await client.xclaim("stream", "group", "two", 0, [entry_id], idle=5, justid=True)

    assert [row[0] for row in pending] == claimed == [entry_id]
    assert await client.set("key", "GET", px=1000, nx=True)
