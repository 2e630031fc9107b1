"""Owns the commands for dead letters: list, groups, show, replay, discard, import."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from reclaim.app import App
from reclaim.cli import views
from reclaim.cli.filters import filtered
from reclaim.cli.output import is_for_a_person, is_terminal, say, show_json, show_line, show_table, show_text
from reclaim.cli.progress import looking_progress, replay_progress
from reclaim.cli.session import JsonOption, TargetOption, a_number, asking, exit_if, id_of, me, with_app
from reclaim.cli.tables import pairs, show
from reclaim.counted import many
from reclaim.entry import readable
from reclaim.errors import said
from reclaim.ops import letter_acts, letter_looks, saved
from reclaim.ops.results import Chosen, Discarded, LetterGroups, Letters, Replayed
from reclaim.run.replay import ReplayReport
from reclaim.state.letter_filter import EVERY_LETTER, LetterFilter

IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="IDs of dead letters, or of their entries.")
]
WhoOption = Annotated[str | None, typer.Option("--who", help="Who does this; by default user@host.")]


class Order(Enum):
    """Which dead letters come first."""

    NEWEST = "newest"
    OLDEST = "oldest"


OrderOption = Annotated[Order, typer.Option("--order", help="Which come first.")]


class Format(Enum):
    """How dead letters are written for a file."""

    JSONL = "jsonl"
    CSV = "csv"


NAMED_SHOWN = 10  # of the dead letters that are to be discarded, before the question

commands = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, group, show, replay, discard and import dead letters.",
)


@commands.command("list")
@filtered
def list_dead(
    wanted: LetterFilter,
    target: TargetOption = None,
    order: OrderOption = Order.NEWEST,
    after: Annotated[str | None, typer.Option("--after", metavar="ID", help="Begin after this dead letter.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=1_000_000, help="List at most this many.")
    ] = 50,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Write JSON Lines with every byte, or CSV for a spreadsheet, and all of them."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, the newest first.

    With --format the command writes all that fit, whatever --limit says, each as soon as it is read.

    \b
    Examples:
      python -m reclaim dead list --limit 10
      python -m reclaim dead list --error timeout --since 2h
      python -m reclaim dead list --format jsonl > dead.jsonl
    """  # noqa: D301  # \b is one character: it keeps the lines
    start = None if after is None else id_of(after)
    newest_first = order is Order.NEWEST
    if form is not None:
        with_app(lambda app: _write(app, target, wanted, newest_first=newest_first, after=start, form=form))
        return

    async def look(app: App) -> Letters:
        with looking_progress() as progress:
            return await letter_looks.list_many_dead_letters(
                app,
                target,
                wanted=wanted,
                newest_first=newest_first,
                limit=limit,
                after=start,
                progress=progress,
            )

    page = with_app(look)
    if as_json:
        found = [letter.to_dict(readable) for letter in page.letters]
        show_json({"target": page.target, "count": page.count, "dead_letters": found, "next": page.next})
        return
    show_table(views.LETTER_COLUMNS, [views.letter_row(letter) for letter in page.letters])
    more = f"; continue with --after {page.next}" if page.next else ""
    fitting = "" if wanted == EVERY_LETTER else f" that fit among {page.looked:,}"
    say(f"{page.target}: {len(page.letters):,}{fitting} of {many(page.count, 'dead letter')}{more}")


async def _write(
    app: App, target: str | None, wanted: LetterFilter, *, newest_first: bool, after: bytes | None, form: Format
) -> None:
    """Write all that fit to standard output. What a newer release has written is left out, and counted."""
    left_out, is_first = 0, True
    async for page in letter_looks.each_page(app, target, wanted=wanted, newest_first=newest_first, after=after):
        known = [letter for letter in page.letters if not letter.is_foreign]
        left_out += len(page.letters) - len(known)
        if form is Format.CSV:
            show_text(saved.csv_of(known, header=is_first))
        else:
            show_text("".join(f"{saved.line_of(letter)}\n" for letter in known))
        is_first = False
    if left_out:
        say(f"{many(left_out, 'dead letter is', 'dead letters are')} left out: a newer release has written them")


@commands.command("groups")
@filtered
def group_dead(wanted: LetterFilter, target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Count the dead letters that have failed in the same way, the largest group first.

    While it reads many of them, it says how far it is.

    Example: python -m reclaim dead groups --since 1d
    """
    found = with_app(lambda app: _grouped(app, target, wanted))
    if as_json:
        show_json(asdict(found))
        return
    show_table(views.GROUP_COLUMNS, [views.group_row(group) for group in found.groups])
    others = f"; {found.others:,} in smaller groups" if found.others else ""
    say(f"{found.target}: {found.matched:,} of {many(found.count, 'dead letter')}{others}")


async def _grouped(app: App, target: str | None, wanted: LetterFilter) -> LetterGroups:
    with looking_progress() as progress:
        looks = letter_looks.group_all_dead_letters(app, target, wanted=wanted)
        async for found in looks:
            progress(found.looked, found.count, found.matched)
    return found


@commands.command("show")
def show_dead(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="IDs of dead letters, or of their entries.")],
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show dead letters with all their fields.

    In a terminal a very long value is cut; in a pipe it is whole.

    Exit codes: 0 all of them are shown, 1 one of them does not exist, 2 the settings or the arguments are bad.

    Example: python -m reclaim dead show 1700000000000-0
    """
    wanted = [id_of(one) for one in ids]
    chosen = with_app(lambda app: letter_looks.show_dead_letters(app, wanted, target))
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
@filtered
def replay(
    wanted: LetterFilter,
    ids: IdsArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Replay all dead letters.")] = False,
    target: TargetOption = None,
    upto: Annotated[
        str | None,
        typer.Option(
            "--upto",
            metavar="ID",
            help="Only those up to this dead letter; so a replay that was interrupted goes on.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="COUNT", min=1, help="Replay at most this many.")
    ] = None,
    per_second: Annotated[
        float | None,
        typer.Option(
            "--per-second",
            metavar="COUNT",
            callback=a_number,
            min=0.001,
            max=1e6,
            help="Replay at most this many a second.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Replay nothing; only say how many would be replayed.")
    ] = False,
    budget_sec: Annotated[
        float,
        typer.Option(
            "--budget-sec",
            metavar="SECONDS",
            callback=a_number,
            min=1,
            max=86_400,
            help="Begin nothing after this many seconds.",
        ),
    ] = 86_400.0,
    even_if_open: Annotated[bool, typer.Option("--even-if-open", help="Replay even if the circuit is open.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Handle dead letters once more: those with these IDs, those that fit, or all of them.

    If an entry is stored, its dead letter is removed. Runs of the target wait until the replay ends. While the circuit
    is open, the command refuses to replay.

    Exit codes: 0 all of them are stored, 1 the replay failed or one is not stored, 2 the settings or the arguments are
    bad. If Ctrl-C (130) or SIGTERM (143) interrupts the replay, the command says how far it came and how to go on; runs
    can go on.

    \b
    Examples:
      python -m reclaim dead replay 1700000000000-0
      python -m reclaim dead replay --all --per-second 100
      python -m reclaim dead replay --error timeout --since 2h
    """  # noqa: D301  # \b is one character: it keeps the lines
    chosen = _chosen(ids, wanted, everything=everything)
    if upto is not None and chosen is not None:
        raise typer.BadParameter("it is for --all or a filter, not for IDs", param_hint="--upto")
    said = None if upto is None else id_of(upto)

    async def replay_them(app: App) -> Replayed:
        # What fails gets a new ID, after this one: whoever goes on after an interruption tries nothing twice.
        last = said if said is not None or chosen is not None else await letter_looks.last_dead_letter(app, target)
        with replay_progress(None if last is None else last.decode()) as progress:
            return await letter_acts.replay_dead_letters(
                app,
                chosen,
                target,
                wanted=wanted,
                upto=last,
                limit=limit,
                per_second=per_second,
                dry_run=dry_run,
                even_if_open=even_if_open,
                budget_sec=budget_sec,
                progress=progress,
                by=me(),
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
@filtered
def discard(
    wanted: LetterFilter,
    ids: IdsArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Discard all dead letters.")] = False,
    target: TargetOption = None,
    why: Annotated[
        str | None, typer.Option("--why", help="Why. The audit keeps it; on a terminal it is asked for.")
    ] = None,
    who: WhoOption = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", metavar="FILE", help="First save them to this new file, which `dead import` takes back."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Discard without asking; needs --why.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove dead letters for good: those with these IDs, those that fit, or all of them.

    The command asks first. If no person sits at the terminal, --yes is needed. With --save it removes only what is in
    the file.

    Exit codes: 0 they are removed, 1 the command failed, one did not exist or you said no, 2 the settings or the
    arguments are bad.

    \b
    Examples:
      python -m reclaim dead discard 1700000000000-0 --why "a test order"
      python -m reclaim dead discard --reason bad_entry --save bad.jsonl --why "old format" --yes
    """  # noqa: D301  # \b is one character: it keeps the lines
    chosen = _chosen(ids, wanted, everything=everything)
    if save is not None and save.exists():
        raise typer.BadParameter(f"{save} is there already", param_hint="--save")
    if not yes and not is_terminal(sys.stdin):
        raise typer.BadParameter("nobody can be asked here; say --yes to discard without a question")
    if yes and why is None:
        raise typer.BadParameter("say why: nobody is asked", param_hint="--why")
    if not yes:
        _ask_whether_to_discard(chosen, wanted, target, saved_to=save)
    with asking():
        because = typer.prompt("Why", err=True) if why is None else why
    by = me(who)

    async def discard_them(app: App) -> Discarded:
        if save is None:
            return await letter_acts.discard_dead_letters(app, chosen, target, wanted=wanted, by=by, why=because)
        with save.open("x", encoding="ascii") as file:
            saving = letter_acts.save_and_discard(app, chosen, target, wanted=wanted, by=by, why=because, file=file)
            return await saving

    done = with_app(discard_them)
    if as_json:
        show_json(asdict(done))
    else:
        show_line(f"{done.target}: {done.discarded:,} discarded{'' if save is None else f', and saved to {save}'}")
    if done.missing:
        say(f"{many(done.missing, 'ID is', 'IDs are')} no dead letter's")
        exit_if(failed=True)


def _ask_whether_to_discard(
    chosen: Sequence[bytes] | None, wanted: LetterFilter, target: str | None, *, saved_to: Path | None
) -> None:
    """Ask the person, who sees what the IDs name. No event loop runs meanwhile: it would catch Ctrl-C."""
    if chosen is None:
        name, count = with_app(lambda app: letter_looks.count_dead_letters(app, target, wanted=wanted))
    else:
        found = with_app(lambda app: letter_looks.show_dead_letters(app, chosen[:NAMED_SHOWN], target))
        rows = [views.letter_row(letter) for letter in found.letters]
        if rows:
            show_table(views.LETTER_COLUMNS, rows)
        name, count = found.target, len(found.letters) + len(chosen[NAMED_SHOWN:])
    if not count:
        return
    if saved_to is None:
        say("This cannot be undone. To keep a copy that can be imported again, say --save FILE.")
    with asking():
        typer.confirm(f"Discard {many(count, 'dead letter')} of {name} for good?", abort=True, err=True)


@commands.command("import")
def import_dead(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Saved by `dead discard --save` or `dead list --format jsonl`.")
    ],
    target: TargetOption = None,
    who: WhoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make dead letters of those in a file again, byte for byte. Each gets a new ID.

    Nothing is imported if a line of the file is bad, or if there is no room for all of them.

    Example: python -m reclaim dead import bad.jsonl
    """
    try:
        content = file.read_bytes()
    except OSError as exc:
        raise typer.BadParameter(f"{file} cannot be read: {exc.strerror or said(exc)}", param_hint="FILE") from exc
    done = with_app(lambda app: letter_acts.import_dead_letters(app, content, file.name, target, by=me(who)))
    if as_json:
        show_json(asdict(done))
    else:
        show_line(f"{done.target}: {done.imported:,} imported")


def _chosen(ids: Sequence[str] | None, wanted: LetterFilter, *, everything: bool) -> list[bytes] | None:
    """The IDs that are chosen, each once; None for all that fit."""
    if sum((bool(ids), everything, wanted != EVERY_LETTER)) != 1:
        raise typer.BadParameter("give the IDs, or --all, or what they must be like (--error, --reason, …)")
    return list(dict.fromkeys(id_of(one) for one in ids)) if ids else None
