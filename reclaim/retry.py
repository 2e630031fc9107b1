"""Owns the retry policy: how often a call is made again while its error is transient, and how long the waits are."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from reclaim.times import Deadline
from reclaim.verdicts import OwnErrors, is_transient, retry_after_sec

FIRST_DELAY_SEC = 0.05

T = TypeVar("T")


class _StopBefore(stop_base):
    """Stops if the next sleep would end after the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: RetryCallState) -> bool:
        return retry_state.upcoming_sleep >= self._deadline.remaining_sec()


class _AtLeastAsked(wait_base):
    """Waits as another policy does, and at least as long as the last error asks."""

    def __init__(self, policy: wait_base) -> None:
        self._policy = policy

    def __call__(self, retry_state: RetryCallState) -> float:
        wait_sec = float(self._policy(retry_state))
        error = retry_state.outcome.exception() if retry_state.outcome is not None else None
        return wait_sec if error is None else max(wait_sec, _asked_sec(error))


def _asked_sec(error: BaseException) -> float:
    """How long the error asks to wait; 0 if it does not."""
    return retry_after_sec(error, time.time()) or 0.0


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call is made again while its error is transient, and how long the waits are.

    If the error tells how long to wait (Retry-After), the wait is that long; where it would last past the deadline, no
    further attempt is made.

    Attributes:
        attempts: how many attempts in all, the first one included.
        max_delay_sec: the longest wait between two attempts, if the error tells none; the waits grow from 0.05 s, with
            jitter.
        sleep: waits so many seconds.
        own: classes of errors that the target's settings judge themselves.
    """

    attempts: int
    max_delay_sec: float
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    own: OwnErrors = field(default_factory=OwnErrors)

    async def call(self, deadline: Deadline, function: Callable[[], Awaitable[T]]) -> T:
        """Call the function, again while its error is transient; return its result.

        Raises:
            TimeoutError: the deadline has passed. Its text says so; asyncio's own error has no text.
        """
        try:
            async with asyncio.timeout(deadline.remaining_sec()) as limit:
                return await self.attempt(deadline, function)
        except TimeoutError as exc:
            if limit.expired() and not exc.args:
                raise TimeoutError("the time was up before it was done") from exc
            raise

    async def attempt(self, deadline: Deadline, function: Callable[[], Awaitable[T]]) -> T:
        """Do what `call` does, but let an attempt end after the deadline. No attempt begins after it.

        We make the first attempt without tenacity. Its bookkeeping takes a hundred times as long as a call that works,
        and nearly every call works.
        """
        try:
            return await function()
        except Exception as exc:  # noqa: BLE001  # the policy in `again` judges every error
            error = exc
        return await self.again(deadline, error, function)

    async def again(self, deadline: Deadline, error: Exception, function: Callable[[], Awaitable[T]]) -> T:
        """Make the further attempts, after the first one failed with `error`, and return the function's result.

        Raises:
            Exception: the error of the last attempt; `error` itself if no further attempt is allowed.
        """
        wait_sec = random.uniform(0, min(FIRST_DELAY_SEC, self.max_delay_sec))  # noqa: S311 # jitter, no secret
        if self.attempts < 2 or not self._is_transient(error):
            raise error
        wait_sec = max(wait_sec, _asked_sec(error))
        if wait_sec >= deadline.remaining_sec():
            raise error
        await self.sleep(wait_sec)

        async def further() -> T:  # tenacity awaits only what is declared with `async def`
            return await function()

        return await self._further(deadline)(further)

    def _is_transient(self, error: BaseException) -> bool:
        return is_transient(error, self.own)

    def _further(self, deadline: Deadline) -> AsyncRetrying:
        """The policy after the first attempt.

        Each use gets a new AsyncRetrying: tasks that share one overwrite each other's count of attempts.
        """
        return AsyncRetrying(
            retry=retry_if_exception(self._is_transient),
            wait=_AtLeastAsked(wait_random_exponential(multiplier=2 * FIRST_DELAY_SEC, max=self.max_delay_sec)),
            stop=stop_after_attempt(self.attempts - 1) | _StopBefore(deadline),
            sleep=self.sleep,
            reraise=True,
        )
