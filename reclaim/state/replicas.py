"""Owns the wait for replicas: what was stored counts as stored when as many of them have it as were asked for."""

from redis import exceptions as redis_errors

from reclaim.errors import AccessDenied, NotReplicated, said
from reclaim.state.ask import Command, Reply
from reclaim.state.unsuitable import why_unsuitable

WAIT_MS = 1000  # the time limit for replicas; usually they have it within one


def wait_for(replicas: int) -> Command:
    """What is sent behind the stores, on the same connection (https://redis.io/docs/latest/commands/wait/)."""
    return ("WAIT", replicas, WAIT_MS)


def if_replicated(replies: list[Reply], had: Reply, wanted: int, address: str) -> list[Reply]:
    """The replies to stores; where too few replicas had them, an error in the place of each that is none.

    Args:
        replies: to the stores.
        had: the reply to WAIT.
        wanted: how many replicas have to have them.
        address: how messages name the server.

    Raises:
        AccessDenied, Unsuitable: the server does not let us wait.
    """
    if isinstance(had, redis_errors.NoPermissionError):
        what = f"{address} does not let this user run WAIT, which STORE_REPLICAS needs: {said(had)}"
        raise AccessDenied(what, "WAIT") from had
    if isinstance(had, Exception):
        raise (why_unsuitable(("WAIT",), had, b"", address) or had) from None
    if had >= wanted:
        return replies
    error = NotReplicated(f"stored at {address}, but {had} of {wanted} replicas had it within {WAIT_MS / 1000:g} s")
    return [reply if isinstance(reply, Exception) else error for reply in replies]
