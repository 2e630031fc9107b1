"""Owns the choice of a handler: what finishes an entry before it is acknowledged."""

from reclaim.errors import SettingsError
from reclaim.handlers.function import FunctionHandler, load
from reclaim.handlers.hash import HashHandler, Versions
from reclaim.handlers.outcomes import Handler
from reclaim.handlers.own_errors import own_errors as own_errors
from reclaim.keys import Template
from reclaim.settings import Target
from reclaim.state.connection import Server


def make(server: Server, target: Target) -> Handler:
    """The handler that a target's settings ask for.

    Raises:
        SettingsError: HANDLER cannot be loaded.
    """
    match target.handler:
        case "hash":
            return _hash(server, target)
        case "requeue" | "forward" | "http":
            raise SettingsError([f"HANDLER is {target.handler!r}, which is not supported yet"])
        case name:
            return FunctionHandler(load(name), _order_key(target))


def _order_key(target: Target) -> Template:
    """The template for the order key, where the handler itself needs none."""
    return Template(target.order_key or target.hash_key)


def _hash(server: Server, target: Target) -> HashHandler:
    field, key = target.version_field_bytes, Template(target.hash_key)
    versions = None if field is None else Versions(field, target.keys.stream, target.group_bytes)
    return HashHandler(server, key, versions)
