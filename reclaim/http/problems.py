"""Owns the answers to errors: one table gives each class of errors its HTTP status, code and sentence."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from redis import exceptions as redis_errors

from reclaim.errors import (
    AccessDenied,
    BadRequest,
    CircuitOpen,
    LeaseHeld,
    NotEntered,
    NotTrusted,
    ServerError,
    SettingsError,
    Unsuitable,
    said,
)
from reclaim.state.node import TIMEOUT_SEC
from reclaim.verdicts import is_transient

logger = logging.getLogger("reclaim")


@dataclass(frozen=True, slots=True)
class Problem:
    """The answer to an error: HTTP status, code for programs, and sentence for people. It holds no secret."""

    status: int
    code: str
    sentence: str


def problem_of(exc: BaseException) -> Problem:
    """The problem for an error: the first class of its MRO that is in the table decides.

    If the answer must not tell the whole error, the log does.
    """
    status, code, sentence = next(_PROBLEMS[cls] for cls in type(exc).__mro__ if cls in _PROBLEMS)
    problem = Problem(status, code, sentence(exc))
    if code == "redis_error" and is_transient(exc):
        return replace(problem, status=503, code="redis_busy")
    if code == "bad_settings":
        logger.error("reclaim: %s", _itself(exc))
    if code == "internal":
        logger.error("reclaim: an operation failed", exc_info=exc)
    return problem


def _itself(exc: BaseException) -> str:
    return str(exc)


def _no_answer(exc: BaseException) -> str:
    """A TimeoutError often has no text; then this says what it means."""
    return said(exc) if str(exc) else f"Redis has not answered within {TIMEOUT_SEC:g} s"


def _how_to_go_on(exc: BaseException) -> str:
    return f"{exc}; close it first, or say even_if_open"


def _which_settings(exc: BaseException) -> str:
    """Only the names of the settings: somebody may have put a secret into the wrong setting."""
    problems = exc.problems if isinstance(exc, SettingsError) else []
    bad = ", ".join(problem.partition(" ")[0] for problem in problems)
    return f"these settings are missing or bad: {bad}; the app's log says what is wrong with each"


def _its_class(exc: BaseException) -> str:
    """The error's class, and not its text, which may hold anything."""
    return f"{type(exc).__name__}; the app's log says more"


def _stopping(_: BaseException) -> str:
    return "the app is being stopped; what was in work is taken up later"


_PROBLEMS: dict[type[BaseException], tuple[int, str, Callable[[BaseException], str]]] = {
    BadRequest: (400, "bad_request", _itself),
    LeaseHeld: (409, "lease_held", _itself),
    CircuitOpen: (409, "circuit_open", _how_to_go_on),
    NotEntered: (503, "not_entered", said),
    SettingsError: (500, "bad_settings", _which_settings),
    NotTrusted: (500, "not_trusted", said),
    Unsuitable: (500, "unsuitable", said),
    AccessDenied: (500, "access_denied", said),
    redis_errors.AuthenticationError: (500, "access_denied", said),
    redis_errors.AuthorizationError: (500, "access_denied", said),
    redis_errors.NoPermissionError: (500, "access_denied", said),
    redis_errors.ResponseError: (500, "redis_error", said),
    ServerError: (503, "redis_away", _no_answer),
    redis_errors.ConnectionError: (503, "redis_away", _no_answer),
    redis_errors.TimeoutError: (503, "redis_away", _no_answer),
    OSError: (503, "redis_away", _no_answer),
    asyncio.CancelledError: (503, "cancelled", _stopping),
    Exception: (500, "internal", _its_class),
}
