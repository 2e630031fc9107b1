"""Owns the warm process of a soak: an event loop in a thread, and what is looked at in its log."""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

    from reclaim.run.report import RunReport

LINE_BYTES = 8192


@dataclass
class Loop:
    """An event loop in a thread of its own: the warm process whose app runs again and again."""

    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        threading.Thread(target=self.loop.run_forever, name="soak", daemon=True).start()

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Begin it there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)


class Lines(logging.Handler):
    """Looks at every line of the log: none is too long, none has the traceback of a mistake."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.problems: list[str] = []
        self.longest = 0

    def emit(self, record: logging.LogRecord) -> None:
        size = len(self.format(record).encode())
        self.longest = max(self.longest, size)
        if size > LINE_BYTES:
            self.problems.append(f"G7: a log line of {size} bytes: {record.getMessage()[:300]}")
        if record.name == "asyncio" and record.levelno >= logging.ERROR:
            self.problems.append(f"asyncio says: {self.format(record)[-2000:]}")


@dataclass
class Run:
    """A run of the warm process.

    Attributes:
        began: when, in seconds of the world.
        faults: how many faults there had been when it began.
    """

    future: "Future[list[RunReport]]"
    began: float
    faults: int
