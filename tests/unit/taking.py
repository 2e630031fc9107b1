"""Handlers that can, and that cannot, be called with one entry."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from reclaim import Entry


async def one(entry: Entry) -> None: ...


async def with_default(entry: Entry, context: str = "") -> None: ...


async def with_any(*args: Any, **more: Any) -> None: ...


async def two(entry: Entry, context: str) -> None: ...


async def none() -> None: ...


async def by_name(*, entry: Entry) -> None: ...


def _with_context(function: Callable[[Entry, str], Awaitable[None]]) -> Callable[[Entry], Awaitable[None]]:
    @functools.wraps(function)
    async def wrapper(entry: Entry) -> None:
        await function(entry, "context")

    return wrapper


wrapped = _with_context(two)
partly = functools.partial(two, context="context")


class _Handler:
    async def __call__(self, entry: Entry) -> None: ...

    async def handle(self, entry: Entry) -> None: ...

    async def handle_two(self, entry: Entry, context: str) -> None: ...


instance = _Handler()
bound = instance.handle
bound_two = instance.handle_two
