"""Owns how a server is asked something outside a run: with some patience, and refusals as replies."""

import time
from collections.abc import Sequence
from functools import partial

from redis import exceptions as redis_errors

from reclaim.errors import Unreachable
from reclaim.retry import Retries
from reclaim.state.connection import TIMEOUT_SEC, Command, Reply, Server
from reclaim.times import Deadline

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
