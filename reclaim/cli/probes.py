"""Owns what `run --watch --port` serves: whether the process lives, whether it can use Redis, and metrics."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import typer
from aiohttp import web

from reclaim.app import App
from reclaim.errors import said
from reclaim.ops.metrics import CONTENT_TYPE, metrics
from reclaim.ops.probe import is_well

logger = logging.getLogger("reclaim")


@asynccontextmanager
async def served(app: App, address: str, port: int) -> AsyncIterator[None]:
    """Serve /live, /health and /metrics in the block."""

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def health(_: web.Request) -> web.Response:
        well = await is_well(app)
        return web.json_response({"status": "ok" if well else "fail"}, status=200 if well else 503)

    async def measured(_: web.Request) -> web.Response:
        text = await metrics(app)
        return web.Response(body=text.encode(), headers={"Content-Type": f"{CONTENT_TYPE}; charset=utf-8"})

    site = web.Application()
    site.add_routes([web.get("/live", live), web.get("/health", health), web.get("/metrics", measured)])
    runner = web.AppRunner(site, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as exc:
            raise typer.BadParameter(
                f"cannot listen on {address}:{port}: {exc.strerror or said(exc)}", param_hint="--port"
            ) from exc
        yield
    finally:
        await runner.cleanup()
