"""Owns the handlers of a soak: what becomes of an entry is written in the entry itself, in its field ``plan``.

A plan is a word and how many tries it is for: ``raise:2`` fails twice and then stores. To store is to write a line in
the journal. There is one handler of each kind for each target, so that the journal tells which target an entry is of.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar

import aiohttp
import asyncpg
import httpx
import psycopg
import requests
from botocore import exceptions as botocore_errors
from pymongo import errors as pymongo_errors
from redis import exceptions as redis_errors

from dev.soak import journal
from reclaim import Entry, RejectEntry, RetryEntry, batch

SLOW_SEC, BLOCK_SEC, HANG_SEC = 0.15, 0.3, 60.0
replaying: ContextVar[bool] = ContextVar("replaying", default=False)

OUTAGES: dict[str, Callable[[], Exception]] = {
    "refused": lambda: ConnectionRefusedError(111, "connection refused"),
    "timeout": lambda: TimeoutError("no answer"),
    "httpx": lambda: httpx.ConnectError("all connection attempts failed"),
    "requests": lambda: requests.ConnectionError("no route"),
    "aiohttp": lambda: aiohttp.ServerDisconnectedError("server disconnected"),
    "psycopg": lambda: psycopg.OperationalError("connection failed: connection refused"),
    "asyncpg": lambda: asyncpg.CannotConnectNowError("the database system is starting up"),
    "pymongo": lambda: pymongo_errors.ServerSelectionTimeoutError("no servers"),
    "botocore": lambda: botocore_errors.EndpointConnectionError(endpoint_url="http://127.0.0.1"),
    "redis": lambda: redis_errors.ConnectionError("connection lost"),
    "retry": lambda: RetryEntry("not now"),
}


class FalsyError(Exception):
    """An error that Python takes for false, as a collection of no errors is."""

    def __bool__(self) -> bool:
        return False


async def handle(target: int, entry: Entry, *, may_hang: bool = True) -> None:
    """Do what the entry's plan says, and write down how it ended."""
    entry_id, key = entry.id.decode(), (entry.get(b"key") or b"").decode(errors="backslashreplace")
    prefix = "replay-" if replaying.get() else ""
    journal.write(f"{prefix}begin", target, entry_id, key)
    tries = journal.count_try(target, entry_id)
    try:
        await _reach_endpoint(target, entry_id, key)
        plan = (entry.get(b"plan") or b"ok:0").decode()
        await _do(plan if may_hang else plan.replace("hang", "slow"), tries)
    except asyncio.CancelledError:
        journal.write(f"{prefix}cancelled", target, entry_id, key)
        raise
    except BaseException as exc:
        journal.write(f"{prefix}{_kind(exc)}", target, entry_id, key)
        raise
    journal.write(f"{prefix}stored", target, entry_id, key)


async def _reach_endpoint(target: int, entry_id: str, key: str) -> None:
    """Ask what the entry is to be stored in; where it is dead, nobody answers."""
    port = journal.dead_endpoint(target, key)
    if port is not None:
        journal.write(journal.DEAD_ENDPOINT, target, entry_id, key)
        await asyncio.open_connection("127.0.0.1", port)


def _kind(exc: BaseException) -> str:
    match exc:
        case RejectEntry():
            return "rejected"
        case FalsyError() | ValueError() | SystemExit() | psycopg.errors.UniqueViolation():
            return "failed"
        case _:
            return "outage"


async def _do(plan: str, tries: int) -> None:
    word, _, times = plan.partition(":")
    if tries > int(times):
        return
    if word in OUTAGES:
        raise OUTAGES[word]()  # noqa: RSE102  # it makes the exception
    await _ACTS.get(word, _nothing)()


async def _nothing() -> None:
    pass


async def _wrapped() -> None:
    try:
        raise ConnectionResetError(104, "reset by peer")
    except OSError as exc:
        raise RuntimeError("could not save") from exc


async def _slow() -> None:
    await asyncio.sleep(SLOW_SEC)


async def _raise() -> None:
    raise ValueError("no good")


async def _falsy() -> None:
    raise FalsyError("nothing to see")


async def _exit() -> None:
    raise SystemExit(3)


async def _reject() -> None:
    raise RejectEntry("not for us")


async def _violation() -> None:
    raise psycopg.errors.UniqueViolation("duplicate key")


async def _hang() -> None:
    await asyncio.sleep(HANG_SEC)


async def _block() -> None:
    time.sleep(BLOCK_SEC)  # noqa: ASYNC251  # it blocks the event loop on purpose
    raise ValueError("blocked, and in vain")


async def _kill() -> None:
    if os.environ.get(journal.CHILD):
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("would have killed the process")


_ACTS: dict[str, Callable[[], Awaitable[None]]] = {
    "wrapped": _wrapped,
    "slow": _slow,
    "raise": _raise,
    "falsy": _falsy,
    "exit": _exit,
    "reject": _reject,
    "violation": _violation,
    "hang": _hang,
    "block": _block,
    "kill": _kill,
}


PLANS = (*OUTAGES, *_ACTS)


Function = Callable[[Entry], Awaitable[None]]


def _function(target: int) -> Function:
    async def handle_entry(entry: Entry) -> None:
        await handle(target, entry)

    return handle_entry


def _sync(target: int) -> Callable[[Entry], None]:
    """One that is not async; what would hang is slow, as nobody can end its thread."""

    def handle_entry(entry: Entry) -> None:
        asyncio.run(handle(target, entry, may_hang=False))

    return handle_entry


def _batch(target: int) -> Callable[[Sequence[Entry]], Awaitable[dict[bytes, Exception]]]:
    """One for batches: where the last entry is at fault the batch fails as a whole; else it says which failed."""

    @batch(most=4)
    async def handle_entries(entries: Sequence[Entry]) -> dict[bytes, Exception]:
        failures: dict[bytes, Exception] = {}
        for entry in entries:
            try:
                await handle(target, entry)
            except Exception as exc:
                if entry is entries[-1] and _kind(exc) != "outage":
                    raise
                failures[entry.id] = exc
        return failures

    return handle_entries


def _resource(target: int) -> Callable[[], AbstractAsyncContextManager[Function]]:
    @asynccontextmanager
    async def resource() -> AsyncIterator[Function]:
        await asyncio.sleep(0)
        yield _function(target)

    return resource


handle_0, handle_1, handle_2 = map(_function, range(3))
sync_0, sync_1, sync_2 = map(_sync, range(3))
batch_0, batch_1, batch_2 = map(_batch, range(3))
resource_0, resource_1, resource_2 = map(_resource, range(3))
KINDS = ("handle", "handle", "sync", "batch", "resource")  # of what HANDLER may name
