"""A call is made again while its error may pass: as often, as patiently and as long as is allowed."""

import asyncio
from collections.abc import Awaitable

import pytest

from reclaim.errors import RetryEntry
from reclaim.retry import Retries
from reclaim.times import Deadline


class Clock:
    """Seconds that pass only while somebody sleeps; keeps how long that was each time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Failing:
    """Fails so often, then returns how often it was called."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.calls = 0
        self._times = times
        self._error = error

    def __call__(self) -> Awaitable[int]:
        return self._call()

    async def _call(self) -> int:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error or RetryEntry(f"failure {self.calls}")
        return self.calls


async def retried(failing: Failing, clock: Clock, attempts: int = 5, max_delay_sec: float = 10, sec: float = 60) -> int:
    """What comes of the attempts; an object is called, which tenacity does not know to be asynchronous."""
    return await Retries(attempts, max_delay_sec, clock.sleep).attempt(Deadline(sec, clock), failing)


@pytest.mark.parametrize("times", [0, 1, 2, 4])
async def test_the_attempt_that_works_gives_the_result(times: int) -> None:
    """After a wait before each further one; each wait may be twice as long as the one before, from 0.05 s on."""
    clock, failing = Clock(), Failing(times)

    assert await retried(failing, clock) == times + 1
    assert len(clock.waits) == times
    assert all(wait <= 0.05 * 2**at for at, wait in enumerate(clock.waits))


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_after_so_many_attempts_the_last_error_is_raised(attempts: int) -> None:
    """One attempt means that nothing is tried again."""
    clock, failing = Clock(), Failing(9)

    with pytest.raises(RetryEntry, match=f"failure {attempts}"):
        await retried(failing, clock, attempts)

    assert (failing.calls, len(clock.waits)) == (attempts, attempts - 1)


async def test_an_error_that_does_not_pass_is_raised_at_once() -> None:
    """Trying again would not help."""
    clock, failing = Clock(), Failing(9, ValueError("for good"))

    with pytest.raises(ValueError, match="for good"):
        await retried(failing, clock)

    assert (failing.calls, clock.waits) == (1, [])


async def test_no_wait_reaches_past_the_deadline() -> None:
    """The error is raised earlier, rather than an attempt begun too late."""
    clock, failing = Clock(), Failing(1_000)

    with pytest.raises(RetryEntry):
        await retried(failing, clock, attempts=1_000, sec=0.3)

    assert clock.now < 0.3
    assert failing.calls == len(clock.waits) + 1 < 1_000


async def test_no_wait_is_longer_than_the_longest_allowed() -> None:
    """However many attempts were made."""
    clock = Clock()

    assert await retried(Failing(20), clock, attempts=30, max_delay_sec=0.1) == 21

    assert max(clock.waits) <= 0.1


async def test_a_call_is_interrupted_at_the_deadline() -> None:
    """`call`, in contrast to `attempt`, does not wait for what hangs."""
    deadline = Deadline(0.01, asyncio.get_running_loop().time)

    with pytest.raises(TimeoutError):
        await Retries(3, 0.1).call(deadline, lambda: asyncio.sleep(60))
