"""Owns the commands for dead letters: list, show, replay, discard."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from reclaim.app import App
from reclaim.cli import views
from reclaim.cli.output import is_for_a_person, is_terminal, pairs, say, show, show_json, show_line, show_table
from reclaim.cli.progress import replay_progress
from reclaim.cli.session import JsonOption, TargetOption, exit_if, id_of, with_app
from reclaim.entry import readable
from reclaim.ops import operations
from reclaim.ops.results import Chosen, Replayed
from reclaim.run.replay import ReplayReport

IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="IDs, as `dead list` shows them.")]


commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@commands.command("list")
def list_dead(
    target: TargetOption = None,
    after: Annotated[str | None, typer.Option("--after", metavar="ID", help="Begin after this dead letter.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="List at most this many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, the oldest first.

    Example: python -m reclaim dead list --limit 10
    """
    start = None if after is None else id_of(after)
    page = with_app(lambda app: operations.list_many_dead_letters(app, target, limit=limit, after=start))
    if as_json:
        found = [letter.to_dict(readable) for letter in page.letters]
        show_json({"target": page.target, "count": page.count, "dead_letters": found, "next": page.next})
        return
    show_table(views.LETTER_COLUMNS, [views.letter_row(letter) for letter in page.letters])
    more = f"; continue with --after {page.next}" if page.next else ""
    say(f"{page.target}: {len(page.letters):,} of {page.count:,} dead letters{more}")


@commands.command("show")
def show_dead(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="IDs, as `dead list` shows them.")],
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show dead letters with all their fields.

    In a terminal a very long value is cut; in a pipe it is whole.

    Exit codes: 0 all of them are shown, 1 one of them does not exist, 2 the settings or the arguments are bad.

    Example: python -m reclaim dead show 1700000000000-0
    """
    wanted = [id_of(one) for one in ids]
    chosen = with_app(lambda app: operations.show_dead_letters(app, wanted, target))
    _show_letters(chosen, as_json=as_json)
    if chosen.missing:
        say(f"no such dead letter: {', '.join(map(readable, chosen.missing))}")
    exit_if(bool(chosen.missing))


def _show_letters(chosen: Chosen, *, as_json: bool) -> None:
    if as_json:
        show_json([letter.to_dict(readable) for letter in chosen.letters])
        return
    for letter in chosen.letters:
        rows = views.letter_pairs(letter)
        if is_for_a_person():
            show(pairs([(name, views.shortened(value)) for name, value in rows]), "")
        else:
            for name, value in rows:
                show_line(name, value)


@commands.command()
def replay(
    ids: IdsArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Replay all dead letters.")] = False,
    target: TargetOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Replay at most this many.")] = None,
    per_second: Annotated[
        float | None, typer.Option("--per-second", min=0.001, max=1e6, help="Replay at most this many a second.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Replay nothing; only say how many would be replayed.")
    ] = False,
    budget_sec: Annotated[
        float, typer.Option("--budget-sec", min=1, max=86_400, help="Begin nothing after this many seconds.")
    ] = 600.0,
    even_if_open: Annotated[bool, typer.Option("--even-if-open", help="Replay even if the circuit is open.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Handle dead letters once more.

    If an entry is stored, its dead letter is removed. Runs of the target wait until the replay ends. While the circuit
    is open, the command refuses to replay.

    Exit codes: 0 all of them are stored, 1 the replay failed or one is not stored, 2 the settings or the arguments are
    bad. If Ctrl-C (130) or SIGTERM (143) interrupts the replay, the command says how far it came, and runs can go on.

    \b
    Examples:
      python -m reclaim dead replay 1700000000000-0
      python -m reclaim dead replay --all --per-second 100
    """  # noqa: D301  # \b is one character: it keeps the lines
    chosen = _chosen(ids, everything=everything)

    async def replay_them(app: App) -> Replayed:
        with replay_progress() as progress:
            return await operations.replay_dead_letters(
                app,
                chosen,
                target,
                limit=limit,
                per_second=per_second,
                dry_run=dry_run,
                even_if_open=even_if_open,
                budget_sec=budget_sec,
                progress=progress,
            )

    done = with_app(replay_them)
    if as_json:
        show_json({"target": done.target, "dry_run": dry_run, **asdict(done.report)})
    else:
        show_line(f"{done.target}: {_replay_sentence(done.report, dry_run=dry_run)}")
    exit_if(bool(done.report.missing) or (not dry_run and done.report.replayed < done.report.chosen))


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
    everything: Annotated[bool, typer.Option("--all", help="Discard all dead letters.")] = False,
    target: TargetOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Discard without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove dead letters for good.

    The command asks first. If no person sits at the terminal, --yes is needed.

    Exit codes: 0 they are removed, 1 the command failed, one did not exist or you said no, 2 the settings or the
    arguments are bad.

    \b
    Examples:
      python -m reclaim dead discard 1700000000000-0
      python -m reclaim dead discard --all --yes
    """  # noqa: D301  # \b is one character: it keeps the lines
    chosen = _chosen(ids, everything=everything)
    if not yes:
        if not is_terminal(sys.stdin):
            raise typer.BadParameter("nobody can be asked here; say --yes to discard without a question")
        _ask_whether_to_discard(chosen, target)
    done = with_app(lambda app: operations.discard_dead_letters(app, chosen, target))
    if as_json:
        show_json(asdict(done))
    else:
        show_line(f"{done.target}: {done.discarded:,} discarded")
    exit_if(chosen is not None and done.discarded < len(chosen))


def _ask_whether_to_discard(chosen: Sequence[bytes] | None, target: str | None) -> None:
    """Ask the person. No event loop runs meanwhile: it would catch Ctrl-C."""
    name, there = with_app(lambda app: operations.count_dead_letters(app, target))
    many = there if chosen is None else len(chosen)
    letters = "1 dead letter" if many == 1 else f"{many:,} dead letters"
    if many:
        typer.confirm(f"Discard {letters} of {name} for good?", abort=True, err=True)


def _chosen(ids: Sequence[str] | None, *, everything: bool) -> list[bytes] | None:
    """The IDs that are chosen, each once; None for all."""
    if bool(ids) == everything:
        raise typer.BadParameter("give the IDs, or --all")
    return None if everything else list(dict.fromkeys(id_of(one) for one in ids or ()))
