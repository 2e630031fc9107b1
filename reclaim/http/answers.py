"""Owns what each route does: it calls the operation with the request's values, and makes JSON of the result.

Each function has the name of its operation in the OpenAPI document.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from msgspec import UnsetType

from reclaim import visible
from reclaim.app import App
from reclaim.errors import AccessDenied
from reclaim.http.document import document
from reclaim.http.requests import CircuitChange, Discard, LatestFirst, Nothing, OldestFirst, Replay, Run
from reclaim.ops import operations
from reclaim.run.report import Outcome
from reclaim.trace import current_operation
from reclaim.verdicts import is_transient

PREVIEW_CHARS = 1000

Answer = Mapping[str, Any]


async def get_status(app: App, _: Nothing) -> Answer:
    status = await operations.read_status(app)
    if status.error is not None:
        raise status.error
    return status.found


async def list_runs(app: App, asked: LatestFirst) -> Answer:
    before = _id(asked.before)
    return asdict(await operations.list_runs(app, _text(asked.target), limit=asked.limit, before=before))


async def run_now(app: App, asked: Run) -> Answer:
    target, operation = _text(asked.target), current_operation()
    park_misfits = asked.who if asked.park_misfits else None
    reports = await operations.run_now(
        app, target, budget_sec=asked.budget_sec, operation=operation, park_misfits=park_misfits
    )
    errors = [report.error for report in reports if report.outcome is Outcome.FAILED]
    if len(errors) == len(reports) and errors[0] is not None and _is_of_redis(errors[0]):
        raise errors[0]
    return {"runs": [json.loads(report.to_json()) for report in reports]}


def _is_of_redis(error: Exception) -> bool:
    """Whether the app could not use Redis. Then the run answers as every other route does: with that error."""
    return isinstance(error, AccessDenied) or is_transient(error)


async def list_dead_letters(app: App, asked: OldestFirst) -> Answer:
    page = await operations.list_dead_letters(app, _text(asked.target), limit=asked.limit, after=_id(asked.after))
    preview = partial(visible.for_a_page, most_chars=PREVIEW_CHARS)
    letters = [letter.to_dict(preview) for letter in page.letters]
    return {"target": page.target, "count": page.count, "dead_letters": letters, "next": page.next, "last": page.last}


async def replay_dead_letters(app: App, asked: Replay) -> Answer:
    done = await operations.replay_dead_letters(
        app,
        None if asked.ids == "all" else [one.encode() for one in asked.ids],
        _text(asked.target),
        upto=_id(asked.upto),
        limit=None if isinstance(asked.limit, UnsetType) else asked.limit,
        per_second=None if isinstance(asked.rate, UnsetType) else asked.rate,
        dry_run=asked.dry_run,
        even_if_open=asked.even_if_open,
        budget_sec=asked.budget_sec,
    )
    return {"target": done.target, "dry_run": done.dry_run, **asdict(done.report)}


async def discard_dead_letters(app: App, asked: Discard) -> Answer:
    ids = None if asked.ids == "all" else [one.encode() for one in asked.ids.split(",")]
    return asdict(await operations.discard_dead_letters(app, ids, _text(asked.target), upto=_id(asked.upto)))


async def list_lost(app: App, asked: LatestFirst) -> Answer:
    before = _id(asked.before)
    return asdict(await operations.list_lost(app, _text(asked.target), limit=asked.limit, before=before))


async def set_circuit(app: App, asked: CircuitChange) -> Answer:
    change = operations.open_circuit if asked.action == "open" else operations.close_circuit
    return asdict(await change(app, asked.reason, asked.who, _text(asked.target)))


async def openapi(app: App, _: Nothing) -> Answer:
    return document(list(app.units))


def _text(value: str | UnsetType) -> str | None:
    """The text in the request; None if the request has none."""
    return None if isinstance(value, UnsetType) else value


def _id(value: str | UnsetType) -> bytes | None:
    """The ID in the request, as bytes; None if the request has none."""
    return None if isinstance(value, UnsetType) else value.encode()
