"""Owns which answers of a server mean that nothing of ours can be done there, and which setting leads elsewhere."""

import re

from redis import exceptions as redis_errors

from reclaim.errors import Unsuitable
from reclaim.state.ask import Command


def is_unknown_command(error: Exception) -> bool:
    """Whether the server does not have the command: another kind of server, or one that has renamed it."""
    return "unknown command" in str(error).lower()


def is_redirection(error: Exception) -> bool:
    """Whether a cluster's node says that the key is on another node."""
    return isinstance(error, redis_errors.AskError) or _OTHER_NODE.search(str(error)) is not None  # MOVED is an ASK


def why_unsuitable(command: Command, error: Exception, of_server: bytes, address: str) -> Unsuitable | None:
    """What an error means for all that we do there; None where it means nothing more than itself.

    Args:
        command: what was sent.
        error: what the server answered.
        of_server: what INFO says of the server itself, where it was asked.
        address: how messages name the server.
    """
    if is_redirection(error):
        todo = "set REDIS_CLUSTER=true, or on Azure Managed Redis choose another cluster policy than OSS"
        what = f"{address} is a node of a cluster, and the key is on another node ({_where(error)})"
        return Unsuitable(what, todo)
    if not is_unknown_command(error):
        return None
    if b"redis_mode:sentinel" in of_server:
        return is_a_sentinel(address)
    if command[0] in {"EVAL", "EVALSHA"}:
        todo = "choose a server that has EVAL: a provider may have renamed it or taken it away"
        return Unsuitable(f"{address} runs no scripts, and we cannot do without ({error})", todo)
    name = command[0].decode() if isinstance(command[0], bytes) else command[0]
    todo = "choose a server that has it: a provider may have renamed it or taken it away"
    return Unsuitable(f"{address} has no {name}, and we cannot do without ({error})", todo)


def _where(error: Exception) -> str:
    if isinstance(error, redis_errors.AskError):
        return f"slot {error.slot_id} is at {error.host}:{error.port}"
    return str(error)


def is_a_sentinel(address: str) -> Unsuitable:
    """What is said where the address leads to a Sentinel, which knows where the data is and has none."""
    todo = "let REDIS_HOST name the primary, or a name that follows it: no Sentinel is asked"
    return Unsuitable(f"{address} is a Sentinel, not a Redis that holds data", todo)


_OTHER_NODE = re.compile("non local key in a cluster", re.IGNORECASE)  # what a script is told there
