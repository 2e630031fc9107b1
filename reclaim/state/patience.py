"""Owns the retries of questions that are asked outside a run: we ask again if the connection was dead."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis import exceptions as redis_errors

from reclaim.errors import Unreachable, said
from reclaim.retry import Retries
from reclaim.state.connection import Server
from reclaim.state.node import TIMEOUT_SEC
from reclaim.times import Deadline

ATTEMPTS = 3

T = TypeVar("T")


async def patiently(server: Server, asking: Callable[[], Awaitable[T]]) -> T:
    """Call `asking`, again and without a wait while its error is transient, and return its result.

    Raises:
        ServerError: what went wrong, in words that name the server.
    """
    try:
        return await Retries(ATTEMPTS, max_delay_sec=0).attempt(Deadline(TIMEOUT_SEC, time.monotonic), asking)
    except redis_errors.TimeoutError as exc:
        raise Unreachable(said(exc)) from exc
    except (redis_errors.RedisError, OSError) as exc:
        raise Unreachable(f"{server.address} does not answer: {said(exc)}") from exc
