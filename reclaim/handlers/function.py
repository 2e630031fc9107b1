"""Owns the function handler, which gives each entry to a function of the user's."""

import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable, Sequence

from reclaim.entry import Entry
from reclaim.errors import HandlerCancelled, HandlerExited, MissingField, SettingsError, describe
from reclaim.handlers.outcomes import STORED, Failed, Handled, Handler, Keyed
from reclaim.keys import Template

HandlerFunction = Callable[[Entry], Awaitable[None]]


class FunctionHandler(Handler):
    """Calls the user's function for each entry."""

    def __init__(self, function: HandlerFunction, key: Template) -> None:
        self._function = function
        self._key = key

    def order_key(self, entry: Entry) -> bytes:
        """The key that the template makes. An entry without the template's fields is not ordered: its ID is its key."""
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


def load(name: str) -> HandlerFunction:
    """The function that HANDLER names, as ``module:function``.

    Raises:
        SettingsError: the module cannot be imported, has no such function, or the function is not async or does not
            take exactly one entry.
    """
    module_name, _, function_name = name.partition(":")
    allowed = "module:function, an async function of one Entry"
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as exc:  # a module of the user's can raise anything while it is imported
        raise SettingsError([f"HANDLER is {name!r}; allowed: {allowed} ({describe(exc)})"]) from exc
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)):
        raise SettingsError([f"HANDLER is {name!r}; allowed: {allowed} ({function_name} is not async)"])
    if not _takes_an_entry(function):
        why = f"{function_name}{_parameters(function)} cannot be called with one Entry"
        raise SettingsError([f"HANDLER is {name!r}; allowed: {allowed} ({why})"])
    return function  # type: ignore[no-any-return]  # it is what the user's module holds; its form was just checked


def _takes_an_entry(function: Callable[..., object]) -> bool:
    """Whether it can be called with one entry and nothing else; True where Python cannot tell.

    A wrapper made with functools.wraps is asked itself, not what it wraps: it may add arguments of its own.
    """
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # of a function that is not written in Python
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def _parameters(function: Callable[..., object]) -> inspect.Signature:
    """The function's parameters without their types, as an error shows them."""
    signature = inspect.signature(function, follow_wrapped=False)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
