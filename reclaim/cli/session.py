"""Owns what every command needs: an app, the common options, and one table from an error to the exit code."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, NoReturn, TypeVar

import typer
from redis.exceptions import RedisError

from reclaim.app import App
from reclaim.cli.output import say
from reclaim.errors import BadRequest, CircuitOpen, ReclaimError, RunFailed, SettingsError, UnknownTarget
from reclaim.settings import Settings

FAILED, BAD_USAGE, TERMINATED = 1, 2, 128 + signal.SIGTERM  # what a command exits with

T = TypeVar("T")
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="STREAM/GROUP", help="Which target, where several are configured.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def with_app(work: Callable[[App], Awaitable[T]]) -> T:
    """What the work comes to, with an app made for it; SIGTERM ends the work as Ctrl-C does."""

    async def go() -> T:
        _cancel_on_sigterm()
        app = App(Settings.from_env(os.environ))
        try:
            return await work(app)
        finally:
            await app.aclose()

    with errors_end_the_command():
        return asyncio.run(go())


def _cancel_on_sigterm() -> None:
    """SIGTERM cancels the work, so that it lets go of what it holds; a second one kills, as without us."""
    work, loop = asyncio.current_task(), asyncio.get_running_loop()

    def cancel() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        if work is not None:
            work.cancel()

    with suppress(NotImplementedError):  # Windows, where nothing sends it
        loop.add_signal_handler(signal.SIGTERM, cancel)


@contextmanager
def errors_end_the_command() -> Iterator[None]:
    """Says on standard error what went wrong, and exits with the code that the error has."""
    try:
        yield
    except UnknownTarget as exc:
        raise typer.BadParameter(_which_target(exc), param_hint="--target") from exc
    except BadRequest as exc:
        raise typer.BadParameter(str(exc)) from exc
    except asyncio.CancelledError as exc:  # of SIGTERM; Ctrl-C is a KeyboardInterrupt, which Typer ends with 130
        raise typer.Exit(TERMINATED) from exc
    except (ReclaimError, RedisError, TimeoutError) as exc:
        _end(exc)


# What a command exits with where an error ends it, by its nearest class; the errors that only say how the command is
# used wrongly become Typer's own, which it ends with BAD_USAGE.
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
        case TimeoutError():  # it says nothing of itself
            return "Redis has not answered in time"
        case _:
            return str(exc)


def _which_target(exc: UnknownTarget) -> str:
    configured = ", ".join(exc.configured)
    if exc.name is None:
        return f"say which target; there are {configured}"
    return f"{exc.name!r} is not configured; allowed: {configured}"


def exit_if(failed: bool) -> None:  # noqa: FBT001  # it reads as a sentence
    if failed:
        raise typer.Exit(FAILED)
