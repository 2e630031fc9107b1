"""Owns the choice of a handler: what finishes an entry before it is acknowledged."""

from reclaim.handlers.function import FunctionHandler, load
from reclaim.handlers.hash import HashHandler
from reclaim.handlers.outcomes import Handler
from reclaim.keys import Template
from reclaim.settings import Target
from reclaim.state.connection import Server


def make(server: Server, target: Target) -> Handler:
    """The handler that a target's settings ask for.

    Raises:
        SettingsError: HANDLER cannot be loaded.
    """
    if target.handler is None:
        return HashHandler(server, Template(target.hash_key), target.version_field_bytes)
    return FunctionHandler(load(target.handler), Template(target.order_key or target.hash_key))
