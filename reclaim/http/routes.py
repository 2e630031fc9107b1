"""Owns the operations API: HTTP routes that ask for a function key, and the dashboard's page, which asks for none.

A route says what is asked for and what is answered; what it does is done elsewhere. What requests may say, and what
they are answered, is in openapi.json.
"""

import asyncio
import base64
import hashlib
import json
import logging
import re
import time
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import azure.functions as func
from redis import exceptions as redis_errors

from reclaim.app import App, CircuitOpen, Unit, app_of_loop
from reclaim.errors import AccessDenied, LeaseHeld, NotTrusted, ServerError, SettingsError
from reclaim.http import requests as contract
from reclaim.http.requests import BadRequest
from reclaim.retry import Retries
from reclaim.run.report import Outcome
from reclaim.state.connection import TIMEOUT_SEC
from reclaim.state.dead_letters import DeadLetter, DeadLetters
from reclaim.times import Deadline
from reclaim.trace import Operation, current_operation
from reclaim.verdicts import is_transient

logger = logging.getLogger("reclaim")

RETRY_AFTER_SEC = 5
ATTEMPTS = 3
PAGE_BYTES = 2**20  # a page of dead letters ends where its bodies come to more
LETTERS_AT_ONCE = 10
PREVIEW_CHARS = 1000

Arguments = dict[str, Any]
T = TypeVar("T")
Act = Callable[[App, Arguments], Awaitable[Mapping[str, Any]]]

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # its __init__ has no types


def _operation(method: str, path: str) -> Callable[[Act], Act]:
    """Make a function of the operation, named as it is, which serves the method and path of the document."""

    def register(act: Act) -> Act:
        async def serve(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
            with Operation.of(context.trace_context.trace_parent).under_way():
                return await _answer(req, method, path, act)

        route = blueprint.route(
            route=path.removeprefix("/"), methods=[method], auth_level=func.AuthLevel.FUNCTION, trigger_arg_name="req"
        )
        blueprint.function_name(act.__name__)(route(serve))
        return act

    return register


@_operation("GET", "/status")
async def get_status(app: App, _: Arguments) -> Mapping[str, Any]:
    from reclaim.ops.status import look  # noqa: PLC0415  # every cold start would pay for it

    found, error = await look(app)
    if error is not None:
        raise error
    return found


@_operation("GET", "/runs")
async def list_runs(app: App, asked: Arguments) -> Mapping[str, Any]:
    unit = _unit(app, asked)
    found, before = await unit.history.latest(asked["limit"], _as_bytes(asked.get("before")))
    runs = [{**report, "id": entry_id.decode()} for entry_id, report in found]
    return {"target": unit.target.name, "runs": runs, "next": None if before is None else before.decode()}


@_operation("POST", "/runs")
async def run_now(app: App, asked: Arguments) -> Mapping[str, Any]:
    if "target" in asked:
        _unit(app, asked)
    reports = await app.reports(only=asked.get("target"), budget_sec=asked["budget_sec"], operation=current_operation())
    errors = [report.error for report in reports if report.outcome is Outcome.FAILED]
    if len(errors) == len(reports) and errors[0] is not None and _is_of_redis(errors[0]):
        raise errors[0]
    return {"runs": [json.loads(report.to_json()) for report in reports]}


def _is_of_redis(error: Exception) -> bool:
    """Whether it is Redis that cannot be used, which every route answers in the same way."""
    return isinstance(error, AccessDenied) or is_transient(error)


@_operation("GET", "/dead-letters")
async def list_dead_letters(app: App, asked: Arguments) -> Mapping[str, Any]:
    unit = _unit(app, asked)
    count, last = await unit.dead_letters.count(), await unit.dead_letters.last()
    letters, after = await _some_letters(unit.dead_letters, _as_bytes(asked.get("after")), asked["limit"])
    return {
        "target": unit.target.name,
        "count": count,
        "dead_letters": [letter.to_dict(_preview) for letter in letters],
        "next": None if after is None else after.decode(),
        "last": None if last is None else last.decode(),
    }


async def _some_letters(letters: DeadLetters, after: bytes | None, limit: int) -> tuple[list[DeadLetter], bytes | None]:
    """At most `limit` dead letters, fewer where they are large, and the ID after which to go on (None: at the end)."""
    found: list[DeadLetter] = []
    size = 0
    while len(found) < limit:
        wanted = min(LETTERS_AT_ONCE, limit - len(found))
        some = await letters.list(after, wanted)
        for letter in some:
            found.append(letter)
            size += sum(map(len, letter.entry.fields))
            if size > PAGE_BYTES:
                return found, letter.id
        if len(some) < wanted:
            return found, None
        after = some[-1].id
    return found, after


@_operation("POST", "/dead-letters/replay")
async def replay_dead_letters(app: App, asked: Arguments) -> Mapping[str, Any]:
    unit = _unit(app, asked)
    if not (asked["dry_run"] or asked["even_if_open"]):
        await unit.check_circuit()
    report = await unit.replay().run(
        _ids(asked["ids"]),
        upto=_as_bytes(asked.get("upto")),
        limit=asked.get("limit"),
        per_second=asked.get("rate"),
        dry_run=asked["dry_run"],
        budget_sec=asked["budget_sec"],
    )
    return {"target": unit.target.name, "dry_run": asked["dry_run"], **asdict(report)}


@_operation("DELETE", "/dead-letters")
async def discard_dead_letters(app: App, asked: Arguments) -> Mapping[str, Any]:
    unit = _unit(app, asked)
    ids, upto = _ids("all" if asked["ids"] == "all" else asked["ids"].split(",")), _as_bytes(asked.get("upto"))
    discarded = await (unit.dead_letters.discard_all(upto) if ids is None else unit.dead_letters.discard(ids))
    return {"target": unit.target.name, "discarded": discarded}


@_operation("GET", "/lost")
async def list_lost(app: App, asked: Arguments) -> Mapping[str, Any]:
    from reclaim.state.lost import LostEntries  # noqa: PLC0415  # every cold start would pay for it

    unit = _unit(app, asked)
    entries = LostEntries(app.server, unit.target)
    count = await entries.count()
    found, before = await entries.latest(asked["limit"], _as_bytes(asked.get("before")))
    return {
        "target": unit.target.name,
        "count": count,
        "lost": [asdict(one) for one in found],
        "next": None if before is None else before.decode(),
    }


@_operation("POST", "/circuit")
async def set_circuit(app: App, asked: Arguments) -> Mapping[str, Any]:
    from reclaim.ops.status import circuit_now  # noqa: PLC0415  # as above

    unit = _unit(app, asked)
    act = unit.circuit.open if asked["action"] == "open" else unit.circuit.close
    change = await act(contract.words("reason", asked["reason"]), contract.words("who", asked["who"]))
    await app.tell(change, unit.target)
    now = circuit_now(unit.target, await unit.circuit.show())
    return {"target": unit.target.name, "effect": change.effect, "circuit": asdict(now)}


@_operation("GET", "/openapi.json")
async def openapi(app: App, _: Arguments) -> Mapping[str, Any]:
    return contract.document(list(app.units))


@blueprint.function_name("dashboard")
@blueprint.route(route="dashboard", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def dashboard(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001  # the host passes it by this name
    """The page: static, without data, and so without a key."""
    page, policy = _page()
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return func.HttpResponse(page, headers=headers, mimetype="text/html", charset="utf-8")


@cache
def _page() -> tuple[bytes, str]:
    """The page, and a policy by which it can run and apply what it holds itself, call this app, and nothing else."""
    page = (Path(__file__).parent / "dashboard" / "index.html").read_bytes()
    rules = [f"{tag}-src {_hashes(page, tag)}" for tag in ("script", "style")]
    return page, "; ".join(
        [
            "default-src 'none'",
            *rules,
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hashes(page: bytes, tag: str) -> str:
    """What https://www.w3.org/TR/CSP3/#match-element-to-source-list asks for, of each inline element."""
    found = re.findall(rb"<%b>(.*?)</%b>" % (tag.encode(), tag.encode()), page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in found)


async def _answer(req: func.HttpRequest, method: str, path: str, act: Act) -> func.HttpResponse:
    try:
        asked = contract.check(method, path, req.params, req.get_body())
        acting = partial(act, app_of_loop(), asked)
        return _json(200, await (_patiently(acting) if method == "GET" else acting()))
    except asyncio.CancelledError:  # one that leaks leaves the host's invocation hanging
        return _error(503, "cancelled", "the app is being stopped; what was in work is taken up later")
    except Exception as exc:
        return _error(*_told(exc))


async def _patiently(look: Callable[[], Awaitable[T]]) -> T:
    """What a look comes to, taken again where a connection turns out to be dead."""
    return await Retries(ATTEMPTS, max_delay_sec=0).attempt(Deadline(TIMEOUT_SEC, time.monotonic), look)


# What a caller is told of an error: of its nearest class in the table.
_TOLD: dict[type[BaseException], tuple[int, str]] = {
    BadRequest: (400, "bad_request"),
    LeaseHeld: (409, "lease_held"),
    CircuitOpen: (409, "circuit_open"),
    SettingsError: (500, "bad_settings"),
    NotTrusted: (500, "not_trusted"),
    AccessDenied: (500, "access_denied"),
    redis_errors.AuthenticationError: (500, "access_denied"),
    redis_errors.AuthorizationError: (500, "access_denied"),
    redis_errors.NoPermissionError: (500, "access_denied"),
    redis_errors.ResponseError: (500, "redis_error"),
    ServerError: (503, "redis_away"),
    redis_errors.ConnectionError: (503, "redis_away"),
    redis_errors.TimeoutError: (503, "redis_away"),
    OSError: (503, "redis_away"),
    Exception: (500, "internal"),
}


def _told(exc: Exception) -> tuple[int, str, str]:
    """The HTTP status, the code and the message for an error. No message holds a secret."""
    code, name = next(_TOLD[cls] for cls in type(exc).__mro__ if cls in _TOLD)
    if name == "redis_error" and is_transient(exc):
        code, name = 503, "redis_busy"
    if isinstance(exc, SettingsError):  # what somebody has put into a setting may be a secret in the wrong place
        bad = ", ".join(problem.partition(" ")[0] for problem in exc.problems)
        logger.error("reclaim: %s", exc)
        return code, name, f"these settings are missing or bad: {bad}; the app's log says what is wrong with each"
    if name == "circuit_open":
        return code, name, f"{exc}; close it first, or say even_if_open"
    if name == "internal":
        logger.error("reclaim: an operation failed", exc_info=exc)
        return code, name, f"{type(exc).__name__}; the app's log says more"
    return code, name, str(exc) or f"Redis has not answered within {TIMEOUT_SEC:g} s"  # an expired time says nothing


def _error(code: int, name: str, message: str) -> func.HttpResponse:
    headers = {"Retry-After": str(RETRY_AFTER_SEC)} if code in {409, 503} else {}
    return _json(code, {"error": {"code": name, "message": message}}, headers)


def _json(code: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    kept = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})}
    return func.HttpResponse(json.dumps(body), status_code=code, headers=kept, mimetype="application/json")


def _unit(app: App, asked: Arguments) -> Unit:
    """The unit of the target asked for, or the only one."""
    name = asked.get("target")
    if name is None and len(app.units) == 1:
        return next(iter(app.units.values()))
    if name not in app.units:
        given = "missing" if name is None else json.dumps(name)
        raise BadRequest(f"target is {given}; allowed: {', '.join(app.units)}")
    return app.units[name]


def _as_bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _ids(asked: str | list[str]) -> list[bytes] | None:
    return None if isinstance(asked, str) else [one.encode() for one in asked]


def _preview(value: bytes) -> str:
    """The beginning of anybody's bytes, as a text that can do no harm where it is shown."""
    start = value[: 4 * PREVIEW_CHARS]
    text = getincrementaldecoder("utf-8")("backslashreplace").decode(start, final=len(start) == len(value))
    return text[:PREVIEW_CHARS].translate(_VISIBLE)


# Characters that act instead of being seen, as escapes: controls, and marks that turn the direction of text
# (https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters).
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F) if chr(code) not in "\t\n"} | {
    code: f"\\u{code:04x}"
    for code in (*range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
}
