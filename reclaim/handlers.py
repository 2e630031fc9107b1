"""Owns the handlers: what is done with an entry before it is acknowledged."""

import asyncio
import hashlib
import importlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final, Protocol

from reclaim.connection import Command, Reply, Server
from reclaim.entry import Entry
from reclaim.errors import HandlerCancelled, HandlerExited, MissingField, SettingsError, describe
from reclaim.keys import Template
from reclaim.settings import Target

HandlerFunction = Callable[[Entry], Awaitable[None]]
Keyed = tuple[bytes, Entry]  # an entry and its order key


@dataclass(frozen=True, slots=True)
class Stored:
    """The entry is stored."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """The entry was not stored: its hash already holds what a newer entry stored."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The entry is not stored, because of this error."""

    error: Exception


STORED: Final = Stored()
SUPERSEDED: Final = Superseded()

# What came of giving one entry to a handler. Only its class says so: an exception of a user's may be falsy.
Handled = Stored | Superseded | Failed


class Handler(Protocol):
    """Stores entries, and says of each what came of it.

    Attributes:
        at_once: whether `store` takes many entries in one call (else it is called with one).
    """

    at_once: bool

    def order_key(self, entry: Entry) -> bytes:
        """Entries with the same order key are stored in ID order.

        Raises:
            MissingField: the entry is bad.
        """

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """Store the entries, and say for each what came of it, in the same order."""


# Stores an entry in a hash that remembers the ID of the entry it holds; an older entry does not overwrite a newer one.
# IDs are compared as numbers of any length. Errors are passed through as they are, so that their codes are seen.
# KEYS: the hash. ARGV: the field that holds the ID, the entry's ID, then its names and values.
# Result: 1 stored, 0 superseded.
_STORE_NEWER = """
local function parts(id) if id then return id:match('^(%d+)-(%d+)$') end end
local held = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(held) == 'table' and held.err then return held end
local held_ms, held_seq = parts(held)
if held_ms then
  local ms, seq = parts(ARGV[2])
  if held_ms == ms then held_ms, ms = held_seq, seq end
  if #held_ms > #ms or (#held_ms == #ms and held_ms > ms) then return 0 end
end
for first = 3, #ARGV, 2000 do
  local stored = redis.pcall('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 1999, #ARGV)))
  if type(stored) == 'table' then return stored end
end
local stored = redis.pcall('HSET', KEYS[1], ARGV[1], ARGV[2])
if type(stored) == 'table' then return stored end
return 1
"""
_WAS_NEWER = 0  # what the script answers where the hash holds a newer entry
_STORE_NEWER_SHA = hashlib.sha1(_STORE_NEWER.encode(), usedforsecurity=False).hexdigest()


class HashHandler:
    """Stores each entry as a Redis hash, its fields untouched (https://redis.io/docs/latest/commands/hset/)."""

    at_once = True

    def __init__(self, server: Server, key: Template, version_field: str | None = None) -> None:
        self._server = server
        self._key = key
        self._version_field = None if version_field is None else version_field.encode()

    def order_key(self, entry: Entry) -> bytes:
        """The hash's key: what goes to the same hash is stored in order."""
        return self._key.render(entry)

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """One pipeline: HSET for each entry, or with a version field a script for each."""
        if self._version_field is None:
            replies = await self._server.batch([("HSET", key, *entry.fields) for key, entry in entries])
            if set(map(type, replies)) == {int}:  # every one of them was stored
                return [STORED] * len(replies)
            return [_of_reply(reply) for reply in replies]
        replies = await self._server.batch(self._versioned(entries, self._version_field))
        return [SUPERSEDED if reply == _WAS_NEWER else _of_reply(reply) for reply in replies]

    @staticmethod
    def _versioned(entries: Sequence[Keyed], version_field: bytes) -> list[Command]:
        """The first one carries the script and so makes it known to the server, also after a SCRIPT FLUSH."""
        scripts = chain((("EVAL", _STORE_NEWER),), repeat(("EVALSHA", _STORE_NEWER_SHA)))
        return [
            (*script, 1, key, version_field, entry.id, *entry.fields)
            for script, (key, entry) in zip(scripts, entries, strict=False)
        ]


def _of_reply(reply: Reply) -> Handled:
    """What a command that stores one entry says of it."""
    return Failed(reply) if isinstance(reply, Exception) else STORED


class FunctionHandler:
    """Calls a function of the user's for each entry."""

    at_once = False

    def __init__(self, function: HandlerFunction, key: Template) -> None:
        self._function = function
        self._key = key

    def order_key(self, entry: Entry) -> bytes:
        """The key by the template; an entry without the template's fields has no order to keep but its own."""
        try:
            return self._key.render(entry)
        except MissingField:
            return entry.id

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """Call the function for each entry in turn; what it raises is the outcome."""
        outcomes: list[Handled] = []
        for _, entry in entries:
            try:
                await self._function(entry)
                outcomes.append(STORED)
            except asyncio.CancelledError as exc:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                outcomes.append(
                    Failed(HandlerCancelled(f"the handler was cancelled by something it waited for: {exc!r}"))
                )
            except Exception as exc:  # whatever it is: classify() judges it
                outcomes.append(Failed(exc))
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as exc:
                outcomes.append(Failed(HandlerExited(f"the handler raised {describe(exc)}")))
        return outcomes


def load(name: str) -> HandlerFunction:
    """The function that HANDLER names, as ``module:function``.

    Raises:
        SettingsError: it cannot be imported, is not there, or is not an async function of one entry.
    """
    module_name, _, function_name = name.partition(":")
    allowed = "module:function, an async function of one Entry"
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as exc:  # a module of the user's can raise anything while it is imported
        raise SettingsError([f"HANDLER is {name!r}; allowed: {allowed} ({describe(exc)})"]) from exc
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)):
        raise SettingsError([f"HANDLER is {name!r}; allowed: {allowed} ({function_name} is not async)"])
    return function  # type: ignore[no-any-return]  # it is what the user's module holds; its form was just checked


def make(server: Server, target: Target) -> Handler:
    """The handler that a target's settings ask for.

    Raises:
        SettingsError: HANDLER cannot be loaded.
    """
    if target.handler is None:
        return HashHandler(server, Template(target.hash_key), target.hash_version_field)
    return FunctionHandler(load(target.handler), Template(target.order_key or target.hash_key))
