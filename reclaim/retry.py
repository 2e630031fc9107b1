"""Owns the retry policies: what tenacity does with an error that may pass."""

import asyncio
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential
from tenacity.stop import stop_base

from reclaim.errors import is_transient

FIRST_DELAY_SEC = 0.05


class Deadline:
    """A moment on a monotonic clock by which something must be over."""

    def __init__(self, budget_sec: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.at = clock() + budget_sec

    def remaining_sec(self) -> float:
        """Seconds left; never below zero."""
        return max(0.0, self.at - self._clock())

    def passed(self) -> bool:
        """Whether it is over."""
        return self._clock() >= self.at


class _StopBefore(stop_base):
    """Stops where the sleep to come would reach past the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: RetryCallState) -> bool:
        return retry_state.upcoming_sleep >= self._deadline.remaining_sec()


def policy(
    attempts: int,
    max_delay_sec: float,
    deadline: Deadline,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncRetrying:
    """A new policy for one use: transient errors again, with jitter, while the deadline leaves time for the sleep.

    One per use: concurrent tasks that share an AsyncRetrying overwrite each other's attempt state.
    """
    return AsyncRetrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=FIRST_DELAY_SEC, max=max_delay_sec),
        stop=stop_after_attempt(attempts) | _StopBefore(deadline),
        sleep=sleep,
        reraise=True,
    )
