"""A resource that wants Entra tokens gets one of the app's managed identity, from where Azure gives them out."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from reclaim.observe.export import Exporter, make
from reclaim.settings import Insights, Settings
from tests.integration.observe.collector import KEY, NOBODY, OPERATION, a_collector, observed

BASE = {"REDIS_HOST": "cache.example.net", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}


@contextmanager
def an_identity(asked: list[dict[str, list[str]]]) -> Iterator[str]:
    """The address that gives out tokens in a function app (IDENTITY_ENDPOINT), on loopback."""

    class Request(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name is http.server's
            asked.append(parse_qs(urlsplit(self.path).query))
            token = {"access_token": "a-token", "expires_on": str(int(time.time()) + 86_400), "token_type": "Bearer"}
            content = json.dumps(token | {"resource": "https://monitor.azure.com/"}).encode()
            self.send_response(200 if self.headers["X-IDENTITY-HEADER"] == "secret" else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/token"
        finally:
            server.shutdown()


async def test_the_identitys_token_goes_with_every_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for once, and kept until it expires; the settings name the identity."""
    asked: list[dict[str, list[str]]] = []
    with a_collector() as collector, an_identity(asked) as address:
        monkeypatch.setenv("IDENTITY_ENDPOINT", address)
        monkeypatch.setenv("IDENTITY_HEADER", "secret")
        env = BASE | {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": collector.connection_string,
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "ClientId=an-id;Authorization=AAD",
        }
        settings = Settings.from_env(env)
        assert settings.insights is not None
        exporter = make(settings, settings.insights)
        for _ in range(3):
            await exporter.send([observed()], OPERATION, 20.0)

    assert [headers["Authorization"] for _, headers in collector.posts] == ["Bearer a-token"] * 3
    assert [(one["resource"], one["client_id"]) for one in asked] == [(["https://monitor.azure.com/"], ["an-id"])]
    assert exporter.dropped.count == 0


async def test_without_a_token_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The identity is not there: the export is dropped, within the bound, and the log says why."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{NOBODY}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "secret")
    with a_collector() as collector:
        exporter = Exporter(Insights(KEY, f"http://127.0.0.1:{collector.port}", entra=True), "redis")
        await exporter.send([observed()], OPERATION)
        await exporter.send([observed()], OPERATION, 0.1)

    assert collector.batches == []
    assert exporter.dropped.count >= 7
    assert "telemetry does not arrive" in caplog.text
