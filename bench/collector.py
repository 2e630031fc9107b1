"""Stands for Application Insights, in a process of its own: takes whatever is posted, and counts.

`python -m bench.collector` prints its port, and ends with its standard input; a GET tells how many posts came,
and how many bytes.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench.bed import CheckFailed
from bench.measuring import helping
from dev.server import HOST

KEY = "00000000-0000-0000-0000-00000000000a"
WAIT_SEC = 5.0


class Collector:
    """The collector as seen by who has it collect.

    Attributes:
        connection_string: what makes an app post to it.
    """

    def __init__(self, port: int) -> None:
        self.connection_string = f"InstrumentationKey={KEY};IngestionEndpoint=http://{HOST}:{port}"
        self._port = port
        self._seen = 0

    def check(self) -> None:
        """See that something was posted since this was asked last.

        Raises:
            CheckFailed: nothing was, or the collector is no longer there.
        """
        try:
            posts, _ = self._counted()
        except (OSError, HTTPException) as exc:
            raise CheckFailed(f"the collector of telemetry does not answer: {exc}") from exc
        if posts == self._seen:
            raise CheckFailed("the app sent no telemetry though it was asked to")
        self._seen = posts

    def bytes_taken(self) -> int:
        """How many bytes were posted in all, headers apart."""
        return self._counted()[1]

    def _counted(self) -> tuple[int, int]:
        """Posts, and their bytes."""
        connection = HTTPConnection(HOST, self._port, timeout=WAIT_SEC)
        try:
            connection.request("GET", "/")
            posts, size = connection.getresponse().read().split()
            return int(posts), int(size)
        finally:
            connection.close()


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector in a process of its own."""
    with helping("bench.collector") as port:
        yield Collector(port)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    posts = 0
    bytes_taken = 0

    def do_POST(self) -> None:  # the name is http.server's
        _Handler.bytes_taken += len(self.rfile.read(int(self.headers["Content-Length"])))
        _Handler.posts += 1
        self._answer(b"{}")

    def do_GET(self) -> None:  # the name is http.server's
        self._answer(b"%d %d" % (_Handler.posts, _Handler.bytes_taken))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    with ThreadingHTTPServer((HOST, 0), _Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
        server.shutdown()
