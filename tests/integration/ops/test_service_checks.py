"""The doctor looks at the service of HTTP_URL: it sends OPTIONS and no entry, and says what the answer means."""

import pytest
from aiohttp import web

from dev.identity import IdentityEndpoint
from reclaim.ops.doctor import doctor
from tests.support import Client, Endpoint, a_target, env_for, given, held, state
from tests.web_service import Service, a_service

pytestmark = pytest.mark.G9


async def found(place: Endpoint, url: str, **settings: str) -> list[tuple[str, str, str]]:
    """What is said of the service."""
    checks = await doctor(env_for(place, HANDLER="http", HTTP_URL=url, **settings))
    return [(one.health.value, one.what, one.todo) for one in checks if "OPTIONS" in one.what or "HTTP_" in one.todo]


@pytest.mark.parametrize(
    ("status", "headers", "health", "what", "todo"),
    [
        (204, {}, "ok", "", ""),
        (405, {"Allow": "POST"}, "ok", "", ""),
        (501, {}, "ok", "", ""),
        (401, {}, "warn", "", "check HTTP_HEADERS: if a POST is answered so too, runs fail"),
        (403, {}, "warn", "", "check HTTP_HEADERS: if a POST is answered so too, runs fail"),
        (404, {}, "warn", "", "check the path of HTTP_URL: if a POST is answered so too, entries fail"),
        (503, {}, "warn", "", "see whether the service is well"),
        (302, {}, "fail", "", "let HTTP_URL be the address itself: no redirect is followed"),
        (
            *(308, {"Location": "https://u:s3cret@other.example/x?code=s3cret"}, "fail"),
            *(", and leads to other.example", "let HTTP_URL be the address itself: no redirect is followed"),
        ),
    ],
)
async def test_what_the_service_answers(
    embedded: Endpoint, client: Client, status: int, headers: dict[str, str], health: str, what: str, todo: str
) -> None:
    given(client, a_target(), *held(range(1, 3)))
    before = state(client, a_target())
    async with a_service() as service:
        service.answer = lambda _: web.Response(status=status, headers=headers)
        said = await found(embedded, service.url, HTTP_HEADERS='{"X-Key": "k3yk3y"}')
        shown = service.url.partition("?")[0]

    assert said == [(health, f"{shown} answers {status} to OPTIONS{what}", todo)]
    assert [(method, sent["X-Key"], body) for method, sent, body in service.requests] == [("OPTIONS", "k3yk3y", b"")]
    assert state(client, a_target()) == before


async def test_a_service_that_is_away_or_silent(embedded: Endpoint, client: Client) -> None:
    given(client, a_target())
    async with a_service() as service:
        service.answer = service.never
        silent = await found(embedded, service.url, HTTP_TIMEOUT_SEC="0.2")
        port = service.port
    away = await found(embedded, f"http://127.0.0.1:{port}/orders?code=s3cret")

    assert [one[0] for one in silent + away] == ["fail", "fail"]
    assert "had not answered within 0.2 s" in silent[0][1]
    assert away[0][1].startswith("the service of HTTP_URL cannot be reached: ClientConnectorError: Cannot connect")
    assert "s3cret" not in str(silent + away)


async def test_the_token_goes_along_and_its_absence_is_said(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(client, a_target())
    async with a_service() as service:
        with IdentityEndpoint(life_sec=60) as identity:
            for name, value in identity.environment.items():
                monkeypatch.setenv(name, value)
            good = await found(embedded, service.url, HTTP_AUDIENCE="api://orders")
            identity.status = 400
            bad = await found(embedded, service.url, HTTP_AUDIENCE="api://orders")

    assert [one[0] for one in good + bad] == ["ok", "fail"]
    assert [sent["Authorization"][:13] for _, sent, _ in service.requests] == ["Bearer eyJhbG"]
    assert [query["resource"] for query in identity.requests] == ["api://orders"] * len(identity.requests)
    assert bad[0][1].startswith("no Entra token could be had (the system-assigned identity, api://orders/.default")


async def test_a_target_that_posts_nothing_has_no_service(embedded: Endpoint, client: Client) -> None:
    given(client, a_target())
    service = Service()
    checks = await doctor(env_for(embedded, HTTP_URL="http://127.0.0.1:1/"))
    assert [one for one in checks if "OPTIONS" in one.what] == []
    assert service.requests == []
