"""Owns the loading of what HANDLER names in a module of the user's, and the check that it can be used."""

import importlib
import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from reclaim.batches import most_of
from reclaim.errors import SettingsError, describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ALLOWED = (
    "module:function, a function of one Entry (with @reclaim.batch(): of a sequence), "
    "or an async context manager that yields one"
)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the user's.

    Attributes:
        call: the function itself.
        is_async: whether calling it gives what is to be awaited. If not, it is called in a thread.
        most: how many entries a call may get, as a sequence; None if it takes one entry, and no sequence.
    """

    call: Callable[[Any], Any]
    is_async: bool
    most: int | None = None


Manager = Callable[[], AbstractAsyncContextManager[Function]]


def load(name: str) -> Function | Manager:
    """What HANDLER names as ``module:name``: a function, or what makes an async context manager that yields one.

    Raises:
        SettingsError: the module cannot be imported, has no such name, or what it names is neither.
    """
    module_name, _, own_name = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), own_name)
        return _manager(found) if _makes_a_manager(found) else examined(found)
    except Exception as exc:  # a module of the user's can raise anything while it is imported
        why = str(exc) if isinstance(exc, Unfit) else describe(exc)
        raise SettingsError([f"HANDLER is {name!r}; allowed: {ALLOWED} ({why})"]) from exc


class Unfit(TypeError):
    """What is named or yielded is no handler function; the message says why."""


def examined(function: Any) -> Function:
    """The function, if it is one that can be a handler.

    Raises:
        Unfit: it is not.
    """
    name = _name(function)
    if not callable(function):
        raise Unfit(f"{name} is not a function")
    if isinstance(function, type):
        raise Unfit(f"{name} is a class")
    bare = inspect.unwrap(function)
    if inspect.isgeneratorfunction(bare) or inspect.isasyncgenfunction(bare):
        raise Unfit(
            f"{name} has a yield in it, so that calling it does nothing; for a resource, use asynccontextmanager"
        )
    if not _takes_one(function):
        raise Unfit(f"{name}{_without_types(_own_signature(function))} cannot be called with one Entry")
    return Function(function, _is_async(function), most_of(function))


def _name(function: Any) -> str:
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def _makes_a_manager(found: Any) -> bool:
    """Whether it is to be called without arguments, and gives an async context manager then."""
    while isinstance(found, partial):  # with some of its arguments
        found = found.func
    if isinstance(found, type):
        return hasattr(found, "__aenter__") and hasattr(found, "__aexit__")
    return _is_made_so(found) or _is_made_so(type(found).__call__)


def _is_made_so(function: Any) -> bool:
    made_of = inspect.unwrap(function)  # what asynccontextmanager was given
    return inspect.isasyncgenfunction(made_of) and made_of is not function


def _manager(make: Any) -> Manager:
    signature = inspect.signature(make)
    if not _binds(signature):
        raise Unfit(f"{_name(make)}{_without_types(signature)} cannot be called without arguments")

    @asynccontextmanager
    async def examining() -> "AsyncIterator[Function]":
        async with make() as function:
            yield examined(function)

    return examining


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _takes_one(function: Callable[..., object]) -> bool:
    """Whether it can be called with one argument and nothing else; True where Python cannot tell."""
    try:
        return _binds(_own_signature(function), None)
    except (TypeError, ValueError):  # of a function that is not written in Python
        return True


def _own_signature(function: Callable[..., object]) -> inspect.Signature:
    """A wrapper made with functools.wraps is asked itself, not what it wraps: it may add arguments of its own."""
    return inspect.signature(function, follow_wrapped=False)


def _binds(signature: inspect.Signature, *arguments: object) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _without_types(signature: inspect.Signature) -> inspect.Signature:
    """The parameters without their types, as an error shows them."""
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
