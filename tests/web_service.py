"""Owns the web service that tests post to: it answers as a test says, and keeps what it got."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Any]


class Service:
    """A service on loopback.

    Attributes:
        requests: method, headers and body of each request that came.
        answer: says how a request is answered.
        url: its address, with a key in the query.
        port: where it listens.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Answer = lambda _: web.Response(status=204)
        self.url = ""
        self.port = 0

    @property
    def got(self) -> list[tuple[dict[str, str], bytes]]:
        """Headers and body of each request."""
        return [(headers, body) for _, headers, body in self.requests]

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Keep a request, and answer it."""
        self.requests.append((request.method, dict(request.headers), await request.read()))
        answer = self.answer(request)
        made: web.StreamResponse = await answer if asyncio.iscoroutine(answer) else answer
        return made

    async def never(self, _: web.Request) -> web.StreamResponse:
        """An answer that does not come."""
        await asyncio.Event().wait()
        raise AssertionError


@asynccontextmanager
async def a_service(tls: ssl.SSLContext | None = None) -> AsyncIterator[Service]:
    """A service that listens."""
    service = Service()
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", service.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    service.port = runner.addresses[0][1]
    service.url = f"http{'s' if tls else ''}://127.0.0.1:{service.port}/orders?code=secret"
    try:
        yield service
    finally:
        await runner.cleanup()
