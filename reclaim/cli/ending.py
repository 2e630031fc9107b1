"""Owns the end of a command: nobody waits for long for what was given up, be it a task or a thread.

Python itself waits without a limit: asyncio.run for tasks that ignore their cancellation and for the threads of
asyncio.to_thread, and the end of the process for those of every pool. Where nothing was given up, that is so here too.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from reclaim import left_behind

CLOSE_SEC = 1.0  # how long tasks may take to be cancelled, and threads of asyncio.to_thread to end
LEAVE_SEC = 5.0  # how long the process may take to end then

T = TypeVar("T")
_left: list[asyncio.Runner] = []  # kept, so that Python does not complain of what is still at work in it


def run(work: Coroutine[Any, Any, T]) -> T:
    """What the work returns, as asyncio.run; but what was given up and does not end is left behind."""
    runner, pool = asyncio.Runner(), ThreadPoolExecutor(thread_name_prefix="asyncio")
    runner.get_loop().set_default_executor(pool)
    try:
        return runner.run(work)
    finally:
        if not left_behind.is_some() or _all_end(runner.get_loop(), pool):
            runner.close()
        else:
            _left.append(runner)


def _all_end(loop: asyncio.AbstractEventLoop, pool: ThreadPoolExecutor) -> bool:
    """Whether all tasks and threads end in time, now that they are asked to."""
    closing = threading.Thread(target=pool.shutdown, name="reclaim closing", daemon=True)
    closing.start()
    left = loop.run_until_complete(_cancelled())
    closing.join(CLOSE_SEC)
    return not left and not closing.is_alive()


async def _cancelled() -> set[asyncio.Task[Any]]:
    """The tasks that do not end in time though they are cancelled."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    return (await asyncio.wait(tasks, timeout=CLOSE_SEC))[1] if tasks else set()


def end_in_time(code: object, most_sec: float = LEAVE_SEC) -> None:
    """End the process with this exit code after `most_sec`, if Python still waits for what was given up."""
    status = code if isinstance(code, int) else int(code is not None)
    threading.Thread(target=_end, args=(status, most_sec), name="reclaim end", daemon=True).start()


def _end(status: int, after_sec: float) -> None:
    time.sleep(after_sec)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it
            stream.flush()
    os._exit(status)
