"""What the alerts' tests are made of: a webhook on loopback, reports, and what a CloudEvent has to be."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from jsonschema import Draft202012Validator

from reclaim.observe.alerter import SEND_BUDGET_SEC, Alerter
from reclaim.observe.alerts import Alert, alert_of, alerts_of
from reclaim.run.report import Outcome, RunReport
from reclaim.run.tally import Tally
from reclaim.settings import Target
from reclaim.state.connection import Server, connect
from tests.integration.state.circuits import Instance
from tests.support import HasPort, a_target, settings_for

TARGET = a_target(stream="s p", alert_backlog_sec=600.0)
RFC_3339 = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
URI_REFERENCE = r"^([A-Za-z0-9\-._~:/?#@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+$"

# The attributes of a CloudEvent 1.0 and their types, as the specification has them.
EVENT_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["id", "source", "specversion", "type", "subject", "time", "datacontenttype", "text", "data"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1, "pattern": URI_REFERENCE},
        "specversion": {"const": "1.0"},
        "type": {"type": "string", "pattern": r"^reclaim(\.[a-z_]+)+$"},
        "subject": {"type": "string", "minLength": 1},
        "time": {"type": "string", "pattern": RFC_3339},
        "datacontenttype": {"const": "application/json"},
        "text": {"type": "string", "pattern": "^[^\\x00-\\x1f]+$"},
        "data": {
            "type": "object",
            "required": ["target", "why"],
            "properties": {"target": {"type": "string"}, "why": {"type": "string", "minLength": 1}},
        },
    },
    "additionalProperties": False,
}

Answer = int | Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What the webhook received."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The event, checked against the schema, and read by the CloudEvents library in the same way."""
        event: dict[str, Any] = json.loads(self.body)
        Draft202012Validator(EVENT_SCHEMA).validate(event)
        parsed = from_http_event(HTTPMessage(self.headers, self.body))
        attributes = parsed.get_attributes()
        assert attributes | {"time": event["time"], "data": parsed.get_data()} == event
        assert attributes["time"] == datetime.fromisoformat(event["time"])
        return event


class Webhook:
    """An HTTP server on loopback that keeps what it receives, and answers as it is told: 202 unless told otherwise.

    Attributes:
        received: the requests, oldest first.
        answers: the next answers: a status, or a function that answers.
        always: the answer when there are no next ones.
    """

    def __init__(self) -> None:
        self.received: list[Request] = []
        self.answers: list[Answer] = []
        self.always: Answer = 202
        self._released = threading.Event()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                webhook.received.append(Request(self.path, headers, body))
                answer = webhook.answers.pop(0) if webhook.answers else webhook.always
                if isinstance(answer, int):
                    self.send_response(answer)
                    self.send_header("content-length", "0")
                    self.end_headers()
                else:
                    answer(self)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook?code=s3cret"

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events received."""
        return [request.event for request in self.received]

    @property
    def types(self) -> list[str]:
        """Their types, without the prefix, in the order of the alphabet."""
        return sorted(event["type"].removeprefix("reclaim.") for event in self.events)

    def hang(self, _: BaseHTTPRequestHandler) -> None:
        """Answer nothing."""
        self._released.wait(30)

    def trickle(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer 500 with a body that never ends."""
        handler.send_response(500)
        handler.end_headers()
        with suppress(OSError):
            while not self._released.wait(0.01):
                handler.wfile.write(b"x" * 1000)

    def drip(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer with a header that grows, and never ends."""
        with suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 202 Accepted\r\nx: ")
            while not self._released.wait(0.02):
                handler.wfile.write(b"x")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


async def no_sleep(_: float) -> None:
    """Wait for nothing between two attempts."""


@asynccontextmanager
async def an_alerter(
    place: HasPort, url: str | None, *targets: Target, timeout_sec: float = 1.0, **changes: Any
) -> AsyncIterator[Alerter]:
    """An alerter, as an instance of the app has one."""
    settings = settings_for(place, *(targets or (TARGET,)), alert_webhook_url=url, **changes)
    server: Server = connect(settings, timeout_sec=timeout_sec)
    try:
        yield Alerter(settings, server, sleep=no_sleep)
    finally:
        await server.aclose()


async def tell(alerter: Alerter, *alerts: Alert, budget_sec: float = SEND_BUDGET_SEC) -> None:
    """Have the alerter send these."""
    await alerter.send(alerts, budget_sec)


async def tell_run(alerter: Alerter, outcome: Outcome = Outcome.COMPLETED, **counts: Any) -> None:
    """Have the alerter send what is worth telling of a run on TARGET."""
    await tell(alerter, *alerts_of(a_report(outcome, **counts), TARGET))


_run_ids: Iterator[int] = iter(range(1, 1_000_000))


def a_report(outcome: Outcome = Outcome.COMPLETED, reason: str = "it broke", **counts: Any) -> RunReport:
    """A run's report; each has a run ID of its own."""
    tally = Tally(f"run{next(_run_ids)}", TARGET.name, lambda: 0.0)
    tally.started_at = "2026-11-22T10:00:00.000+00:00"
    return replace(tally.report(outcome, reason), **{"seconds": 1.5, **counts})


def fail_and_tell(port: int, url: str, target: Target, number: int, calls: int) -> Counter[str]:
    """In a process of its own: fail again and again, and send an alert for every change, and for every refusal."""
    return asyncio.run(_fail_and_tell(port, url, target, number, calls))


async def _fail_and_tell(port: int, url: str, target: Target, number: int, calls: int) -> Counter[str]:
    place = _Port(port)
    one = Instance(place, target, f"process {number}")
    told: Counter[str] = Counter()
    try:
        async with an_alerter(place, url, target) as alerter:
            for _ in range(calls):
                change = await one.fails()
                told[change.effect] += 1
                opening = (await one.enters()).opening
                changes = [alert_of(some, target) for some in (change, opening) if some is not None]
                await tell(alerter, *(alert for alert in changes if alert is not None))
    finally:
        await one.server.aclose()
    return told


@dataclass(frozen=True, slots=True)
class _Port:
    port: int
