"""Owns the options that say which dead letters a person means: they are the same for every command that takes them."""

import inspect
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from reclaim.cli.session import id_of
from reclaim.state.letter_filter import LetterFilter
from reclaim.times import said_moment

Reason = Annotated[
    str | None, typer.Option("--reason", metavar="REASON", help="Only those with this reason: bad_entry, failed, ….")
]
Error = Annotated[
    str | None, typer.Option("--error", metavar="TEXT", help="Only those whose error contains this text.")
]
ErrorGroup = Annotated[
    str | None,
    typer.Option("--error-group", metavar="ERROR", help="Only those of this group, as `dead groups` names it."),
]
Consumer = Annotated[str | None, typer.Option("--consumer", metavar="NAME", help="Only those that this consumer had.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="MOMENT", help="Only those that came then or later: 2026-01-31, 2h.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="MOMENT", help="Only those that came then or before.")]
Text = Annotated[
    str | None, typer.Option("--text", metavar="TEXT", help="Only those with this text in a value of the body.")
]
EntryId = Annotated[
    list[str] | None, typer.Option("--entry-id", metavar="ID", help="Only those of this entry; may be said again.")
]


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options above, in the place of its parameter `wanted`, which gets what they say."""
    own = inspect.signature(command).parameters
    options = inspect.signature(_filter).parameters
    at = list(own).index("wanted")
    shown = [*list(own.values())[:at], *options.values(), *list(own.values())[at + 1 :]]

    def taking(**said: Any) -> None:
        command(wanted=_filter(**{name: said.pop(name) for name in options}), **said)

    taking.__name__, taking.__doc__ = command.__name__, command.__doc__
    taking.__annotations__ = {one.name: one.annotation for one in shown}
    taking.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # which Typer reads
        [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in shown]
    )
    return taking


def _filter(
    reason: Reason = None,
    error: Error = None,
    error_group: ErrorGroup = None,
    consumer: Consumer = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
    entry_id: EntryId = None,
) -> LetterFilter:
    """What the options say."""
    return LetterFilter(
        reason=reason,
        error=error,
        error_group=error_group,
        consumer=consumer,
        since_ms=_moment("--since", since),
        until_ms=_moment("--until", until),
        text=text,
        entry_ids=frozenset(map(id_of, entry_id)) if entry_id else None,
    )


def _moment(option: str, said: str | None) -> int | None:
    try:
        return None if said is None else said_moment(said, time.time_ns() // 1_000_000)
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint=option) from exc
