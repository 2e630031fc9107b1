"""Handlers that can, and that cannot, be called with one entry."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
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


def sync(entry: Entry) -> None: ...


def generator(_: Entry) -> Iterator[None]:
    yield


async def async_generator(_: Entry) -> AsyncIterator[None]:
    yield


@contextmanager
def sync_resource() -> Iterator[Callable[[Entry], None]]:
    yield sync


@asynccontextmanager
async def resource() -> AsyncIterator[Callable[[Entry], None]]:
    yield sync


@asynccontextmanager
async def resource_of(name: str) -> AsyncIterator[Callable[[Entry], None]]:  # noqa: ARG001  # it is what is wrong
    yield sync


partly_resource = functools.partial(resource_of, "name")
too_partly = functools.partial(resource_of, other="name")


class _Resource:
    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Callable[[Entry], None]]:
        yield sync


called_resource = _Resource()


class Resource:
    async def __aenter__(self) -> Callable[[Entry], None]:
        return sync

    async def __aexit__(self, *_: object) -> None: ...


number = 7
