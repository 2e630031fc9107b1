"""A slower network: a proxy, in a process of its own, that passes bytes on some time after they came.

`python -m bench.delay PORT MS` prints the port it listens on, and ends when its standard input does. Half of the delay
is added on the way there and half on the way back; it limits no bandwidth and looks into nothing, so TLS passes too.
"""

import asyncio
import selectors
import socket
import sys
from collections import deque
from contextlib import suppress

from dev.server import HOST


class _Side(asyncio.Protocol):
    """One end of a connection: what comes in there goes out at the other end when its delay is over."""

    def __init__(self, delay_sec: float) -> None:
        self.other: _Side = self
        self.transport: asyncio.Transport | None = None
        self._delay_sec = delay_sec
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._delay_sec:
            self.other.send(data)
            return
        self._waiting.append((self._loop.time() + self._delay_sec, data))
        if len(self._waiting) == 1:
            self._loop.call_later(self._delay_sec, self._pass_on)

    def send(self, data: bytes) -> None:
        """Send this to whoever is connected here."""
        if self.transport is not None:
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        if self.other.transport is not None:
            self.other.transport.close()

    def _pass_on(self) -> None:
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            self.other.send(self._waiting.popleft()[1])
        if self._waiting:
            self._loop.call_at(self._waiting[0][0], self._pass_on)


class _Front(_Side):
    """The end that the client has; it opens the other one."""

    def __init__(self, port: int, delay_sec: float) -> None:
        super().__init__(delay_sec)
        self._port = port
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.transport is not None:
            self.transport.pause_reading()
        self._task = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        back = _Side(self._delay_sec)
        back.other, self.other = self, back
        try:
            await self._loop.create_connection(lambda: back, HOST, self._port)
        except OSError:
            if self.transport is not None:
                self.transport.abort()
            return
        if self.transport is not None:
            with suppress(RuntimeError):  # the client has gone already
                self.transport.resume_reading()


async def _serve(port: int, delay_sec: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Front(port, delay_sec / 2), HOST, 0, family=socket.AF_INET)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def _loop() -> asyncio.AbstractEventLoop:
    """A loop that waits by select(): asyncio rounds what it waits by epoll() up to whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
