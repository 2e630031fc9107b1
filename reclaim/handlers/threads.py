"""Owns the threads in which functions that are not async are called.

They are daemons of our own: the threads of `asyncio.to_thread` are joined when the process ends, so that a call which
hangs would keep the process alive for ever.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, Self

from reclaim.errors import HandlerExited, TooManyHang, describe

MOST_LEFT_BEHIND = 1000  # calls that were given up and still run; each keeps a thread, of some 50 kB


class Call:
    """One call of a function in a thread.

    Attributes:
        is_running: whether it still runs. It may be asked in any thread.
    """

    def __init__(self, function: Callable[..., Any], argument: object) -> None:
        self.is_running = True
        self._function = function
        self._argument = argument
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._result: Any = None
        self._error: BaseException | None = None

    async def result(self) -> Any:
        """What the function returned.

        Raises:
            BaseException: what the function raised; but for KeyboardInterrupt and SystemExit, which would end the loop.
        """
        await self._ended
        if self._error is None:
            return self._result
        if isinstance(self._error, Exception | asyncio.CancelledError):
            raise self._error
        raise HandlerExited(f"the handler raised {describe(self._error)}") from self._error

    def run(self) -> None:
        """Make the call, in the thread that this is called in."""
        try:
            self._result = self._context.run(self._function, self._argument)
        except BaseException as exc:  # noqa: BLE001  # whoever waits for the result gets it
            self._error = exc
        self.is_running = False
        with suppress(RuntimeError):  # the loop is closed, so that nobody waits
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


class Threads:
    """Daemon threads that call functions. There are as many as there were calls at the same time, at most.

    A call that is given up before it ends is left behind, and its thread with it: the next call gets a new thread. When
    it ends after all, its thread ends.
    """

    def __init__(self, name: str, most_left_behind: int = MOST_LEFT_BEHIND) -> None:
        """Make it; no thread is started yet.

        Args:
            name: what messages call the function.
            most_left_behind: if so many calls were given up and still run, no further call is begun.
        """
        self._name = name
        self._most_left_behind = most_left_behind
        self._idle: list[_Thread] = []
        self._left_behind: list[Call] = []
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        for thread in self._idle:
            thread.end()

    @contextmanager
    def calling(self, function: Callable[..., Any], argument: object) -> Iterator[Call]:
        """Begin a call, for as long as the block lasts. If it still runs at the block's end, it is left behind.

        Raises:
            TooManyHang: too many calls that were left behind still run.
        """
        self._left_behind = [call for call in self._left_behind if call.is_running]
        if len(self._left_behind) >= self._most_left_behind:
            raise TooManyHang(f"{len(self._left_behind):,} calls of {self._name} hang: start the process anew")
        call, thread = Call(function, argument), self._idle.pop() if self._idle else _Thread(self._name)
        thread.give(call)
        try:
            yield call
        finally:
            if call.is_running:
                self._left_behind.append(call)
            if call.is_running or self._is_over:
                thread.end()
            else:
                self._idle.append(thread)


class _Thread:
    """A daemon thread that makes one call after another."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        threading.Thread(target=self._work, name=f"reclaim {name}", daemon=True).start()

    def give(self, call: Call) -> None:
        """Make this call, when those before it have ended."""
        self._calls.put(call)

    def end(self) -> None:
        """End the thread, when its calls have ended."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
