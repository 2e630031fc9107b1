"""Owns the routes: HTTP functions, which need a function key, and the dashboard's files, which need none.

requests.py says what a request may hold, answers.py what a route does, and problems.py what it answers to an error.
RECLAIM_PREFIX stands before all names and paths, for an app of one's own that has the same ones.

The first request imports these modules, so that a cold start without a request does not pay for them.
"""

import asyncio
import gzip
import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import azure.functions as func

from reclaim.app import app_of_loop
from reclaim.prefix import prefix_of
from reclaim.retry import Retries
from reclaim.state.node import TIMEOUT_SEC
from reclaim.times import Deadline
from reclaim.trace import Operation

if TYPE_CHECKING:
    from reclaim.http.callers import Caller

RETRY_AFTER_SEC = 5
GZIP_BYTES, GZIP_LEVEL = 1500, 5  # an answer that fits in one packet is sent as it is
ATTEMPTS = 3

T = TypeVar("T")

# Method and path of each operation, by its ID. The ID is also the name of the function in answers.py, and after the
# prefix that of the function on Azure.
ROUTES = {
    "get_status": ("GET", "/status"),
    "list_runs": ("GET", "/runs"),
    "run_now": ("POST", "/runs"),
    "list_dead_letters": ("GET", "/dead-letters"),
    "group_dead_letters": ("GET", "/dead-letters/groups"),
    "replay_dead_letters": ("POST", "/dead-letters/replay"),
    "discard_dead_letters": ("DELETE", "/dead-letters"),
    "list_lost": ("GET", "/lost"),
    "set_circuit": ("POST", "/circuit"),
    "list_pending": ("GET", "/pending"),
    "list_audit": ("GET", "/audit"),
    "get_metrics": ("GET", "/metrics"),
    "check_access": ("POST", "/access"),
    "openapi": ("GET", "/openapi.json"),
}

# Told who asks: all but the last one leave a record of it.
TOLD_WHO = frozenset({"run_now", "replay_dead_letters", "discard_dead_letters", "set_circuit", "check_access"})

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # its __init__ has no types
_PREFIX = prefix_of(os.environ)


def _served(name: str, method: str, path: str, level: func.AuthLevel) -> Callable[[Any], Any]:
    """What makes a function an Azure function of this name, at this method and path; with the prefix before both."""
    full_name, full_path = (f"{_PREFIX}_{name}", f"{_PREFIX}{path}") if _PREFIX else (name, path.removeprefix("/"))
    route = blueprint.route(route=full_path, methods=[method], auth_level=level, trigger_arg_name="req")

    def register(function: Any) -> Any:
        return blueprint.function_name(full_name)(route(function))

    return register


def _register(operation_id: str, method: str, path: str) -> None:
    """Make an Azure function that serves the operation at this method and path."""

    @_served(operation_id, method, path, func.AuthLevel.FUNCTION)
    async def serve(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        with Operation.of(context.trace_context.trace_parent).under_way():
            return await _answer(operation_id, req)


for _id, (_method, _path) in ROUTES.items():
    _register(_id, _method, _path)


async def _answer(operation_id: str, req: func.HttpRequest) -> func.HttpResponse:
    from reclaim.http import answers, problems, reading  # noqa: PLC0415  # see above

    act = getattr(answers, operation_id)
    try:
        asked = reading.read(operation_id, req.params, req.get_body())
        acting = partial(act, app_of_loop(), asked, *_caller(operation_id, req.headers))
        found = await (_patiently(acting) if ROUTES[operation_id][0] == "GET" else acting())
        accepts = req.headers.get("Accept-Encoding", "")
        if isinstance(found, answers.File):
            return _sent(200, found.content.encode(), found.mimetype, found.headers, accepts)
        return _json(200, found, accepts=accepts)
    # Every error gets an answer. A cancellation too: if one leaves this function, the host's invocation hangs.
    except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001  # see above
        problem = problems.problem_of(exc)
        headers = {"Retry-After": str(RETRY_AFTER_SEC)} if problem.status in {409, 503} else {}
        return _json(problem.status, {"error": {"code": problem.code, "message": problem.sentence}}, headers)


def _caller(operation_id: str, headers: Mapping[str, str]) -> "tuple[()] | tuple[Caller]":
    """Who asks, for an operation that is told so."""
    from reclaim.http.callers import caller  # noqa: PLC0415  # see above

    return (caller(headers, os.environ),) if operation_id in TOLD_WHO else ()


async def _patiently(read: Callable[[], Awaitable[T]]) -> T:
    """Call `read`, again if its connection turns out to be dead, and return its result."""
    return await Retries(ATTEMPTS, max_delay_sec=0).attempt(Deadline(TIMEOUT_SEC, time.monotonic), read)


def _json(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None, *, accepts: str = ""
) -> func.HttpResponse:
    return _sent(status, json.dumps(body).encode(), "application/json", headers or {}, accepts)


def _sent(status: int, content: bytes, mimetype: str, headers: Mapping[str, str], accepts: str) -> func.HttpResponse:
    """An answer that holds data: compressed if it is worth it and the caller takes that."""
    kept = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers}
    if len(content) > GZIP_BYTES and _takes_gzip(accepts):
        content = gzip.compress(content, GZIP_LEVEL)
        kept |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return func.HttpResponse(content, status_code=status, headers=kept, mimetype=mimetype)


def _takes_gzip(accepts: str) -> bool:
    """Whether a caller with this header ``Accept-Encoding`` takes gzip: it is named, and not with ``q=0``."""
    for part in accepts.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        if name == "gzip":
            return not any(re.fullmatch(r"q=0(\.0*)?", one) for one in parameters)
    return False


@_served("get_health", "GET", "/health", func.AuthLevel.ANONYMOUS)
async def get_health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001  # the host passes it so
    """Whether the settings are good and Redis answers. It names nothing, so it needs no key."""
    from reclaim.ops.probe import is_well  # noqa: PLC0415  # see above

    try:
        well = await is_well(app_of_loop())
    # Whatever keeps the app from being made is logged where it is used; here nobody may learn more than that.
    except (Exception, asyncio.CancelledError):  # noqa: BLE001  # see above
        well = False
    return _json(200 if well else 503, {"status": "ok" if well else "fail"})


@_served("dashboard", "GET", "/dashboard", func.AuthLevel.ANONYMOUS)
async def dashboard(req: func.HttpRequest) -> func.HttpResponse:
    """The dashboard's page. It is static and holds no data, so it needs no key."""
    if req.url.partition("?")[0].endswith("/"):  # the page's links are relative: after a slash they lead nowhere
        return func.HttpResponse(status_code=308, headers={"Location": "../dashboard"})
    return _file(req, "index.html")


@_served("dashboard_file", "GET", "/dashboard/{file}", func.AuthLevel.ANONYMOUS)
async def dashboard_file(req: func.HttpRequest) -> func.HttpResponse:
    """A file that the page is made of."""
    return _file(req, req.route_params["file"])


def _file(req: func.HttpRequest, name: str) -> func.HttpResponse:
    from reclaim.http import static  # noqa: PLC0415  # see above

    file = static.files().get(name)
    if file is None:
        return _json(404, {"error": {"code": "not_found", "message": "the dashboard has no such file"}})
    headers = {**static.HEADERS, "ETag": file.etag}
    is_known = file.is_known_by(req.headers.get("If-None-Match", ""))
    return func.HttpResponse(
        None if is_known else file.content,
        status_code=304 if is_known else 200,
        headers=headers,
        mimetype=file.mimetype,  # also in a 304: a browser may use it for its own copy of the file
        charset="utf-8",
    )
