"""Owns the entering of a handler's resource: before anything is claimed, and while there is time."""

from reclaim.handlers.outcomes import Handler
from reclaim.retry import Retries
from reclaim.times import Deadline


async def enter(handler: Handler, retries: Retries, until: Deadline) -> None:
    """Have the handler's resource entered, if it has one; again while the error is transient.

    Raises:
        NotEntered: it could not be entered. No entry is to blame for that.
    """
    resource = handler.resource
    if resource is not None:
        await retries.attempt(until, lambda: resource.enter(until.remaining_sec()))
