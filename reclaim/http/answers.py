"""Owns what each route does: it calls the operation with the request's values, and makes JSON of the result.

Each function has the name of its operation in the OpenAPI document.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from msgspec import UnsetType

from reclaim import visible
from reclaim.app import App
from reclaim.errors import AccessDenied, BadRequest, shown
from reclaim.http.callers import Caller
from reclaim.http.document import document
from reclaim.http.requests import (
    Access,
    CircuitChange,
    Discard,
    Filter,
    GetStatus,
    LatestFirst,
    Letters,
    Nothing,
    Pending,
    Replay,
    Run,
    SomeLetters,
)
from reclaim.names import name_bytes
from reclaim.ops import letter_acts, letter_looks, operations, saved, targets
from reclaim.ops.overview import overview
from reclaim.ops.results import Letters as LettersFound
from reclaim.run.report import Outcome
from reclaim.state.letter_filter import LetterFilter
from reclaim.times import said_moment
from reclaim.trace import current_operation
from reclaim.verdicts import is_transient

PREVIEW_CHARS = 1000
DISCARD_SEC = 60.0  # one answer removes as much as it can in this time

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class File:
    """An answer that is not JSON, but a part of a file."""

    content: str
    mimetype: str
    headers: Mapping[str, str]


async def get_status(app: App, asked: GetStatus) -> Answer:
    target = _text(asked.target)
    targets.named_units(app, target)
    status = await operations.read_status(app)
    if status.error is not None:
        raise status.error
    return overview(status.found, target)


async def list_runs(app: App, asked: LatestFirst) -> Answer:
    before = _id(asked.before)
    return asdict(await operations.list_runs(app, _text(asked.target), limit=asked.limit, before=before))


async def run_now(app: App, asked: Run, caller: Caller) -> Answer:
    target, operation = _text(asked.target), current_operation()
    by = caller.actor(asked.who)
    park_misfits = by.who if asked.park_misfits else None
    reports = await operations.run_now(
        app, target, budget_sec=asked.budget_sec, operation=operation, park_misfits=park_misfits, by=by
    )
    errors = [report.error for report in reports if report.outcome is Outcome.FAILED]
    if len(errors) == len(reports) and errors[0] is not None and _is_of_redis(errors[0]):
        raise errors[0]
    return {"runs": [json.loads(report.to_json()) for report in reports]}


def _is_of_redis(error: Exception) -> bool:
    """Whether the app could not use Redis. Then the run answers as every other route does: with that error."""
    return isinstance(error, AccessDenied) or is_transient(error)


async def list_dead_letters(app: App, asked: Letters) -> Answer | File:
    page = await letter_looks.list_dead_letters(
        app,
        _text(asked.target),
        wanted=_filter(asked),
        newest_first=asked.order == "newest",
        limit=asked.limit,
        after=_id(asked.after),
    )
    if asked.format != "json":
        return _file(page, asked.format, is_first=isinstance(asked.after, UnsetType))
    preview = partial(visible.for_a_page, most_chars=PREVIEW_CHARS)
    shown = [letter.to_dict(preview) for letter in page.letters]
    about = {"target": page.target, "count": page.count, "looked": page.looked, "next": page.next, "last": page.last}
    return {**about, "dead_letters": shown}


def _file(page: LettersFound, form: str, *, is_first: bool) -> File:
    """A page of a file. What a newer release has written is not in it: nobody knows here what all of it means."""
    known = [letter for letter in page.letters if not letter.is_foreign]
    headers = {"X-Reclaim-Looked": str(page.looked), "X-Reclaim-Left-Out": str(len(page.letters) - len(known))}
    if page.next is not None:
        headers["X-Reclaim-Next"] = page.next
    if form == "csv":
        return File(saved.csv_of(known, header=is_first), "text/csv", headers)
    return File("".join(f"{saved.line_of(letter)}\n" for letter in known), "application/x-ndjson", headers)


async def group_dead_letters(app: App, asked: SomeLetters) -> Answer:
    newest_first = asked.order == "newest"
    return asdict(
        await letter_looks.group_dead_letters(
            app, _text(asked.target), wanted=_filter(asked), newest_first=newest_first, after=_id(asked.after)
        )
    )


def _filter(asked: Filter) -> LetterFilter:
    now_ms = time.time_ns() // 1_000_000
    since, until, entry_ids = _text(asked.since), _text(asked.until), _text(asked.entry_id)
    return LetterFilter(
        reason=_text(asked.reason),
        error=_text(asked.error),
        error_group=_text(asked.error_group),
        consumer=_text(asked.consumer),
        since_ms=None if since is None else said_moment(since, now_ms),
        until_ms=None if until is None else said_moment(until, now_ms),
        text=_text(asked.text),
        entry_ids=None if entry_ids is None else frozenset(entry_ids.encode().split(b",")),
    )


async def replay_dead_letters(app: App, asked: Replay, caller: Caller) -> Answer:
    done = await letter_acts.replay_dead_letters(
        app,
        None if asked.ids == "all" else [one.encode() for one in asked.ids],
        _text(asked.target),
        wanted=_filter(asked),
        upto=_id(asked.upto),
        limit=None if isinstance(asked.limit, UnsetType) else asked.limit,
        per_second=None if isinstance(asked.rate, UnsetType) else asked.rate,
        dry_run=asked.dry_run,
        even_if_open=asked.even_if_open,
        budget_sec=asked.budget_sec,
        by=caller.actor(asked.who),
    )
    return {"target": done.target, "dry_run": done.dry_run, **asdict(done.report)}


async def discard_dead_letters(app: App, asked: Discard, caller: Caller) -> Answer:
    ids = None if asked.ids == "all" else [one.encode() for one in asked.ids.split(",")]
    return asdict(
        await letter_acts.discard_dead_letters(
            app,
            ids,
            _text(asked.target),
            wanted=_filter(asked),
            upto=_id(asked.upto),
            budget_sec=DISCARD_SEC,
            by=caller.actor(asked.who),
            why=asked.why,
        )
    )


async def list_lost(app: App, asked: LatestFirst) -> Answer:
    before = _id(asked.before)
    return asdict(await operations.list_lost(app, _text(asked.target), limit=asked.limit, before=before))


async def set_circuit(app: App, asked: CircuitChange, caller: Caller) -> Answer:
    change = operations.open_circuit if asked.action == "open" else operations.close_circuit
    by = caller.actor(asked.who)
    return asdict(await change(app, asked.reason, by.who, _text(asked.target), by=by))


async def list_pending(app: App, asked: Pending) -> Answer:
    consumer = _text(asked.consumer)
    try:
        name = None if consumer is None else name_bytes(consumer)
    except ValueError as exc:
        raise BadRequest(f"consumer is {shown(consumer)}", "a name, as the status shows it") from exc
    page = await operations.list_pending(
        app, _text(asked.target), consumer=name, limit=asked.limit, after=_id(asked.after)
    )
    preview = partial(visible.for_a_page, most_chars=PREVIEW_CHARS)
    entries = [one.to_dict(preview) for one in page.entries]
    next_id = None if page.next is None else page.next.decode()
    return {"target": page.target, "entries": entries, "all_records": page.all_records, "next": next_id}


async def list_audit(app: App, asked: LatestFirst) -> Answer:
    before = _id(asked.before)
    return asdict(await operations.list_audit(app, _text(asked.target), limit=asked.limit, before=before))


async def get_metrics(app: App, _: Nothing) -> File:
    from reclaim.ops.metrics import CONTENT_TYPE, metrics  # noqa: PLC0415  # other requests need not load its library

    return File(await metrics(app), CONTENT_TYPE, {})


async def check_access(app: App, _: Access, caller: Caller) -> Answer:  # noqa: ARG001  # every answer takes it
    """Whoever gets this answer has a key that may change things: a key that only reads is not set on this function."""
    return {"may_change": True, "signed_in": caller.signed_in}


async def openapi(app: App, _: Nothing) -> Answer:
    return document(list(app.units), app.settings.prefix or "")


def _text(value: str | UnsetType) -> str | None:
    """The text in the request; None if the request has none."""
    return None if isinstance(value, UnsetType) else value


def _id(value: str | UnsetType) -> bytes | None:
    """The ID in the request, as bytes; None if the request has none."""
    return None if isinstance(value, UnsetType) else value.encode()
