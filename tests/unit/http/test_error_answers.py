"""What a caller is told of an error, whatever it was."""

import asyncio
import json
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from redis import exceptions as redis_errors

from reclaim.app import App
from reclaim.errors import (
    AccessDenied,
    BadRequest,
    CircuitOpen,
    LeaseHeld,
    NotEntered,
    NotTrusted,
    SettingsError,
    UnknownTarget,
    Unreachable,
    Unsuitable,
)
from reclaim.http import answers, routes
from reclaim.http.problems import problem_of

ERRORS = [
    (Unreachable("no connection to h:1"), 503, "redis_away"),
    (redis_errors.ConnectionError("closed"), 503, "redis_away"),
    (redis_errors.BusyLoadingError("LOADING"), 503, "redis_away"),
    (TimeoutError(), 503, "redis_away"),
    (redis_errors.OutOfMemoryError("OOM"), 503, "redis_busy"),
    (redis_errors.ReadOnlyError("READONLY"), 503, "redis_busy"),
    (redis_errors.ResponseError("MISCONF no disk"), 503, "redis_busy"),
    (redis_errors.ResponseError("WRONGTYPE of key"), 500, "redis_error"),
    (redis_errors.NoPermissionError("NOPERM"), 500, "access_denied"),
    (AccessDenied("h:1 refused"), 500, "access_denied"),
    (NotTrusted("the certificate of h:1"), 500, "not_trusted"),
    (Unsuitable("h:1 runs no scripts", "choose a server that has EVAL"), 500, "unsuitable"),
    (SettingsError(["PAGE_SIZE is 'x'; allowed: a number"]), 500, "bad_settings"),
    (BadRequest("limit is 0", "a whole number from 1 to 100"), 400, "bad_request"),
    (UnknownTarget("x/y", ["s/g"]), 400, "bad_request"),
    (LeaseHeld("s/g: a run has the lease"), 409, "lease_held"),
    (CircuitOpen("s/g: the circuit is open"), 409, "circuit_open"),
    (NotEntered("HANDLER h:f could not be entered: refused"), 503, "not_entered"),
    (KeyError("a secret of the code"), 500, "internal"),
    (asyncio.CancelledError(), 503, "cancelled"),
]


@pytest.mark.parametrize(
    ("error", "status", "code"), ERRORS, ids=[f"{type(error).__name__}-{code}" for error, _, code in ERRORS]
)
async def test_every_error_has_a_status_and_a_code(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, code: str
) -> None:
    """In the one shape; what passes by itself says when to try again, and nothing leaks to the host."""
    monkeypatch.setattr(routes, "app_of_loop", lambda: None)
    request = func.HttpRequest("GET", "http://h/api/status", body=b"")

    async def fails(app: App, asked: Any) -> Any:  # noqa: ARG001  # as the routes call it
        raise error

    monkeypatch.setattr(answers, "get_status", fails)
    answer = await routes._answer("get_status", request)

    assert answer.status_code == status
    said = json.loads(answer.get_body())
    assert said.keys() == {"error"}
    assert said["error"]["code"] == code
    assert said["error"]["message"]
    assert "secret" not in said["error"]["message"]
    assert ("Retry-After" in answer.headers) == (status in {409, 503})
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "kind", [redis_errors.ResponseError, redis_errors.ConnectionError, redis_errors.NoPermissionError, Unreachable]
)
def test_an_answer_is_bounded_and_holds_no_secret_whatever_the_server_said(kind: type[Exception]) -> None:
    """And no answer is empty, or ends where the error's text would begin."""
    told = [problem_of(kind(text)).sentence for text in ("", "no key: ", "redis://:c4n4ry@h/0", "x" * 10**6)]

    assert all(told)
    assert told[1:3] == ["no key", "redis://***@h/0"]
    assert len(told[3]) <= 1_000


def test_the_document_names_every_code() -> None:
    """A program that meets a code has to find out what it means."""
    document = (Path(answers.__file__).parent / "openapi.json").read_text(encoding="utf-8")

    assert [code for _, _, code in ERRORS if code not in document] == []
