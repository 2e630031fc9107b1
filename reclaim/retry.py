"""Owns the retry policy: how often and how patiently a call is made again while its error may pass."""

import asyncio
import random
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
    """How often and how patiently a call is made again while its error may pass.

    Attributes:
        attempts: how many in all.
        max_delay_sec: the longest wait between two attempts; the waits grow from 0.05 s, with jitter.
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

        Tenacity does not make the first attempt: its bookkeeping takes a hundred times as long as a call that works,
        and nearly every call works.
        """
        try:
            return await function()
        except Exception as exc:  # noqa: BLE001  # the policy in `again` judges every error
            error = exc
        return await self.again(deadline, error, function)

    async def again(self, deadline: Deadline, error: Exception, function: Callable[[], Awaitable[T]]) -> T:
        """What the function returns at a further attempt, after a first one that failed with this error.

        Raises:
            Exception: the error of the last attempt; `error` itself where no further attempt is to be made.
        """
        wait_sec = random.uniform(0, min(FIRST_DELAY_SEC, self.max_delay_sec))  # noqa: S311 # jitter, no secret
        if self.attempts < 2 or not is_transient(error) or wait_sec >= deadline.remaining_sec():
            raise error
        await self.sleep(wait_sec)

        async def further() -> T:  # tenacity awaits only what is declared with `async def`
            return await function()

        return await self._further(deadline)(further)

    def _further(self, deadline: Deadline) -> AsyncRetrying:
        """The policy after the first attempt.

        A new one for each use: tasks that share an AsyncRetrying overwrite each other's attempt state.
        """
        return AsyncRetrying(
            retry=retry_if_exception(is_transient),
            wait=wait_random_exponential(multiplier=2 * FIRST_DELAY_SEC, max=self.max_delay_sec),
            stop=stop_after_attempt(self.attempts - 1) | _StopBefore(deadline),
            sleep=self.sleep,
            reraise=True,
        )
