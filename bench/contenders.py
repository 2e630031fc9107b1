"""Owns what is measured against each other: the published algorithm, the app, and the server's own limit."""

import asyncio
import json
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import hiredis
from redis.asyncio import Redis

from bench.backlog import entry_id, tweet
from reclaim.app import App
from reclaim.entry import id_after
from reclaim.run.report import RunReport
from reclaim.settings import Settings
from reclaim.state.ask import Command, raised
from reclaim.state.bodies import RUN
from reclaim.state.claim import _CLAIM
from reclaim.state.lost import LOST_MAXLEN, now_ms
from reclaim.state.packing import pack_all

AT_ONCE = 20  # go-redis, which the published program uses, has ten connections for each processor; here are two
PAGE_SIZE = 500  # as ours
RECEIVED_AT_ONCE = 256 * 1024

# Finds, claims, stores and acknowledges one page inside the server; no body leaves it.
# KEYS: the stream. ARGV: group, consumer, least idle ms, entries wanted. Result: how many there were.
_PAGE = """
local rows = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4])
if #rows == 0 then return 0 end
local ids = {}
for at, row in ipairs(rows) do ids[at] = row[1] end
for _, entry in ipairs(redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], unpack(ids))) do
  local fields, key = entry[2], nil
  for at = 1, #fields, 2 do
    if fields[at] == 'id' then key = 'tweet:' .. fields[at + 1] end
  end
  redis.call('HSET', key, unpack(fields))
end
redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
return #ids
"""


def client_of(settings: Settings) -> Redis:
    """A client with the library's own defaults, but without time limits: 50,000 tasks begun at once reach any."""
    tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": settings.ca_file} if settings.tls else {}
    return Redis(host=settings.host, port=settings.port, socket_timeout=None, socket_connect_timeout=None, **tls)


async def baseline() -> list[RunReport]:
    """One run of the published algorithm: list everything, claim everything, a task per entry: HSET, then XACK.

    A semaphore limits what is at work, and no pool that blocks: its condition is slow with 50,000 tasks waiting for it.
    """
    settings = Settings.from_env(os.environ)
    target = settings.targets[0]
    client: Any = client_of(settings)
    free = asyncio.Semaphore(AT_ONCE)

    async def process(entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        async with free:
            await client.hset(b"tweet:" + fields[b"id"], mapping=fields)
            await client.xack(target.stream, target.group, entry_id)

    summary = await client.xpending(target.stream, target.group)
    rows = await client.xpending_range(target.stream, target.group, "-", "+", summary["pending"])
    ids = [row["message_id"] for row in rows]
    claimed = await client.xclaim(target.stream, target.group, target.consumer, target.min_idle_ms, ids)
    await asyncio.gather(*(process(entry_id, fields) for entry_id, fields in claimed))
    await client.aclose()
    return []


async def limit() -> list[RunReport]:
    """Everything inside the server: one script for each page, one page after another."""
    settings = Settings.from_env(os.environ)
    target = settings.targets[0]
    client: Any = client_of(settings)
    script = client.register_script(_PAGE)
    arguments = [target.group, target.consumer, target.min_idle_ms, PAGE_SIZE]
    while await script(keys=[target.stream], args=arguments):
        pass
    await client.aclose()
    return []


async def bare() -> list[RunReport]:
    """The commands of ours and nothing else, on one blocking socket: what any client in Python has to do for them.

    Its replies are read by hiredis and its commands packed as ours are. No lease, order, tries, deadlines or refunds.
    """
    settings = Settings.from_env(os.environ)
    target = settings.targets[0]
    about, keys, reader = (target.keys.stream, target.group_bytes), target.keys, hiredis.Reader()
    with _socket(settings) as link:

        def replies(*commands: Command) -> list[Any]:
            reader.feed(b"*%d\r\n" % len(commands))
            link.sendall(pack_all(commands))
            while (read := reader.gets()) is False:
                reader.feed(link.recv(RECEIVED_AT_ONCE))
            return raised(read)

        start: bytes | None = b"-"
        while start is not None:
            (rows,) = replies(("XPENDING", *about, "IDLE", target.min_idle_ms, start, "+", PAGE_SIZE))
            if not (ids := [row[0] for row in rows]):
                break
            runs = [ids[at : at + RUN] for at in range(0, len(ids), RUN)]
            bodies = replies(*(("XRANGE", keys.stream, run[0], run[-1], "COUNT", RUN) for run in runs))
            told = (*about[1:], target.consumer_bytes, target.min_idle_ms, now_ms(), LOST_MAXLEN, 1, len(ids), 0)
            replies(("EVAL", _CLAIM, 2, keys.stream, keys.lost, *told, *ids))
            entries = [fields for run in bodies for _, fields in run]
            replies(*(("HSET", b"tweet:" + fields[fields.index(b"id") + 1], *fields) for fields in entries))
            replies(("XACK", *about, *ids))
            start = id_after(ids[-1]) if len(ids) == PAGE_SIZE else None
    return []


def _socket(settings: Settings) -> socket.socket:
    plain = socket.create_connection((settings.host, settings.port))
    if not settings.tls:
        return plain
    return ssl.create_default_context(cafile=settings.ca_file).wrap_socket(plain, server_hostname=settings.host)


async def ours() -> list[RunReport]:
    """One run of the app; the others make no reports."""
    app = App.from_env(os.environ)
    reports = await app.run()
    await app.aclose()
    return reports


def posts() -> Awaitable[list[RunReport]]:
    """The HTTP client alone: so many POSTs, LANES of them at a time, of requests that are made before."""
    target = Settings.from_env(os.environ).targets[0]
    requests = [_request(number) for number in range(int(os.environ["BENCH_POSTS"]))]
    return _post_all(requests, target.http_url or "", target.lanes)


def _request(number: int) -> tuple[dict[str, str], bytes]:
    """The headers and the body that ours sends for this tweet."""
    texts, one = [part.decode() for part in tweet(number)], entry_id(number).decode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": one, "ce-specversion": "1.0", "ce-id": one}
    headers |= {"ce-type": "reclaim.entry", "ce-source": "/reclaim/tweets_stream/redisearch_app_group"}
    return headers, json.dumps(dict(zip(texts[::2], texts[1::2], strict=True)), ensure_ascii=False).encode()


async def _post_all(requests: Iterable[tuple[dict[str, str], bytes]], url: str, lanes: int) -> list[RunReport]:
    import aiohttp  # noqa: PLC0415  # ours imports it in its run too

    left = iter(requests)

    async def lane(session: aiohttp.ClientSession) -> None:
        for headers, body in left:
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()
                response.raise_for_status()

    connector = aiohttp.TCPConnector(limit=lanes)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(lane(session) for _ in range(lanes)))
    return []


async def warm_up() -> None:
    """A run that finds no stream: a process's first run loads what later ones have."""
    app = App.from_env(os.environ | {"STREAM_NAME": "none", "MISSING_OK": "true"})
    await app.run()
    await app.aclose()


CONTENDERS: dict[str, Callable[[], Awaitable[list[RunReport]]]] = {
    "baseline": baseline,
    "ours": ours,
    "limit": limit,
    "bare": bare,
    "posts": posts,
}


async def wait(_: object) -> None:
    """A handler that waits as long as a call over the network may take."""
    await asyncio.sleep(WAIT_SEC)


WAIT_SEC = 0.05


async def compute(_: object) -> None:
    """A handler that uses the processor, as one that parses or signs does."""
    until = time.thread_time() + COMPUTE_SEC
    while time.thread_time() < until:
        pass


COMPUTE_SEC = 0.002
