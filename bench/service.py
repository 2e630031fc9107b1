"""Stands for a service that entries are POSTed to, in a process of its own: answers each POST after 20 ms, and counts.

`python -m bench.service` prints its port, and ends with its standard input; a GET tells how many posts came since the
last GET, and of how many entries. It speaks only as much HTTP as that takes: what it costs is not the client's.
"""

import asyncio
import sys
from http.client import HTTPConnection

from dev.server import HOST

ANSWER_SEC = 0.02
ID, LENGTH = b"\r\nce-id: ", b"\r\ncontent-length: "
DONE = b"HTTP/1.1 204 No Content\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One connection: one request after another."""

    posts = 0
    ids: set[bytes] = set()  # noqa: RUF012  # all connections count together

    def __init__(self) -> None:
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # TCP's is one
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, rest = self._got.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        length = int(_value(lower, LENGTH) or 0)
        if len(rest) < length:
            return
        self._got = rest[length:]
        if lower.startswith(b"post"):
            _Connection.posts += 1
            _Connection.ids.add(_value(lower, ID))
            asyncio.get_running_loop().call_later(ANSWER_SEC, self._answer, DONE)
        else:
            told = b"%d %d" % (_Connection.posts, len(_Connection.ids))
            self._answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
            _Connection.posts, _Connection.ids = 0, set()

    def _answer(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def _value(head: bytes, name: bytes) -> bytes:
    return head.partition(name)[2].partition(b"\r\n")[0]


def counted(port: int) -> tuple[int, int]:
    """How many posts came since this was asked last, and of how many entries."""
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/")
        posts, ids = connection.getresponse().read().split()
        return int(posts), int(ids)
    finally:
        connection.close()


async def main() -> None:
    """Serve until the standard input ends."""
    server = await asyncio.get_running_loop().create_server(_Connection, HOST, 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
