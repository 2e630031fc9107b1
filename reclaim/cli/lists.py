"""Owns the commands that list what is known of a target: runs, lost entries, pending entries, the audit."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from reclaim.app import App
from reclaim.cli import views
from reclaim.cli.output import say, show_json, show_table
from reclaim.cli.session import JsonOption, TargetOption, id_of, with_app
from reclaim.counted import many
from reclaim.entry import readable
from reclaim.ops import operations
from reclaim.ops.pending_list import PendingPage
from reclaim.ops.results import CircuitOf
from reclaim.state.circuit import State

commands = typer.Typer(add_completion=False, rich_markup_mode=None)


@commands.command("runs")
def list_runs(
    target: TargetOption = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=10_000, help="List at most this many.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the reports of runs, the latest first.

    About 2,000 reports are kept. Of the runs that found nothing, one report is kept every five minutes.

    Example: python -m reclaim runs --limit 10
    """
    found = with_app(lambda app: operations.list_runs(app, target, limit=limit))
    if as_json:
        show_json({"target": found.target, "runs": found.runs})
        return
    show_table(views.RUN_COLUMNS, [views.run_row(run) for run in found.runs])
    say(f"{found.target}: {len(found.runs):,} {'run' if len(found.runs) == 1 else 'runs'}")


@commands.command("lost")
def list_lost(
    target: TargetOption = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=10_000, help="List at most this many.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """List lost entries, the latest found first. They were trimmed or deleted while they were pending.

    Example: python -m reclaim lost --limit 10
    """
    found = with_app(lambda app: operations.list_lost(app, target, limit=limit))
    if as_json:
        show_json(
            {
                "target": found.target,
                "count": found.count,
                "full": found.full,
                "lost": [asdict(one) for one in found.lost],
            }
        )
        return
    show_table(views.LOST_COLUMNS, [views.lost_row(one) for one in found.lost])
    full = ", and the record is full: earlier ones are no longer on it" if found.full else ""
    say(f"{found.target}: {len(found.lost):,} of {many(found.count, 'lost entry')}{full}")


@commands.command("pending")
def show_pending(
    target: TargetOption = None,
    consumer: Annotated[
        str | None, typer.Option("--consumer", metavar="NAME", help="Only those that this consumer has.")
    ] = None,
    after: Annotated[str | None, typer.Option("--after", metavar="ID", help="Begin after this entry.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=500, help="List at most this many.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """List what is pending now, the smallest ID first, and why the last run left it. It changes nothing.

    Example: python -m reclaim pending --consumer worker-7
    """
    start, name = None if after is None else id_of(after), None if consumer is None else os.fsencode(consumer)

    async def look(app: App) -> tuple[PendingPage, CircuitOf]:
        page = await operations.list_pending(app, target, consumer=name, limit=limit, after=start)
        (circuit,) = await operations.show_circuits(app, page.target)
        return page, circuit

    page, its = with_app(look)
    entries = [one.to_dict(readable) for one in page.entries]
    next_id = None if page.next is None else page.next.decode()
    if as_json:
        show_json({"target": page.target, "entries": entries, "all_records": page.all_records, "next": next_id})
        return
    show_table(views.PENDING_COLUMNS, [views.pending_row(one) for one in entries])
    more = f"; continue with --after {next_id}" if next_id else ""
    say(f"{page.target}: {many(len(entries), 'pending entry')}{more}")
    if its.circuit.state is State.OPEN:
        say("The circuit is open: no run takes them over. `reclaim circuit show` says why.")


@commands.command("audit")
def show_audit(
    target: TargetOption = None,
    before: Annotated[str | None, typer.Option("--before", metavar="ID", help="Begin before this record.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=2000, help="List at most this many.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """List what people did, the latest first: replays, discards, imports, changes of the circuit, runs by hand.

    A record without an end is under way, or its process died. Redis keeps about the latest 2,000.

    Example: python -m reclaim audit --limit 10
    """
    start = None if before is None else id_of(before)
    found = with_app(lambda app: operations.list_audit(app, target, limit=limit, before=start))
    if as_json:
        show_json(asdict(found))
        return
    show_table(views.AUDIT_COLUMNS, [views.audit_row(one) for one in found.records])
    more = f"; continue with --before {found.next}" if found.next else ""
    say(f"{found.target}: {many(len(found.records), 'record')}{more}")
