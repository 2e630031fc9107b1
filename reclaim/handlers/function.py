"""Owns the function handler, which gives entries to a function of the user's, one by one or in batches."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from reclaim.bounded import shortened
from reclaim.entry import Entry
from reclaim.errors import BadAnswer, HandlerCancelled, HandlerExited, MissingField, NotEntered, describe
from reclaim.handlers.answers import ended, error_in
from reclaim.handlers.given_up import GivenUp
from reclaim.handlers.loading import Function, Manager
from reclaim.handlers.outcomes import STORED, Failed, Handled, Handler, Keyed, Preview
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

    async def preview(self, entry: Entry, key: bytes) -> Preview:  # noqa: ARG002  # only the function knows
        """That the function would be called."""
        return Preview(f"given to {self._name}")

    def at_work(self) -> Sequence[tuple[bytes, bytes]]:
        """The order keys and IDs of the entries whose calls were given up and still run in a thread."""
        return self._given_up.at_work()

    @property
    def most(self) -> int:
        """How many entries a batch may have."""
        return self._function.most or 1

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """Call the function: for each entry in turn, or once for all; what it raises is the outcome."""
        if self._function.most is None:
            return [outcome for one in entries for outcome in await self._store([one])]
        return await self._store(entries)

    async def _store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """One call."""
        try:
            with entry_under_way(_named(entries)):
                return await self._call(entries)
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            cancelled = HandlerCancelled(f"the handler was cancelled by something it waited for: {exc!r}")
            error: Exception = cancelled.with_traceback(exc.__traceback__)
        except Exception as exc:  # noqa: BLE001  # a user's function may raise anything: classify() gives the verdict
            error = exc
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # SystemExit and the like end one entry, not the process
            if isinstance(exc, GeneratorExit) and not _is_running():
                raise  # nobody awaits this call any more
            exited = HandlerExited(f"the handler raised {describe(exc)}")
            error = exited.with_traceback(exc.__traceback__)
        return [Failed(error, is_shared=len(entries) > 1)] * len(entries)

    async def _call(self, entries: Sequence[Keyed]) -> list[Handled]:
        """Call the function, in a thread if it is not async, and see to it that all of it was done.

        Raises:
            BadAnswer: the function returned what it may not.
            BaseException: what the function raises.
        """
        function, some = self._function, [entry for _, entry in entries]
        argument = some[0] if function.most is None else some
        answer = await (function.call(argument) if function.is_async else self._in_thread(function, argument, entries))
        answer = await ended(answer)
        error = error_in(answer)
        if error is not None:  # not raised: one that is returned each time would keep all our frames
            return [Failed(error, is_shared=len(entries) > 1)] * len(entries)
        if function.most is None:
            return [STORED]
        failures = _failures(answer, some)
        return [Failed(failures[one.id]) if one.id in failures else STORED for one in some]

    async def _in_thread(self, function: Function, argument: object, entries: Sequence[Keyed]) -> object:
        """The function's answer. If this is cancelled, an entry given to it alone waits until the call ends."""
        assert self.resource is not None  # noqa: S101  # it has the threads
        with self.resource.value.threads.calling(function.call, argument) as call:
            try:
                return await call.result()
            except asyncio.CancelledError:
                if len(entries) == 1:  # those of a batch are tried alone at once: nobody knows which of them it was
                    self._given_up.add(call, *entries[0])
                raise

    @property
    def _function(self) -> Function:
        if isinstance(self._named, Function):
            return self._named
        if self.resource is None:
            raise NotEntered(f"{self._name} has not been entered")
        return self.resource.value.function

    @asynccontextmanager
    async def _open(self) -> "AsyncIterator[_Opened]":
        async with AsyncExitStack() as stack:
            named = self._named
            function = named if isinstance(named, Function) else await stack.enter_async_context(named())
            yield _Opened(function, stack.enter_context(Threads(self._name)))


def _is_running() -> bool:
    """Whether a task is at work here: not where Python closes a coroutine whose event loop is gone."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def _named(entries: Sequence[Keyed]) -> str:
    """The entries as log records name them."""
    first = entries[0][1].id.decode(errors="replace")
    return first if len(entries) == 1 else f"{first} and {len(entries) - 1} more"


def _failures(answer: object, entries: Sequence[Entry]) -> Mapping[bytes, Exception]:
    """Which entries of a batch failed, and why.

    Raises:
        BadAnswer: the answer is something else, or names an entry that is not of the batch.
    """
    if answer is None:
        return {}
    if not isinstance(answer, Mapping):
        raise BadAnswer(f"the handler returned {type(answer).__name__}; allowed: None, or entry IDs with their errors")
    ids = {entry.id for entry in entries}
    for entry_id, error in answer.items():
        if entry_id not in ids:
            raise BadAnswer(
                f"the handler says that {shortened(repr(entry_id), 60)} failed, which is no ID of the batch"
            )
        if not isinstance(error, Exception):
            raise BadAnswer(f"the handler gives {type(error).__name__} as an error; allowed: an exception")
    return answer
