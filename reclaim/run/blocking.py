"""Owns the watch on handlers that block the event loop: they do not await, so nothing else goes on meanwhile.

A blocked loop renews no lease and no claim, serves no other target, and cannot end the run in time (G6). The watch
times each step of a handler, from where it goes on to where it waits again, and so knows which handler it was.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

from reclaim.bounded import NAME_CHARS, shortened
from reclaim.counted import how_often
from reclaim.entry import Entry, readable

logger = logging.getLogger("reclaim")

BLOCKED_SEC = 1.0  # a step that takes longer is told

T = TypeVar("T")


class Blocking:
    """How often, and for how long, the handler of one run (or one replay) blocked the event loop.

    Attributes:
        times: how many of its steps took longer than a second.
        longest_sec: how long the longest of them took.
    """

    def __init__(self, target: str, handler: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Make it; `handler` is what HANDLER names."""
        self.times = 0
        self.longest_sec = 0.0
        self._target = shortened(target, NAME_CHARS)
        self._handler = shortened(handler, NAME_CHARS)
        self._clock = clock

    def watched(self, store: Callable[[], Coroutine[Any, Any, T]], entry: Entry) -> Awaitable[T]:
        """What `store` returns, each of its steps timed; `entry` is what it stores."""
        return _Stepwise(store, self._clock, partial(self._note, entry))

    def _note(self, entry: Entry, seconds: float) -> None:
        self.times += 1
        self.longest_sec = max(self.longest_sec, seconds)
        if self.times == 1:
            logger.warning(
                "reclaim %s: HANDLER %s blocked the event loop for %.1f s with entry %s, and nothing else went on"
                " meanwhile: await what takes long, or give it to asyncio.to_thread",
                self._target,
                self._handler,
                seconds,
                readable(entry.id),
            )

    def __str__(self) -> str:
        """It in words; empty if the handler did not block."""
        if not self.times:
            return ""
        often = f"{how_often(self.times)}, for up to" if self.times > 1 else "for"
        return f"HANDLER {self._handler} blocked the event loop {often} {self.longest_sec:.1f} s"


class _Stepwise(Generic[T]):
    """Awaits a coroutine as `await` does, and tells of each step that took long."""

    def __init__(
        self, make: Callable[[], Coroutine[Any, Any, T]], clock: Callable[[], float], tell: Callable[[float], None]
    ) -> None:
        self._make = make
        self._clock = clock
        self._tell = tell

    def __await__(self) -> Generator[Any, Any, T]:
        work = self._make()
        step: Callable[[], Any] = partial(work.send, None)
        while True:
            began = self._clock()
            try:
                waits_for = step()
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                if (seconds := self._clock() - began) > BLOCKED_SEC:
                    self._tell(seconds)
            try:
                step = partial(work.send, (yield waits_for))
            except GeneratorExit:
                work.close()
                raise
            except BaseException as exc:  # noqa: BLE001  # whatever is thrown in is the coroutine's to handle
                step = partial(work.throw, exc)
