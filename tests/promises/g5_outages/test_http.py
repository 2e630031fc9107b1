"""HANDLER=http: what becomes of an entry by the answer of a real service, which may also answer late, half, or not."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from reclaim.app import App
from reclaim.run.report import RunReport
from tests.support import Client, Endpoint, Held, a_target, given, held, pending_rows, settings_for, state, tweet

pytestmark = pytest.mark.G5

Answer = Callable[[web.Request], Any]


class Service:
    """A service on loopback; `answer` says how it answers."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answer: Answer = lambda _: web.Response(status=204)
        self.url = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.got.append((dict(request.headers), await request.read()))
        answer = self.answer(request)
        made: web.StreamResponse = await answer if asyncio.iscoroutine(answer) else answer
        return made


@asynccontextmanager
async def a_service() -> AsyncIterator[Service]:
    service = Service()
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", service.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/orders?code=secret"
    try:
        yield service
    finally:
        await runner.cleanup()


async def runs(place: Endpoint, service: Service, times: int = 1, **changes: Any) -> list[RunReport]:
    """So many runs of one app."""
    target = a_target(handler="http", http_url=service.url, retry_attempts=1, delivery_backoff_sec=0, **changes)
    app = App(settings_for(place, target))
    try:
        return [(await app.reports())[0] for _ in range(times)]
    finally:
        await app.aclose()


async def test_an_entry_is_posted_as_a_cloud_event_and_then_acknowledged(server: Endpoint, client: Client) -> None:
    """Another program reads it."""
    given(client, a_target(), Held([b"id", b"7", b"text", "ü".encode(), b"tag", b"a", b"tag", b"b", b"raw", b"\xff"]))
    async with a_service() as service:
        (report,) = await runs(server, service, http_headers=(("X-Key", "k"),))

    ((headers, body),) = service.got
    event = from_binary(HTTPMessage(headers, body), JSONFormat(), CloudEvent)
    assert (event.get_id(), event.get_type(), event.get_source()) == ("1-0", "reclaim.entry", "/reclaim/s/g")
    assert json.loads(body) == {"id": "7", "text": "ü", "tag": ["a", "b"], "raw_base64": "/w=="}
    assert (headers["Idempotency-Key"], headers["X-Key"], headers["Content-Type"]) == ("1-0", "k", "application/json")
    assert (report.outcome.value, report.acknowledged, state(client, a_target()).pending) == ("completed", 1, {})


async def test_a_field_may_be_the_body(embedded: Endpoint, client: Client) -> None:
    """Its bytes; an entry without it is a bad one."""
    given(client, a_target(), Held([b"id", b"1", b"data", b"\x00\xff"]), Held([b"id", b"2"]))
    async with a_service() as service:
        (report,) = await runs(embedded, service, http_body="data")

    assert [(headers["Content-Type"], body) for headers, body in service.got] == [
        ("application/octet-stream", b"\x00\xff")
    ]
    assert (report.acknowledged, report.parked) == (1, 1)


@pytest.mark.parametrize(
    ("status", "became"),
    [
        *((status, "acknowledged") for status in (200, 202, 204)),
        *((status, "retried") for status in (408, 425, 429, 502, 503, 504)),
        *((status, "failed") for status in (500, 501, 507)),
        *((status, "parked") for status in (400, 404, 410, 422)),
        *((status, "stopped") for status in (301, 307, 401, 403, 405)),
    ],
)
async def test_the_status_decides(embedded: Endpoint, client: Client, status: int, became: str) -> None:
    """Of a service that has taken an entry before."""
    given(client, a_target(), *held(range(1, 3)))
    async with a_service() as service:
        service.answer = lambda request: web.Response(
            status=status if request.headers["ce-id"] == "2-0" else 200, text="because", headers={"Location": "/x"}
        )
        (report,) = await runs(embedded, service, lanes=1)

    counts = {name: getattr(report, name) for name in ("acknowledged", "retried", "failed", "parked")}
    wanted = {"acknowledged": 1, "retried": 0, "failed": 0, "parked": 0}
    if became == "stopped":
        assert report.outcome.value == "failed"
        assert "/orders answered" in report.reason
        assert "secret" not in report.reason
        assert pending_rows(client, a_target())[0][3] == 1  # not charged
        return
    wanted[became] += 1
    assert counts == wanted
    if became == "parked":
        assert f"answered {status}: because" in state(client, a_target()).dead[0][b"error"].decode()


@pytest.mark.G9
async def test_a_wrong_address_makes_no_dead_letters(embedded: Endpoint, client: Client) -> None:
    """Nothing was ever taken there: the second run opens the circuit, and the charges are refunded."""
    given(client, a_target(), *held(range(1, 9)))
    async with a_service() as service:
        service.answer = lambda _: web.Response(status=404)
        first, second, third = await runs(embedded, service, times=3, min_idle_ms=1, max_deliveries=9)

    assert (first.failed, second.retried, third.outcome.value) == (8, 8, "circuit_open")
    after = state(client, a_target())
    assert (len(after.pending), after.dead) == (8, [])


@pytest.mark.parametrize("how", ["late", "half", "closed"])
async def test_a_service_that_does_not_answer_is_an_outage(embedded: Endpoint, client: Client, how: str) -> None:
    """The delivery does not count."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if how == "late":
            await asyncio.Event().wait()
        response = web.StreamResponse(headers={"Content-Length": "10"})
        if how == "half":
            await response.prepare(request)
            await response.write(b"12345")
        assert request.transport is not None
        request.transport.close()
        return response

    given(client, a_target(), *held(range(1, 3)))
    async with a_service() as service:
        service.answer = answer
        (report,) = await runs(embedded, service, http_timeout_sec=0.2)

    assert (report.retried, report.failed, report.parked, report.acknowledged) == (2, 0, 0, 0)
    assert [row[3] for row in pending_rows(client, a_target())] == [1, 1]


async def test_what_the_service_asks_for_is_heeded(embedded: Endpoint, client: Client) -> None:
    """No run tries before."""
    given(client, a_target(), *held(range(1, 2)))
    async with a_service() as service:
        service.answer = lambda _: web.Response(status=429, headers={"Retry-After": "600"})
        _, second = await runs(embedded, service, times=2)

    assert (second.outcome.value, len(service.got)) == ("circuit_open", 1)


@pytest.mark.G3
async def test_entries_of_one_order_key_are_sent_one_after_another(embedded: Endpoint, client: Client) -> None:
    """In ID order, while others are on their way; after one that failed none of its key."""
    given(client, a_target(), *(Held(tweet(number, user=b"ab"[number % 2 :][:1])) for number in range(1, 7)))
    at_once: list[int] = []
    under_way: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        user = json.loads(service.got[-1][1])["user"]
        under_way.append(user)
        at_once.append(under_way.count(user))
        await asyncio.sleep(0.01)
        under_way.remove(user)
        return web.Response(status=500 if request.headers["ce-id"] == "3-0" else 200)

    async with a_service() as service:
        service.answer = answer
        (report,) = await runs(embedded, service, order_key="{user}")

    sent = [headers["ce-id"] for headers, _ in service.got]
    assert set(at_once) == {1}
    assert [one for one in sent if one in {"1-0", "3-0", "5-0"}] == ["1-0", "3-0"]
    assert [one for one in sent if one in {"2-0", "4-0", "6-0"}] == ["2-0", "4-0", "6-0"]
    assert (report.acknowledged, report.failed, report.held) == (4, 1, 1)
