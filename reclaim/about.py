"""Owns questions about a server: asked with some patience, and its words made ours."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from redis import exceptions as redis_errors

from reclaim.connection import TIMEOUT_SEC, Command, Reply, Server
from reclaim.entry import readable
from reclaim.errors import Unreachable
from reclaim.retry import Deadline, Retries

ATTEMPTS = 3


async def ask(server: Server, commands: Sequence[Command]) -> list[Reply]:
    """What `Server.batch` returns, refusals among the replies; asked again where a connection turns out to be dead.

    Raises:
        ServerError: what went wrong, in words that name the server.
    """
    asking = partial(server.batch, commands, denial_raises=False)
    try:
        return await Retries(ATTEMPTS, max_delay_sec=0).attempt(Deadline(TIMEOUT_SEC, time.monotonic), asking)
    except redis_errors.TimeoutError as exc:
        raise Unreachable(str(exc)) from exc
    except (redis_errors.RedisError, OSError) as exc:
        raise Unreachable(f"{server.address} does not answer: {exc}") from exc


def moment(unix_ms: int) -> str:
    """A time in milliseconds since 1970 as ISO 8601, UTC."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds")


def info(reply: bytes) -> dict[str, str]:
    """What INFO says, by name (https://redis.io/docs/latest/commands/info/)."""
    lines = (line.partition(":") for line in readable(reply).splitlines())
    return {name: value for name, colon, value in lines if colon}


def kind_and_version(facts: Mapping[str, str]) -> tuple[str, str]:
    """The server's name and version; Valkey gives as redis_version the one that it is compatible with."""
    if "valkey_version" in facts:
        return "valkey", facts["valkey_version"]
    return "redis", facts.get("redis_version", "")
