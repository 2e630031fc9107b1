"""Owns what every command needs: an app, the target that is meant, common options, and what a failure exits with."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, NoReturn, TypeVar

import typer
from redis.exceptions import RedisError

from reclaim.app import App, Unit
from reclaim.cli.output import say
from reclaim.errors import ReclaimError, RunFailed, SettingsError
from reclaim.settings import Settings

FAILED, BAD_USAGE, TERMINATED = 1, 2, 128 + signal.SIGTERM  # what a command exits with

T = TypeVar("T")
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="STREAM/GROUP", help="Which target, where several are configured.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def with_app(work: Callable[[App], Awaitable[T]]) -> T:
    """What the work comes to, with an app made for it."""

    async def go() -> T:
        _cancel_on_sigterm()
        app = App(Settings.from_env(os.environ))
        try:
            return await work(app)
        finally:
            await app.aclose()

    with told():
        return asyncio.run(go())


def _cancel_on_sigterm() -> None:
    """SIGTERM ends the work as Ctrl-C does, so that it lets go of what it holds; a second one kills, as without us."""
    work, loop = asyncio.current_task(), asyncio.get_running_loop()

    def cancel() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        if work is not None:
            work.cancel()

    with suppress(NotImplementedError):  # Windows, where nothing sends it
        loop.add_signal_handler(signal.SIGTERM, cancel)


@contextmanager
def told() -> Iterator[None]:
    """Says on standard error what went wrong, and exits."""
    try:
        yield
    except SettingsError as exc:
        _end(str(exc), BAD_USAGE, exc)
    except RunFailed as exc:
        _end(f"the run failed: {exc}", FAILED, exc)
    except (ReclaimError, RedisError) as exc:
        _end(str(exc), FAILED, exc)
    except TimeoutError as exc:  # it says nothing of itself
        _end("Redis has not answered in time", FAILED, exc)
    except asyncio.CancelledError as exc:  # Ctrl-C is a KeyboardInterrupt, which Typer ends with 130
        raise typer.Exit(TERMINATED) from exc


def _end(text: str, code: int, exc: Exception) -> NoReturn:
    say(text)
    raise typer.Exit(code) from exc


def exit_if(failed: bool) -> None:  # noqa: FBT001  # it reads as a sentence
    if failed:
        raise typer.Exit(FAILED)


def check_target(name: str | None, configured: Collection[str]) -> None:
    if name is not None and name not in configured:
        raise typer.BadParameter(f"{name!r} is not configured; allowed: {', '.join(configured)}", param_hint="--target")


def units_of(app: App, name: str | None) -> list[Unit]:
    """The units of the target named, or all."""
    check_target(name, app.units)
    return [unit for unit in app.units.values() if name in {None, unit.target.name}]


def unit_of(app: App, name: str | None) -> Unit:
    """The unit of the target named, or the only one."""
    units = units_of(app, name)
    if len(units) > 1:
        raise typer.BadParameter(f"say which target; there are {', '.join(app.units)}", param_hint="--target")
    return units[0]
