"""Owns what experiments share: a client, the app in processes and how to ask it, who gets its alerts, waiting."""

import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

from redis import Redis

from dev.server import HOST, Server
from experiments.hosted import Hosted, bare_env

FUNCTION_KEY = "key-of-the-experiments"
POLL_SEC = 0.1


def client_of(server: Server) -> Any:
    """A client of redis-py's; it decodes nothing."""
    return Redis(host=HOST, port=server.port, protocol=2, socket_timeout=120)


def environment(server: Server, stream: str, group: str, **settings: str) -> dict[str, str]:
    """The app's environment: what is not given has its default, whatever our own environment says."""
    keys = {"DEV_FUNCTION_KEY": FUNCTION_KEY}
    place = {"REDIS_HOST": server.address, "REDIS_TLS": "false"}
    return bare_env() | place | {"STREAM_NAME": stream, "STREAM_CONSUMER_GROUP_NAME": group} | keys | settings


@contextmanager
def hosted(env: Mapping[str, str], count: int = 1) -> Iterator[list[Hosted]]:
    """The app in so many stand-in hosts, each a process with its own timer; they are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="experiment-") as directory:
        apps = [Hosted(env, Path(directory) / f"host-{at}.log") for at in range(count)]
        try:
            for one in apps:
                one.start()
            yield apps
        finally:
            for one in apps:
                one.stop()


def ask(app: Hosted, method: str, path: str, body: object = None) -> Any:
    """What a route of the app answers; `path` is below ``/api/``."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"x-functions-key": FUNCTION_KEY, "Content-Type": "application/json"}
    request = Request(f"{app.base}/api/{path}", data, headers, method=method)  # noqa: S310  # http, on loopback
    with urlopen(request, timeout=60) as answer:  # noqa: S310  # as above
        return json.load(answer)


def wait(until: Callable[[], bool], within_sec: float, each: Callable[[], object] = lambda: None) -> bool:
    """Whether it came true in time; `each` is called at each look."""
    deadline = time.monotonic() + within_sec
    while time.monotonic() < deadline:
        each()
        if until():
            return True
        time.sleep(POLL_SEC)
    return until()


class Webhook:
    """Gets the app's alerts, on loopback. Used as a context manager.

    Attributes:
        events: each alert that came, as its JSON.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it gets them."""
        return f"http://{HOST}:{self._server.server_port}/alerts"

    def counts(self) -> Counter[str]:
        """How many came of each type."""
        return Counter(str(one["type"]) for one in self.events)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        events = self.events

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        return Handler
