"""Owns the commands for the circuit: show, open, close."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from reclaim.cli import views
from reclaim.cli.output import show_json, show_line, show_table
from reclaim.cli.session import JsonOption, TargetOption, me, with_app
from reclaim.ops import operations
from reclaim.ops.results import CircuitChanged, CircuitOf
from reclaim.state.circuit import Effect, State

ReasonOption = Annotated[str, typer.Option("--reason", help="Why. Everybody who looks at the circuit can read it.")]
WhoOption = Annotated[str | None, typer.Option("--who", help="Who opens or closes it; by default user@host.")]

_ORDER = (State.OPEN, State.HALF_OPEN, State.CLOSED)

commands = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Show, open and close the circuit."
)


@commands.command("show")
def show_circuit(target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Show the circuit of each target, those that are open first.

    Example: python -m reclaim circuit show --json
    """
    circuits = with_app(lambda app: operations.show_circuits(app, target))
    found = [_flat(one) for one in sorted(circuits, key=lambda one: _ORDER.index(one.circuit.state))]
    if as_json:
        show_json(found)
    else:
        rows = [(one["target"], one["state"], views.circuit_sentence(one)) for one in found]
        show_table(("target", "state", "in words"), rows)


def _flat(one: CircuitOf) -> dict[str, Any]:
    return {"target": one.target, **asdict(one.circuit)}


@commands.command("open")
def open_circuit(
    reason: ReasonOption, target: TargetOption = None, who: WhoOption = None, as_json: JsonOption = False
) -> None:
    """Open the circuit.

    Until a person closes it, runs take nothing over. No entry is lost meanwhile, and no delivery is counted.

    Example: python -m reclaim circuit open --reason "the database is being moved"
    """
    by = me(who)
    _show_change(with_app(lambda app: operations.open_circuit(app, reason, by.who, target, by=by)), as_json=as_json)


@commands.command("close")
def close_circuit(
    reason: ReasonOption, target: TargetOption = None, who: WhoOption = None, as_json: JsonOption = False
) -> None:
    """Close the circuit, whoever opened it.

    The next run works again.

    Example: python -m reclaim circuit close --reason "the database is back"
    """
    by = me(who)
    _show_change(with_app(lambda app: operations.close_circuit(app, reason, by.who, target, by=by)), as_json=as_json)


_EFFECTS = {
    Effect.OPENED: "the circuit is open now, until a person closes it",
    Effect.HELD: "the circuit was open already; now only a person closes it",
    Effect.IS_OPEN: "the circuit was open already, until a person closes it",
    Effect.CLOSED: "the circuit is closed now",
    Effect.IS_CLOSED: "the circuit was closed already",
}


def _show_change(changed: CircuitChanged, *, as_json: bool) -> None:
    if as_json:
        show_json(asdict(changed))
    else:
        show_line(f"{changed.target}: {_EFFECTS[changed.effect]}")
