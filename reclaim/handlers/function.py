"""Owns the function handler, which gives each entry to a function of the user's."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from reclaim.entry import Entry
from reclaim.errors import BadAnswer, HandlerCancelled, HandlerExited, MissingField, NotEntered, describe
from reclaim.handlers.given_up import GivenUp
from reclaim.handlers.loading import Function, Manager
from reclaim.handlers.outcomes import STORED, Failed, Handled, Handler, Keyed
from reclaim.handlers.resource import Resource
from reclaim.handlers.threads import Threads
from reclaim.keys import Template
from reclaim.trace import entry_under_way


@dataclass(frozen=True, slots=True)
class _Opened:
    """The function, and the threads in which it is called if it is not async."""

    function: Function
    threads: Threads


class FunctionHandler(Handler):
    """Calls the user's function for each entry."""

    def __init__(self, named: Function | Manager, key: Template, name: str = "function", target: str = "") -> None:
        """Make it; nothing is opened yet.

        Args:
            named: the function, or what makes a context manager that yields it.
            key: makes the order key.
            name: what HANDLER names.
            target: the target's name.
        """
        self._named = named
        self._key = key
        self._name = f"HANDLER {name}"
        self._given_up = GivenUp.of(target) if target else GivenUp()
        self.resource: Resource[_Opened] | None = None
        if not (isinstance(named, Function) and named.is_async):
            self.resource = Resource(self._name, self._open)

    def order_key(self, entry: Entry) -> bytes:
        """The key that the template makes. An entry without the template's fields is not ordered: its ID is its key."""
        try:
            return self._key.render(entry)
        except MissingField:
            return entry.id

    def at_work(self) -> Sequence[tuple[bytes, bytes]]:
        """The order keys and IDs of the entries whose calls were given up and still run in a thread."""
        return self._given_up.at_work()

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """Call the function for each entry in turn; what it raises is the outcome."""
        outcomes: list[Handled] = []
        for key, entry in entries:
            try:
                with entry_under_way(entry.id):
                    await self._call(key, entry)
                outcomes.append(STORED)
            except asyncio.CancelledError as exc:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                cancelled = HandlerCancelled(f"the handler was cancelled by something it waited for: {exc!r}")
                outcomes.append(Failed(cancelled.with_traceback(exc.__traceback__)))
            except Exception as exc:  # noqa: BLE001  # a user's function may raise anything: classify() gives the verdict
                outcomes.append(Failed(exc))
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as exc:  # noqa: BLE001  # SystemExit and the like end one entry, not the process
                exited = HandlerExited(f"the handler raised {describe(exc)}")
                outcomes.append(Failed(exited.with_traceback(exc.__traceback__)))
        return outcomes

    async def _call(self, key: bytes, entry: Entry) -> None:
        """Call the function, in a thread if it is not async, and see to it that all of it was done.

        Raises:
            BaseException: what the function raises.
        """
        if self.resource is None:
            await self._function.call(entry)
            return
        opened = self.resource.value
        if opened.function.is_async:
            await opened.function.call(entry)
            return
        with opened.threads.calling(opened.function.call, entry) as call:
            try:
                answer = await call.result()
            except asyncio.CancelledError:
                self._given_up.add(call, key, entry)
                raise
        if inspect.isawaitable(answer):  # of a wrapper that is not async, around a function that is
            await answer
        elif inspect.isgenerator(answer) or inspect.isasyncgen(answer):
            raise BadAnswer("the handler returned a generator, so that none of its code was run")

    @property
    def _function(self) -> Function:
        if isinstance(self._named, Function):
            return self._named
        raise NotEntered(f"{self._name} has not been entered")

    @asynccontextmanager
    async def _open(self) -> "AsyncIterator[_Opened]":
        async with AsyncExitStack() as stack:
            named = self._named
            function = named if isinstance(named, Function) else await stack.enter_async_context(named())
            yield _Opened(function, stack.enter_context(Threads(self._name)))
