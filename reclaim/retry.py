"""Owns the retry policies: what tenacity does with an error that may pass."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential
from tenacity.stop import stop_base

from reclaim.times import Deadline
from reclaim.verdicts import is_transient

FIRST_DELAY_SEC = 0.05

T = TypeVar("T")


class _StopBefore(stop_base):
    """Stops where the sleep to come would reach past the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: RetryCallState) -> bool:
        return retry_state.upcoming_sleep >= self._deadline.remaining_sec()


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how patiently an operation is tried again while its error may pass.

    Attributes:
        attempts: how many in all.
        max_delay_sec: the longest wait between two; waits grow from 0.05 s, with jitter.
        sleep: waits so many seconds.
    """

    attempts: int
    max_delay_sec: float
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def call(self, deadline: Deadline, function: Callable[[], Awaitable[T]]) -> T:
        """What the function returns, called again while its error may pass; TimeoutError at the deadline."""
        async with asyncio.timeout(deadline.remaining_sec()):
            return await self.attempt(deadline, function)

    async def attempt(self, deadline: Deadline, function: Callable[[], Awaitable[T]]) -> T:
        """The same, but nothing is interrupted at the deadline: no attempt is begun after it.

        The first attempt is made without tenacity, whose bookkeeping costs more than most of what is tried here; only
        when it fails tenacity is told, as of an attempt of its own.
        """
        try:
            return await function()
        except Exception as exc:
            failed = exc
        return await self.again(deadline, failed, function)

    async def again(self, deadline: Deadline, failed: Exception, function: Callable[[], Awaitable[T]]) -> T:
        """What further attempts come to, after one that failed like this; the same error if there are to be none."""
        failures = [failed]

        async def attempt() -> T:
            if failures:
                raise failures.pop()
            return await function()

        return await self._policy(deadline)(attempt)

    def _policy(self, deadline: Deadline) -> AsyncRetrying:
        """A new one for each use: tasks that share an AsyncRetrying overwrite each other's attempt state."""
        return AsyncRetrying(
            retry=retry_if_exception(is_transient),
            wait=wait_random_exponential(multiplier=FIRST_DELAY_SEC, max=self.max_delay_sec),
            stop=stop_after_attempt(self.attempts) | _StopBefore(deadline),
            sleep=self.sleep,
            reraise=True,
        )
