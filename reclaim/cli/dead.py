"""Owns the commands for dead letters: list, show, replay, discard."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from reclaim.app import App, CircuitOpen, Unit
from reclaim.cli import views
from reclaim.cli.output import is_for_a_person, pairs, replay_progress, say, show, show_json, show_line, show_table
from reclaim.cli.session import JsonOption, TargetOption, exit_if, unit_of, with_app
from reclaim.entry import check_id, readable
from reclaim.run.replay import ReplayReport
from reclaim.state.dead_letters import DeadLetter

LETTERS_AT_ONCE = 20

IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="IDs, as `dead list` shows them.")]


commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@commands.command("list")
def list_dead(
    target: TargetOption = None,
    after: Annotated[str | None, typer.Option("--after", metavar="ID", help="Begin after this one.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="List at most so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, the oldest first.

    Example: python -m reclaim dead list --limit 10
    """

    async def look(app: App) -> tuple[Unit, int, Sequence[DeadLetter]]:
        unit = unit_of(app, target)
        letters: list[DeadLetter] = []
        last = None if after is None else _id(after)
        while len(letters) < limit:  # a few at a time: they may be large
            found = await unit.dead_letters.list(last, min(LETTERS_AT_ONCE, limit - len(letters)))
            if not found:
                break
            letters += found
            last = letters[-1].id
        return unit, await unit.dead_letters.count(), letters

    unit, count, letters = with_app(look)
    more = letters[-1].id.decode() if len(letters) == limit else None
    if as_json:
        found = [letter.to_dict(readable) for letter in letters]
        show_json({"target": unit.target.name, "count": count, "dead_letters": found, "next": more})
        return
    show_table(views.LETTER_COLUMNS, [views.letter_row(letter) for letter in letters])
    say(
        f"{unit.target.name}: {len(letters):,} of {count:,} dead letters"
        + (f"; on with --after {more}" if more else "")
    )


@commands.command("show")
def show_dead(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="IDs, as `dead list` shows them.")],
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show dead letters with all their fields.

    A terminal gets the beginning of a very long value, a pipe all of it.

    Exit codes: 0 all of them are shown, 1 one is not there, 2 the settings or the arguments are bad.

    Example: python -m reclaim dead show 1700000000000-0
    """
    letters = with_app(lambda app: unit_of(app, target).dead_letters.show([_id(one) for one in ids]))
    found = [letter for letter in letters if letter is not None]
    if as_json:
        show_json([letter.to_dict(readable) for letter in found])
    for letter in () if as_json else found:
        rows = views.letter_pairs(letter)
        if is_for_a_person():
            show(pairs([(name, views.shortened(value)) for name, value in rows]), "")
        else:
            for name, value in rows:
                show_line(name, value)
    missing = [one for one, letter in zip(ids, letters, strict=True) if letter is None]
    if missing:
        say(f"no dead letter: {', '.join(missing)}")
    exit_if(bool(missing))


@commands.command()
def replay(
    ids: IdsArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Replay all there are.")] = False,
    target: TargetOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Replay at most so many.")] = None,
    per_second: Annotated[
        float | None, typer.Option("--per-second", min=0.001, max=1e6, help="At most so many a second.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would be replayed.")] = False,
    budget_sec: Annotated[
        float, typer.Option("--budget-sec", min=1, max=86_400, help="Begin nothing after so long.")
    ] = 600.0,
    even_if_open: Annotated[bool, typer.Option("--even-if-open", help="Replay although the circuit is open.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have dead letters handled once more.

    What is stored then is a dead letter no more. Runs wait meanwhile. While the circuit is open it is refused.

    Exit codes: 0 all of them are stored, 1 it failed or one is not, 2 the settings or the arguments are bad. Where
    Ctrl-C (130) or SIGTERM (143) interrupts it, it says how far it was, and lets runs go on.

    \b
    Examples:
      python -m reclaim dead replay 1700000000000-0
      python -m reclaim dead replay --all --per-second 100
    """  # noqa: D301  # \b is one character: it keeps the lines
    _check_choice(ids, everything=everything)

    async def act(app: App) -> tuple[str, ReplayReport]:
        unit = unit_of(app, target)
        chosen = None if everything else [_id(one) for one in ids or ()]
        if not (dry_run or even_if_open):
            await _check_circuit(unit)
        with replay_progress() as progress:
            report = await unit.replay().run(
                chosen, limit=limit, per_second=per_second, dry_run=dry_run, budget_sec=budget_sec, progress=progress
            )
        return unit.target.name, report

    name, report = with_app(act)
    if as_json:
        show_json({"target": name, "dry_run": dry_run, **asdict(report)})
    else:
        show_line(f"{name}: {_replay_sentence(report, dry_run=dry_run)}")
    exit_if(bool(report.missing) or (not dry_run and report.replayed < report.chosen))


def _replay_sentence(report: ReplayReport, *, dry_run: bool) -> str:
    """What a replay did, or would do."""
    if dry_run:
        return f"{report.chosen:,} would be replayed"
    counts = {what: count for what, count in asdict(report).items() if what not in {"chosen", "reasons"}}
    sentence = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "no dead letters"
    most = max(report.reasons, key=report.reasons.__getitem__, default=None)
    return sentence if most is None else f"{sentence}; most often: {most}"


@commands.command()
def discard(
    ids: IdsArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Discard all there are.")] = False,
    target: TargetOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove dead letters for good.

    It asks first; where nobody can be asked, --yes is needed.

    Exit codes: 0 they are gone, 1 it failed, one was not there or you said no, 2 the settings or the arguments are bad.

    \b
    Examples:
      python -m reclaim dead discard 1700000000000-0
      python -m reclaim dead discard --all --yes
    """  # noqa: D301  # \b is one character: it keeps the lines
    _check_choice(ids, everything=everything)
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; say --yes to discard without a question")

    chosen = list(dict.fromkeys(_id(one) for one in ids or ()))
    if not yes:
        _ask_whether_to_discard(target, None if everything else len(chosen))

    async def act(app: App) -> tuple[str, int]:
        unit = unit_of(app, target)
        letters = unit.dead_letters
        return unit.target.name, await (letters.discard_all() if everything else letters.discard(chosen))

    name, discarded = with_app(act)
    if as_json:
        show_json({"target": name, "discarded": discarded})
    else:
        show_line(f"{name}: {discarded:,} discarded")
    exit_if(not everything and discarded < len(chosen))


def _ask_whether_to_discard(target: str | None, count: int | None) -> None:
    """Ask the person; not while an event loop runs, which would keep Ctrl-C to itself. None stands for all."""

    async def look(app: App) -> tuple[str, int]:
        unit = unit_of(app, target)
        return unit.target.name, await unit.dead_letters.count() if count is None else count

    name, many = with_app(look)
    what = "1 dead letter" if many == 1 else f"{many:,} dead letters"
    if many:
        typer.confirm(f"Discard {what} of {name} for good?", abort=True, err=True)


async def _check_circuit(unit: Unit) -> None:
    try:
        await unit.check_circuit()
    except CircuitOpen as exc:
        raise CircuitOpen(f"{exc}; close it first, or say --even-if-open") from exc


def _id(text: str) -> bytes:
    """An ID as Redis has it."""
    try:
        return check_id(os.fsencode(text))
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def _check_choice(ids: Sequence[str] | None, *, everything: bool) -> None:
    if bool(ids) == everything:
        raise typer.BadParameter("say which by their IDs, or --all")
