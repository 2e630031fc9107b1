"""Owns what every command needs: an app, the common options, and one table from an error to the exit code."""

import asyncio
import getpass
import logging
import math
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, NoReturn, TypeVar

import typer
from redis.exceptions import RedisError

from reclaim.app import App
from reclaim.cli import ending, logs
from reclaim.cli.output import say
from reclaim.entry import check_id
from reclaim.errors import BadRequest, CircuitOpen, ReclaimError, RunFailed, SettingsError, UnknownTarget, said
from reclaim.settings import Settings
from reclaim.state.audit import Actor

# What a command exits with.
FAILED, BAD_USAGE, INTERRUPTED, TERMINATED = 1, 2, 128 + signal.SIGINT, 128 + signal.SIGTERM

T = TypeVar("T")
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="STREAM/GROUP", help="Which target, if several are configured.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def a_number(value: float | None) -> float | None:
    """The number that a person gave, for an option's callback: nan is inside every range."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number")
    return value


def with_app(work: Callable[[App], Awaitable[T]], *, log_level: int = logging.WARNING) -> T:
    """Make an app, do the work with it, and return the work's result. SIGTERM ends the work as Ctrl-C does.

    The log has what other packages than ours say from `log_level` on.
    """

    async def go() -> T:
        _cancel_on_sigterm()
        settings = Settings.from_env(os.environ)
        logs.begin(settings.log_format, level=log_level)
        app = App(settings)
        try:
            return await work(app)
        finally:
            await app.aclose()

    with errors_end_the_command():
        return ending.run(go())


def _cancel_on_sigterm() -> None:
    """Let a SIGTERM cancel the work, so that it can release its lease. A second SIGTERM kills the process as usual."""
    work, loop = asyncio.current_task(), asyncio.get_running_loop()

    def cancel() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        if work is not None:
            work.cancel()

    with suppress(NotImplementedError):  # on Windows, where nobody sends SIGTERM
        loop.add_signal_handler(signal.SIGTERM, cancel)


@contextmanager
def errors_end_the_command() -> Iterator[None]:
    """If an error ends the block, say it on standard error, and end the command with the error's exit code."""
    try:
        yield
    except UnknownTarget as exc:
        raise typer.BadParameter(_which_target(exc), param_hint="--target") from exc
    except BadRequest as exc:
        raise typer.BadParameter(str(exc)) from exc
    except asyncio.CancelledError as exc:  # by SIGTERM; Ctrl-C is a KeyboardInterrupt, exit code 130
        raise typer.Exit(TERMINATED) from exc
    except (ReclaimError, RedisError, TimeoutError) as exc:
        _end(exc)


# The exit code of a command that an error ends: the first class of the error's MRO that is in this table decides.
# Errors about wrong arguments are not here: `errors_end_the_command` makes them Typer's own, which exit with BAD_USAGE.
_EXIT_CODES: dict[type[BaseException], int] = {
    SettingsError: BAD_USAGE,
    ReclaimError: FAILED,
    RedisError: FAILED,
    TimeoutError: FAILED,
}


def _end(exc: Exception) -> NoReturn:
    say(_sentence(exc))
    raise typer.Exit(next(_EXIT_CODES[cls] for cls in type(exc).__mro__ if cls in _EXIT_CODES)) from exc


def _sentence(exc: Exception) -> str:
    match exc:
        case RunFailed():
            return f"the run failed: {exc}"
        case CircuitOpen():
            return f"{exc}; close it first, or say --even-if-open"
        case TimeoutError():  # it often has no text
            return "Redis has not answered in time"
        case SettingsError():
            return str(exc)  # a list, which is to be whole
        case _:
            return said(exc)


def _which_target(exc: UnknownTarget) -> str:
    if exc.name is None:
        return f"say which target; there are {exc.choices}"
    return f"{exc.name!r} is not configured; allowed: {exc.choices}"


@contextmanager
def asking() -> Iterator[None]:
    """Let Ctrl-C at a question in the block end the command as it does elsewhere; a no ends it with FAILED."""
    try:
        yield
    except typer.Abort as exc:
        if isinstance(exc.__context__, KeyboardInterrupt):
            say("")  # the question's line is not ended
            raise typer.Exit(INTERRUPTED) from exc
        raise


def exit_if(failed: bool) -> None:  # noqa: FBT001  # it reads as a sentence
    if failed:
        raise typer.Exit(FAILED)


def id_of(text: str) -> bytes:
    """The ID that a person gave."""
    try:
        return check_id(os.fsencode(text))
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def me(who: str | None = None) -> Actor:
    """Who works at this terminal: the name that was said, else the user's."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container the user may have no name; before Python 3.13 that is a KeyError
        user = f"uid {os.getuid()}"
    host = socket.gethostname()
    return Actor(f"{user}@{host}" if who is None else who, "cli", host)
