"""What telemetry's tests are made of: a place that takes exports as Application Insights does, and runs to send."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from reclaim.handlers.outcomes import Handler
from reclaim.observe.export import Exporter
from reclaim.observe.measures import ObservedRun
from reclaim.observe.snapshot import Snapshot, take_snapshot
from reclaim.run.report import Outcome, RunReport
from reclaim.run.tally import Tally
from reclaim.settings import Insights, Target
from reclaim.trace import Operation
from tests.support import HasPort, a_runner

KEY = "00000000-0000-0000-0000-00000000000a"
OPERATION = Operation("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
NOBODY = 1  # a port where nobody listens: connecting is refused at once

Envelope = dict[str, Any]
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Collector:
    """Takes exports on loopback, and answers each as it is told to.

    Attributes:
        answer: what to answer; a test changes it at will.
        posts: paths and headers of what has come.
        batches: the envelopes of each post.
    """

    answer: Answer
    port: int = 0
    posts: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    batches: list[list[Envelope]] = field(default_factory=list)

    @property
    def envelopes(self) -> list[Envelope]:
        """All that has come."""
        return [envelope for batch in self.batches for envelope in batch]

    @property
    def connection_string(self) -> str:
        """As the portal would show it."""
        return f"InstrumentationKey={KEY};IngestionEndpoint=http://127.0.0.1:{self.port}/;"

    @property
    def insights(self) -> Insights:
        """As the settings hold it."""
        return Insights(KEY, f"http://127.0.0.1:{self.port}", "site")


def answer(status: int, body: object = None, *, after: threading.Event | None = None) -> Answer:
    """Answer with a status and a body (JSON), perhaps not before something has happened."""

    def send(request: BaseHTTPRequestHandler) -> None:
        if after is not None:
            after.wait()
        content = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return send


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    request.close_connection = True


def drip(until: threading.Event) -> Answer:
    """Answer a letter at a time, each sooner than a socket's timeout: no timeout of a library ends that."""

    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        while not until.wait(0.05):
            request.wfile.write(b" ")

    return send


OK_BODY = {"itemsReceived": 1, "itemsAccepted": 1, "errors": []}
OK = answer(200, OK_BODY)


@contextmanager
def a_collector(how: Answer = OK) -> Iterator[Collector]:
    """A collector on a free port of loopback."""
    collector = Collector(how)

    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is http.server's
            collector.batches.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            collector.posts.append((self.path, dict(self.headers)))
            try:
                collector.answer(self)
            except OSError:
                self.close_connection = True  # the client has given up

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        server.daemon_threads = True
        server.block_on_close = False
        collector.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def exporter_to(collector: Collector, **changes: Any) -> Exporter:
    """Exporter to the collector, of an app called ``site``."""
    return Exporter(collector.insights, "127.0.0.1:6379", **changes)


async def observed_run(place: HasPort, target: Target, handler: Handler | None = None) -> ObservedRun:
    """One run, and how the target stands afterwards: what the app tells telemetry."""
    async with a_runner(place, target, handler) as runner:
        report = await runner.run(30.0)
        return ObservedRun(report, target.consumer, await take_snapshot(runner.server, target, 1.0))


def a_report(**changes: Any) -> RunReport:
    """The report of a run that found nothing."""
    return replace(Tally("0123456789ab", "s/g", time.monotonic).report(Outcome.NOTHING_PENDING), **changes)


def observed(**changes: Any) -> ObservedRun:
    """A run that found nothing, as telemetry sees it."""
    return ObservedRun(a_report(**changes), "monitoring_app", Snapshot(0, 0, "closed"))


def without_times(envelope: Envelope) -> Envelope:
    """An envelope in which times and the machine's name are no longer there."""
    data = envelope["data"]["baseData"]
    base = {name: value for name, value in data.items() if name != "duration"}
    tags = {name: value for name, value in envelope["tags"].items() if name != "ai.cloud.roleInstance"}
    rest = {name: value for name, value in envelope.items() if name not in {"time", "data", "tags"}}
    return rest | {"tags": tags, "data": {"baseType": envelope["data"]["baseType"], "baseData": base}}


def of_kind(envelopes: list[Envelope], kind: str) -> list[Envelope]:
    """Those of one kind: Request, RemoteDependency, Metric, Message."""
    return [one for one in envelopes if one["name"] == f"Microsoft.ApplicationInsights.{kind}"]


def values(envelopes: list[Envelope]) -> dict[str, float]:
    """The metrics by name."""
    points = [one["data"]["baseData"]["metrics"][0] for one in of_kind(envelopes, "Metric")]
    return {point["name"]: point["value"] for point in points}
