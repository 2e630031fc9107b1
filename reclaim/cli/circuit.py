"""Owns the commands for the circuit: show, open, close."""

import getpass
import json
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from reclaim.app import App
from reclaim.cli import views
from reclaim.cli.output import show_json, show_line, show_table
from reclaim.cli.session import JsonOption, TargetOption, unit_of, units_of, with_app
from reclaim.http.requests import BadRequest, check, words
from reclaim.ops.status import circuit_now
from reclaim.state.circuit import Change, Circuit, Effect

ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for all who look at it later.")]
WhoOption = Annotated[str | None, typer.Option("--who", help="Who decides; by default user@host.")]

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@commands.command("show")
def show_circuit(target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Show the circuit of each target.

    Example: python -m reclaim circuit show --json
    """

    async def look(app: App) -> list[dict[str, Any]]:
        seen = [(unit.target, await unit.circuit.show()) for unit in units_of(app, target)]
        return [{"target": one.name, **asdict(circuit_now(one, now))} for one, now in seen]

    found = with_app(look)
    if as_json:
        show_json(found)
    else:
        rows = [(one["target"], one["state"], views.circuit_sentence(one)) for one in found]
        show_table(("target", "state", "in words"), rows)


@commands.command("open")
def open_circuit(
    reason: ReasonOption, target: TargetOption = None, who: WhoOption = None, as_json: JsonOption = False
) -> None:
    """Open the circuit.

    Runs then take nothing over until a person closes it. Nothing is lost and no delivery counted.

    Example: python -m reclaim circuit open --reason "the database is being moved"
    """
    why, name = _words("open", reason, _me() if who is None else who)
    _set_circuit(target, lambda circuit: circuit.open(why, name), as_json=as_json)


@commands.command("close")
def close_circuit(
    reason: ReasonOption, target: TargetOption = None, who: WhoOption = None, as_json: JsonOption = False
) -> None:
    """Close the circuit, whoever opened it.

    The next run works again.

    Example: python -m reclaim circuit close --reason "the database is back"
    """
    why, name = _words("close", reason, _me() if who is None else who)
    _set_circuit(target, lambda circuit: circuit.close(why, name), as_json=as_json)


_EFFECTS = {
    Effect.OPENED: "the circuit is open now, until a person closes it",
    Effect.HELD: "the circuit was open already; now only a person closes it",
    Effect.IS_OPEN: "the circuit was open already, until a person closes it",
    Effect.CLOSED: "the circuit is closed now",
    Effect.IS_CLOSED: "the circuit was closed already",
}


def _set_circuit(target: str | None, act: Callable[[Circuit], Awaitable[Change]], *, as_json: bool) -> None:
    async def change(app: App) -> dict[str, Any]:
        unit = unit_of(app, target)
        made = await act(unit.circuit)
        await app.tell(made, unit.target)
        now = asdict(circuit_now(unit.target, await unit.circuit.show()))
        return {"target": unit.target.name, "effect": made.effect.value, "circuit": now}

    done = with_app(change)
    if as_json:
        show_json(done)
    else:
        show_line(f"{done['target']}: {_EFFECTS[Effect(done['effect'])]}")


def _words(action: str, reason: str, who: str) -> tuple[str, str]:
    """The reason and the name, which may be what they may be over HTTP."""
    said = {"action": action, "reason": reason, "who": who}
    try:
        check("POST", "/circuit", {}, json.dumps(said).encode())
        return words("reason", reason), words("who", who)
    except BadRequest as exc:
        raise typer.BadParameter(str(exc)) from exc


def _me() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name; before Python 3.13 a KeyError
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
