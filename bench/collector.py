"""Stands for Application Insights, in a process of its own: takes whatever is posted, and counts.

`python -m bench.collector` prints its port; when its standard input ends, it prints how many posts came.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dev.server import HOST

KEY = "00000000-0000-0000-0000-00000000000a"

posts: list[int] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # the name is http.server's
        length = int(self.headers["Content-Length"])
        self.rfile.read(length)
        posts.append(length)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    with ThreadingHTTPServer((HOST, 0), _Handler) as collector:
        collector.daemon_threads = True
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        print(collector.server_port, flush=True)
        sys.stdin.read()
        print(len(posts), flush=True)
        collector.shutdown()
