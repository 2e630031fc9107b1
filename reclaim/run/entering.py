"""Owns the entering of a handler's resource: before anything is claimed, and while there is time."""

import asyncio

from reclaim.handlers.outcomes import Handler
from reclaim.retry import Retries
from reclaim.times import Deadline


async def enter(handler: Handler, retries: Retries, until: Deadline, stop: asyncio.Event | None = None) -> bool:
    """Have the handler's resource entered, if it has one; again while the error is transient.

    Returns:
        False: `stop` was set before it was entered. It is given up then.

    Raises:
        NotEntered: it could not be entered. No entry is to blame for that.
    """
    resource = handler.resource
    if resource is None:
        return True
    entering = asyncio.ensure_future(retries.attempt(until, lambda: resource.enter(until.remaining_sec())))
    stopping = asyncio.ensure_future((stop or asyncio.Event()).wait())
    try:
        await asyncio.wait({entering, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not entering.done():
            return False
        await entering
    finally:
        entering.cancel()
        stopping.cancel()
        await asyncio.wait({entering, stopping})
    return True
