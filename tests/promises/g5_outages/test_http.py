"""HANDLER=http: what becomes of an entry by the answer of a real service, which may also answer late, half, or not."""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from dev.identity import IdentityEndpoint, made_token
from reclaim.app import App
from reclaim.errors import SettingsError
from reclaim.ops import letter_acts
from reclaim.run.report import RunReport
from reclaim.settings import Settings, Target
from tests.integration.cli.program import env_of, in_process
from tests.support import (
    Client,
    Endpoint,
    Held,
    a_target,
    env_for,
    given,
    held,
    pending_rows,
    settings_for,
    state,
    tweet,
)
from tests.web_service import Service, a_service

pytestmark = pytest.mark.G5


@asynccontextmanager
async def an_app(place: Endpoint, *targets: Target, **changes: Any) -> AsyncIterator[App]:
    app = App(settings_for(place, *targets, **changes))
    try:
        yield app
    finally:
        await app.aclose()


async def runs(
    place: Endpoint, service: Service, times: int = 1, budget_sec: float = 60.0, **changes: Any
) -> list[RunReport]:
    """So many runs of one app."""
    wanted = {"retry_attempts": 1, "delivery_backoff_sec": 0, **changes}
    target = a_target(handler="http", http_url=service.url, **wanted)
    async with an_app(place, target, run_budget_sec=budget_sec) as app:
        return [(await app.reports())[0] for _ in range(times)]


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
        *((status, "retried") for status in (301, 307, 401, 403, 405)),
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
    wanted[became] += 1
    assert counts == wanted
    assert "secret" not in str(report.reasons)
    if became == "retried":
        assert pending_rows(client, a_target())[0][3] == 1  # not charged
    if became == "parked":
        assert f"answered {status}: because" in state(client, a_target()).dead[0][b"error"].decode()


@pytest.mark.parametrize("status", [301, 401, 403, 405])
@pytest.mark.G9
async def test_a_service_that_takes_nothing_from_us_fails_the_run(
    embedded: Endpoint, client: Client, status: int
) -> None:
    """However few entries there are: the run says where to look, and none is charged."""
    given(client, a_target(), *held(range(1, 3)))
    async with a_service() as service:
        service.answer = lambda _: web.Response(status=status, text="because", headers={"Location": "/x"})
        reports = await runs(embedded, service, times=3, min_idle_ms=1, max_deliveries=2)

    assert {report.outcome.value for report in reports} == {"failed"}
    assert f"/orders answered {status}: because; see HTTP_URL and HTTP_HEADERS" in reports[-1].reason
    assert "secret" not in str([(report.reason, report.reasons) for report in reports])
    assert [row[3] for row in pending_rows(client, a_target())] == [1, 1]
    assert state(client, a_target()).dead == []


@pytest.mark.G9
async def test_an_address_that_the_client_refuses_fails_the_run(embedded: Endpoint, client: Client) -> None:
    """Nothing can be sent at all: no entry is charged, and the error shows no secret."""
    given(client, a_target(), *held(range(1, 3)))
    service = Service()
    service.url = "http://1.2.3/orders?code=secret"
    reports = await runs(embedded, service, times=3, min_idle_ms=1, max_deliveries=2)

    assert {report.outcome.value for report in reports} == {"failed"}
    assert "no request to http://1.2.3/orders can be made" in reports[-1].reason
    assert "secret" not in str([(report.reason, report.reasons) for report in reports])
    assert [row[3] for row in pending_rows(client, a_target())] == [1, 1]


@pytest.mark.parametrize("status", [403, 405, 302])
@pytest.mark.G4
async def test_what_a_service_does_not_take_from_us_stops_no_other_entry(
    embedded: Endpoint, client: Client, status: int
) -> None:
    """A firewall before it answers so to what looks like an attack: many entries, before all healthy ones."""
    evil, good = range(1, 201), range(201, 231)
    given(client, a_target(), *held(evil), *held(good))
    async with a_service() as service:
        service.answer = lambda request: web.Response(
            status=status if int(request.headers["ce-id"].split("-")[0]) in evil else 200, headers={"Location": "/x"}
        )
        wanted = {"min_idle_ms": 1, "circuit_cooldown_sec": 0.001, "lanes": 8}
        reports = await runs(embedded, service, times=8, **wanted)

    assert sum(report.acknowledged for report in reports) == len(good)
    assert sum(report.failed + report.parked for report in reports) == 0
    left = pending_rows(client, a_target())
    assert [(row[0], row[3]) for row in left] == [(b"%d-0" % number, 1) for number in evil]


@pytest.mark.G2
async def test_what_a_service_does_not_take_from_us_becomes_a_dead_letter_in_the_end(
    embedded: Endpoint, client: Client
) -> None:
    """While others are taken, it is tried for RETRY_FOR_SEC."""
    given(client, a_target(), *held(range(1, 4)))
    async with a_service() as service:
        service.answer = lambda request: web.Response(status=403 if request.headers["ce-id"] != "3-0" else 200)
        wanted = {"min_idle_ms": 1, "retry_for_sec": 0.001}
        await runs(embedded, service, **wanted)
        given(client, a_target(), *held(range(4, 5)))
        service.answer = lambda request: web.Response(status=403 if request.headers["ce-id"] != "4-0" else 200)
        (report,) = await runs(embedded, service, **wanted)

    after = state(client, a_target())
    assert (report.acknowledged, report.parked, after.pending) == (1, 2, {})
    assert {(letter[b"id"], letter[b"reason"]) for letter in after.dead} == {
        (b"1-0", b"retried_too_long"),
        (b"2-0", b"retried_too_long"),
    }


@pytest.mark.G4
async def test_a_dead_letter_that_a_service_does_not_take_from_us_stops_no_replay(
    embedded: Endpoint, client: Client
) -> None:
    """It is kept as it is, and those behind it are replayed."""
    given(client, a_target(), *held(range(1, 5)))
    async with a_service() as service:
        service.answer = lambda _: web.Response(status=400)
        target = a_target(handler="http", http_url=service.url, retry_attempts=1, max_deliveries=2, page_size=1)
        async with an_app(embedded, target) as app:
            await app.run()
            service.answer = lambda request: web.Response(status=403 if request.headers["ce-id"] == "2-0" else 200)
            replayed = await letter_acts.replay_dead_letters(app, None)

    assert (replayed.report.replayed, replayed.report.retried, replayed.report.failed) == (3, 1, 0)
    assert [letter[b"id"] for letter in state(client, target).dead] == [b"2-0"]


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


@pytest.mark.parametrize(("count", "max_deliveries", "ended"), [(4, 4, "dead"), (5, 4, "pending"), (8, 3, "dead")])
async def test_how_many_entries_and_tries_it_takes_to_see_a_wrong_address(
    embedded: Endpoint, client: Client, count: int, max_deliveries: int, ended: str
) -> None:
    """The limits that docs/promises.md and docs/handlers.md name: the circuit opens, or there are dead letters."""
    given(client, a_target(), *held(range(1, count + 1)))
    async with a_service() as service:
        service.answer = lambda _: web.Response(status=404)
        await runs(embedded, service, times=3, min_idle_ms=1, max_deliveries=max_deliveries)

    after = state(client, a_target())
    assert {"pending": len(after.pending), "dead": len(after.dead)} == {"pending": 0, "dead": 0, ended: count}


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("late", "had not answered within 0.2 s"),
        ("half", "gave no whole answer: ClientPayloadError: "),
        ("closed", "gave no whole answer: ServerDisconnectedError: "),
    ],
)
async def test_a_service_that_does_not_answer_is_an_outage(
    embedded: Endpoint, client: Client, how: str, told: str
) -> None:
    """The delivery does not count, and the reason names the service."""

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

    (reason,) = report.reasons
    assert f"{service.url.partition('?')[0]} {told}" in reason
    assert (report.retried, report.failed, report.parked, report.acknowledged) == (2, 0, 0, 0)
    assert [row[3] for row in pending_rows(client, a_target())] == [1, 1]


async def test_a_request_that_may_take_longer_than_an_entry_is_an_outage_too(
    embedded: Endpoint, client: Client
) -> None:
    """The time of an entry, half of RUN_BUDGET_SEC, ends before HTTP_TIMEOUT_SEC: the entry is not to blame."""

    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    given(client, a_target(), *held(range(1, 3)))
    async with a_service() as service:
        service.answer = never
        (report,) = await runs(embedded, service, budget_sec=1.0, http_timeout_sec=30.0)

    assert (report.outcome.value, report.retried, report.failed) == ("completed", 2, 0)
    assert "had not answered after 0.5 s, half of RUN_BUDGET_SEC" in str(report.reasons)
    assert [row[3] for row in pending_rows(client, a_target())] == [1, 1]


async def test_a_connection_that_the_service_closes_between_two_requests_costs_nothing(
    embedded: Endpoint, client: Client
) -> None:
    """It closes what was kept just when the next entry comes: that entry is sent again, and nothing is charged."""
    given(client, a_target(), *held(range(1, 7)))
    sent: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))
        sent.append(head.lower().partition(b"ce-id: ")[2].split(b"\r")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n")
        await reader.read(1)  # the next request has begun
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        service = Service()
        service.url = f"http://127.0.0.1:{port}/"
        (report,) = await runs(embedded, service, lanes=1, retry_attempts=3)

    assert sent == [b"%d-0" % number for number in range(1, 7)]
    assert (report.acknowledged, report.failed, report.retried, report.parked) == (6, 0, 0, 0)
    assert state(client, a_target()).pending == {}


async def test_a_large_entry_is_sent_whole(embedded: Endpoint, client: Client) -> None:
    """In parts, so that nothing else waits for it; the client would warn otherwise."""
    given(client, a_target(), Held([b"data", b"a" * 2_000_001]))
    async with a_service() as service:
        (report,) = await runs(embedded, service, http_body="data")

    ((headers, body),) = service.got
    assert (headers["Content-Length"], body == b"a" * 2_000_001, report.acknowledged) == ("2000001", True, 1)


@pytest.mark.G9
async def test_a_certificate_that_is_not_trusted_fails_the_run(
    embedded: Endpoint, client: Client, tmp_path: Path
) -> None:
    """It says so, and charges no entry. With SSL_CERT_FILE the authority is known."""
    given(client, a_target(), *held(range(1, 3)))
    authority, tls = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with a_service(tls) as service:
        (report,) = await runs(embedded, service)
        charged = [row[3] for row in pending_rows(client, a_target())]
        env = env_of(embedded, a_target(), HANDLER="http", HTTP_URL=service.url, MIN_IDLE_TIME_SEC="0.001")
        ended = await asyncio.to_thread(in_process, env | {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}, "run")

    assert (report.outcome.value, charged) == ("failed", [1, 1])
    assert "/orders has a TLS certificate that is not accepted" in report.reason
    assert "secret" not in report.reason
    assert ended.out.startswith("s/g: completed, 2 claimed")
    assert state(client, a_target()).pending == {}


@pytest.mark.G2
async def test_a_dead_letter_is_replayed_with_its_entrys_id(embedded: Endpoint, client: Client) -> None:
    """So that a service that has seen the entry before recognises it. If it is not taken, it is kept."""
    target = a_target(handler="http", http_url="")
    given(client, target, *held(range(1, 4)))
    async with a_service() as service:
        service.answer = lambda request: web.Response(status=400 if request.headers["ce-id"] != "1-0" else 200)
        await runs(embedded, service, lanes=1)
        service.requests.clear()
        service.answer = lambda request: web.Response(status=503 if request.headers["ce-id"] == "3-0" else 200)
        async with an_app(embedded, a_target(handler="http", http_url=service.url, retry_attempts=1)) as app:
            replayed = await letter_acts.replay_dead_letters(app, None)

    assert [(headers["ce-id"], headers["Idempotency-Key"]) for headers, _ in service.got] == [
        ("2-0",) * 2,
        ("3-0",) * 2,
    ]
    assert (replayed.report.replayed, replayed.report.retried) == (1, 1)
    assert [letter[b"id"] for letter in state(client, target).dead] == [b"3-0"]


async def test_each_target_has_its_own_service(embedded: Endpoint, client: Client) -> None:
    """One that is away delays no other target."""
    one, two = a_target(stream="s1"), a_target(stream="s2")
    given(client, one, *held(range(1, 3)))
    given(client, two, *held(range(3, 5)))
    async with a_service() as first, a_service() as second:
        first.answer = lambda _: web.Response(status=503)
        targets = [
            a_target(stream=stream, handler="http", http_url=url, retry_attempts=1)
            for stream, url in (("s1", first.url), ("s2", second.url))
        ]
        async with an_app(embedded, *targets) as app:
            reports = await app.reports()

    assert [(report.acknowledged, report.retried) for report in reports] == [(0, 2), (2, 0)]
    assert [{headers["ce-source"] for headers, _ in one.got} for one in (first, second)] == [
        {"/reclaim/s1/g"},
        {"/reclaim/s2/g"},
    ]


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


@asynccontextmanager
async def an_identity(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[IdentityEndpoint]:
    """The platform's identity endpoint."""
    with IdentityEndpoint(60) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        yield endpoint


async def test_with_an_audience_each_request_has_a_token_for_it(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One token for all of them, of the identity that is named."""
    given(client, a_target(), *held(range(3)))
    async with a_service() as service, an_identity(monkeypatch) as endpoint:
        target = a_target(handler="http", http_url=service.url, http_audience="api://orders")
        async with an_app(embedded, target, entra_client_id="client-7") as app:
            (report,) = await app.reports()

    assert report.acknowledged == 3
    assert {headers["Authorization"] for headers, _ in service.got} == {f"Bearer {made_token(1)}"}
    assert [(one["resource"], one["client_id"]) for one in endpoint.requests] == [("api://orders", "client-7")]


async def test_a_token_that_the_service_does_not_take_is_asked_for_anew_once(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the run fails, and says who we are; nothing is charged."""
    given(client, a_target(), *held(range(1)))
    async with a_service() as service, an_identity(monkeypatch) as endpoint:
        wanted = f"Bearer {made_token(2)}"
        service.answer = lambda request: web.Response(status=204 if request.headers["Authorization"] == wanted else 401)
        (taken,) = await runs(embedded, service, http_audience="api://orders")
        given(client, a_target(), *held(range(1)))
        (refused,) = await runs(embedded, service, http_audience="api://orders")

    assert (taken.acknowledged, refused.outcome.value) == (1, "failed")
    assert "see HTTP_URL and HTTP_AUDIENCE (the system-assigned identity, api://orders/.default" in refused.reason
    assert "eyJ" not in refused.reason
    assert len(endpoint.requests) == 4
    ((_, deliveries),) = [(row[1], row[3]) for row in pending_rows(client, a_target())]
    assert deliveries == 1


async def test_without_a_token_nothing_is_sent_and_nothing_charged(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity endpoint is down: that is an outage."""
    given(client, a_target(), *held(range(2)))
    async with a_service() as service, an_identity(monkeypatch) as endpoint:
        endpoint.status = 500
        (report,) = await runs(embedded, service, http_audience="api://orders")

    assert (service.got, report.retried, report.failed) == ([], 2, 0)
    assert {row[3] for row in pending_rows(client, a_target())} == {1}


def test_an_audience_beside_an_authorization_header_is_refused(embedded: Endpoint) -> None:
    """Both say who is calling."""
    env = env_for(embedded, HANDLER="http", HTTP_URL="http://127.0.0.1/", HTTP_AUDIENCE="api://orders")
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(env | {"HTTP_HEADERS": '{"authorization": "Basic c2VjcmV0"}'})

    (problem,) = caught.value.problems
    assert problem.startswith("HTTP_HEADERS is with Authorization, and HTTP_AUDIENCE is set")
    assert "c2VjcmV0" not in problem


async def test_what_is_logged_while_an_entry_is_sent_names_the_entry(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(client, a_target(), *held(range(1, 3)))
    post = aiohttp.ClientSession.post

    def logged(session: aiohttp.ClientSession, *args: Any, **kwargs: Any) -> Any:
        logging.getLogger("client").warning("sent")
        return post(session, *args, **kwargs)

    monkeypatch.setattr(aiohttp.ClientSession, "post", logged)
    async with a_service() as service:
        await runs(embedded, service)

    names = [record.__dict__["reclaim_entry"] for record in caplog.records if record.getMessage() == "sent"]
    assert sorted(names) == ["1-0", "2-0"]


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nX" + b"y" * 20_000 + b": 1\r\n\r\n"],
    ids=["ssh", "garbage", "long"],
)
async def test_what_is_no_http_is_an_outage_and_shows_no_key(embedded: Endpoint, client: Client, answer: bytes) -> None:
    """Something else listens at the address, or a proxy breaks the answer: no entry is to blame."""
    given(client, a_target(), *held(range(1, 3)))

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as listening:
        service = Service()
        service.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/orders?code=s3cret"
        (report,) = await runs(embedded, service)

    (reason,) = report.reasons
    assert (report.retried, report.failed, report.acknowledged) == (2, 0, 0)
    assert "answered with what is no HTTP" in reason
    assert "s3cret" not in reason
    assert [row[3] for row in pending_rows(client, a_target())] == [1, 1]


async def test_what_the_service_repeats_of_our_keys_is_shown_nowhere(embedded: Endpoint, client: Client) -> None:
    given(client, a_target(), *held(range(1, 2)))
    async with a_service() as service:
        service.answer = lambda request: web.Response(status=401, text=f"bad {request.url}, {request.headers['X-Key']}")
        (report,) = await runs(embedded, service, http_headers=(("X-Key", "k3yk3y"),))

    assert "answered 401: bad " in report.reason
    assert [word in report.reason for word in ("secret", "k3yk3y")] == [False, False]
