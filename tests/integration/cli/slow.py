"""Handlers that take their time, for tests of the command line."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Never

from reclaim import Entry


async def handle(_: Entry) -> None:
    """Say that it has begun, and take 0.2 seconds."""
    logging.getLogger("slow").info("handling")
    await asyncio.sleep(0.2)


@asynccontextmanager
async def never_open() -> AsyncIterator[Never]:
    """A resource that cannot be entered: it waits for something that never comes."""
    logging.getLogger("slow").info("handling")
    await asyncio.Event().wait()
    yield
