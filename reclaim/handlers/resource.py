"""Owns the resource of a handler: what it has open while it works, such as a pool of connections."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from typing import Generic, TypeVar

from reclaim import left_behind
from reclaim.errors import HandlerCancelled, HandlerExited, NotEntered, describe

logger = logging.getLogger("reclaim")

LEAVE_SEC = 5.0  # how long leaving may take

T = TypeVar("T")


class Resource(Generic[T]):
    """An async context manager that is entered when a run first needs it, and left when its app is closed."""

    def __init__(self, name: str, make: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        """Make it; nothing is entered yet.

        Args:
            name: what messages call it.
            make: makes the context manager. It is called anew if the one before could not be entered, or has ended.
        """
        self._name = name
        self._make = make
        self._life: _Life[T] | None = None

    @property
    def value(self) -> T:
        """What the context manager gave. Ask only after `enter`."""
        if self._life is None:
            raise NotEntered(f"{self._name} has not been entered")
        return self._life.value

    async def enter(self, most_sec: float) -> None:
        """Enter it, unless it is entered already.

        Raises:
            NotEntered: the context manager raised an error, which is the cause; or it took longer than `most_sec`.
        """
        if self._life is not None and self._life.is_over:
            why = f": {describe(self._life.error)}" if self._life.error is not None else ""
            logger.warning("reclaim: %s ended by itself, and is entered anew%s", self._name, why)
            self._life = None
        if self._life is None:
            self._life = _Life(self._make)
        life = self._life
        try:
            async with asyncio.timeout(most_sec) as limit:
                await life.entered()
        except asyncio.CancelledError:
            self._forget(life)
            raise
        except Exception as exc:
            self._forget(life)
            why = f"it took more than {most_sec:.1f} s" if limit.expired() else describe(exc)
            raise NotEntered(f"{self._name} could not be entered: {why}") from exc

    def _forget(self, life: "_Life[T]") -> None:
        """Give up what is not entered, so that it is entered anew the next time; unless another target waits for it."""
        if life.is_awaited and not life.is_over:
            return
        life.cancel()
        if self._life is life:  # else another target has begun anew
            self._life = None

    async def leave(self, most_sec: float = LEAVE_SEC) -> None:
        """Leave it if it is entered. An error there, or that it takes too long, is logged: nothing depends on it."""
        life, self._life = self._life, None
        if life is None:
            return
        if not await life.ended(most_sec):
            life.cancel()
            logger.warning("reclaim: %s was not left within %g s", self._name, most_sec)
        elif life.error is not None:
            logger.warning("reclaim: %s raised an error when it was left: %s", self._name, describe(life.error))


class _Life(Generic[T]):
    """One context manager, from entering to leaving. A task of its own does both.

    Task groups and cancel scopes, which such a manager may have inside, must end in the task that they began in.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self.error: Exception | None = None  # why it ended, after it was entered
        self._waiting = 0
        self._value: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        # Its own context: what it starts outlives the run that asked for it, and its log lines must not name that run.
        self._task = asyncio.create_task(self._live(make), context=Context())

    @property
    def value(self) -> T:
        return self._value.result()

    @property
    def is_over(self) -> bool:
        return self._task.done()

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for it to be entered."""
        return self._waiting > 0

    async def entered(self) -> T:
        self._waiting += 1
        try:
            return await asyncio.shield(self._value)
        finally:
            self._waiting -= 1

    async def ended(self, most_sec: float) -> bool:
        """Leave, and say whether that came to its end in time."""
        self._leave.set()
        await asyncio.wait({self._task}, timeout=most_sec)
        return self._task.done()

    def cancel(self) -> None:
        if not self._task.done():
            left_behind.note()
            self._task.cancel()

    async def _live(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        try:
            async with make() as value:
                self._value.set_result(value)
                await self._leave.wait()
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001  # whatever it is, it must reach the run that waits for it
            error = _as_exception(exc)
            if self._value.done():
                self.error = error
                return
            self._value.set_exception(error)
            self._value.exception()  # so that nobody has to ask for it


def _as_exception(exc: BaseException) -> Exception:
    """The error as one that can be passed on: SystemExit would end the loop, CancelledError would cancel the waiter."""
    if isinstance(exc, Exception):
        return exc
    if isinstance(exc, asyncio.CancelledError):
        return HandlerCancelled("it was cancelled")
    return HandlerExited(f"it raised {describe(exc)}")
