"""A handler that takes its time, for tests of the command line."""

import asyncio
import logging

from reclaim import Entry


async def handle(_: Entry) -> None:
    """Say that it has begun, and take 0.2 seconds."""
    logging.getLogger("slow").info("handling")
    await asyncio.sleep(0.2)
