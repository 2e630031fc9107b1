"""Owns the choice of a handler: what finishes an entry before it is acknowledged."""

from functools import partial
from typing import TYPE_CHECKING

from reclaim.handlers.forward import forwarded
from reclaim.handlers.function import FunctionHandler
from reclaim.handlers.hash import HashHandler, Versions
from reclaim.handlers.http import HttpHandler, Service
from reclaim.handlers.loading import load
from reclaim.handlers.moving import Fields, MovingHandler
from reclaim.handlers.outcomes import Handler
from reclaim.handlers.own_errors import own_errors as own_errors
from reclaim.handlers.requeue import requeued, requeued_anew
from reclaim.names import name_bytes
from reclaim.settings import Target
from reclaim.state.connection import Server
from reclaim.state.moves import Moves

if TYPE_CHECKING:
    from reclaim.state.entra import Tokens


def make(server: Server, target: Target) -> Handler:
    """The handler that a target's settings ask for.

    Raises:
        SettingsError: HANDLER cannot be loaded.
    """
    match target.handler:
        case "hash":
            return _hash(server, target)
        case "requeue":
            return _requeue(server, target)
        case "forward":
            return _forward(server, target)
        case "http":
            return _http(server, target)
        case name:
            return FunctionHandler(load(name), target.order_template, name, target.name)


def _hash(server: Server, target: Target) -> HashHandler:
    field, key = target.version_field_bytes, target.hash_template
    versions = None if field is None else Versions(field, target.keys.stream, target.group_bytes)
    return HashHandler(server, key, versions, target.hash_from_bytes, target.hash_ttl_sec)


def _requeue(server: Server, target: Target) -> MovingHandler:
    fields = partial(requeued, most=target.max_requeues)
    return _moving(server, target, target.keys.stream, 0, fields, requeued_anew)


def _forward(server: Server, target: Target) -> MovingHandler:
    fields = partial(forwarded, stream=target.keys.stream, group=target.group_bytes)
    return _moving(server, target, target.forward_stream_bytes, target.forward_maxlen, fields, fields)


def _http(server: Server, target: Target) -> HttpHandler:
    service = Service(
        url=target.http_url or "",
        headers=target.http_headers or (),
        body_field=None if target.http_body is None else name_bytes(target.http_body),
        timeout_sec=target.http_timeout_sec,
        at_once=target.lanes,
        stream=target.keys.stream,
        group=target.group_bytes,
    )
    return HttpHandler(service, target.order_template.render, _tokens(server, target))


def _tokens(server: Server, target: Target) -> "Tokens | None":
    """The tokens that the service wants (HTTP_AUDIENCE); None where it wants none."""
    if target.http_audience is None:
        return None
    from reclaim.state.entra import Identity, Tokens  # noqa: PLC0415  # every cold start would pay for it

    return Tokens(Identity.for_audience(target.http_audience, server.entra_client_id))


def _moving(
    server: Server, target: Target, to: bytes, most: int, fields: Fields, letter_fields: Fields
) -> MovingHandler:
    moves, of_letters = Moves.from_group(server, target, to, most), Moves.from_letters(server, target, to, most)
    return MovingHandler(moves, of_letters, target.order_template, fields, letter_fields)
