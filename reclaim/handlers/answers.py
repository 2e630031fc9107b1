"""Owns the answer of a user's function: whether it stands for work that is done, failed, or was not done at all."""

import asyncio
import inspect
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from reclaim.errors import BadAnswer, HandlerExited, describe

_LAZY = (map, filter, zip)
_MANY = (list, tuple, set, frozenset)


async def ended(answer: Any) -> object:
    """What the function answers in the end: where it has only begun its work, this waits for it.

    A coroutine or task comes of a wrapper that is not async; a future, of a pool that was given the work.

    Raises:
        BadAnswer: nothing of the function was run, or part of it was begun and nobody has waited for it.
        BaseException: what the work raises.
    """
    while True:
        if isinstance(answer, Future):
            answer = asyncio.wrap_future(answer)
        if not inspect.isawaitable(answer):
            break
        answer = await answer
    if _is_lazy(answer):
        raise BadAnswer(f"the handler returned a {_kind(answer)}, so that none of its code was run")
    if isinstance(answer, _MANY) and (unended := next((one for one in answer if _is_unended(one)), None)) is not None:
        kind = type(answer).__name__
        raise BadAnswer(f"the handler returned a {kind} with a {_kind(unended)}, for which nobody has waited")
    result: object = answer
    return result


def error_in(answer: object) -> Exception | None:
    """The error that an answer is, or that it holds, as `asyncio.gather(…, return_exceptions=True)` returns them."""
    if isinstance(answer, BaseException):
        return _as_exception(answer)
    held: Sequence[object] = list(answer) if isinstance(answer, _MANY) else ()
    errors = [_as_exception(one) for one in held if isinstance(one, BaseException)]
    if len(errors) < 2:
        return errors[0] if errors else None
    return ExceptionGroup("the handler returned several errors", errors)


def _is_lazy(answer: object) -> bool:
    """Whether it does its work when somebody asks for it, and nobody will."""
    return isinstance(answer, _LAZY) or _is_generator(answer) or _is_generator(_generator_of(answer))


def _is_generator(one: object) -> bool:
    return inspect.isgenerator(one) or inspect.isasyncgen(one)


def _generator_of(answer: object) -> object:
    """What contextlib has made a context manager of; None for all else."""
    if isinstance(answer, AbstractContextManager | AbstractAsyncContextManager):
        return getattr(answer, "gen", None)
    return None


def _is_unended(one: object) -> bool:
    """Whether it is work of which nobody knows whether it is done."""
    return isinstance(one, Future) or inspect.isawaitable(one) or _is_lazy(one)


def _kind(answer: object) -> str:
    if _is_generator(answer):
        return "generator"
    return type(answer).__name__ if _generator_of(answer) is None else "context manager"


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else HandlerExited(f"the handler returned {describe(error)}")
