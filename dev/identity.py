"""A stand-in for Azure's identity endpoints, on loopback: it gives out short-lived tokens, slowly, or none.

    with IdentityEndpoint(life_sec=2) as endpoint:
        os.environ |= endpoint.environment

It answers as App Service's does (https://learn.microsoft.com/azure/app-service/overview-managed-identity), and as a
virtual machine's, IMDS (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
Its tokens are JWTs in form; nobody has signed them.
"""

import base64
import itertools
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from dev.server import HOST

OID = "0f3c1c1e-0000-4000-8000-00000000beef"
HEADER = "the header's secret"
IMDS_PATH = "/metadata/identity/oauth2/token"


def made_token(number: int, oid: str = OID) -> str:
    """A token with the claim that names the user."""
    claims = base64.urlsafe_b64encode(json.dumps({"oid": oid, "number": number}).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{claims}.signature{number}"


class IdentityEndpoint:
    """The endpoint. Used as a context manager.

    Attributes:
        life_sec: how long a token lives, in whole seconds as the protocol has it.
        latency_sec: how long an answer takes.
        status: what it answers: 200 with a token; else an error.
        retry_after_sec: how long it asks to wait where it answers an error.
        given: told each token and when it expires, before the token is given.
        requests: the query of each request.
    """

    def __init__(self, life_sec: int = 2, given: Callable[[str, float], object] = lambda *_: None) -> None:
        self.life_sec = life_sec
        self.latency_sec = 0.0
        self.status = 200
        self.retry_after_sec = 0
        self.given = given
        self.requests: list[dict[str, str]] = []
        self._numbers = itertools.count(1)
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    @property
    def environment(self) -> dict[str, str]:
        """What App Service sets for its apps."""
        return {"IDENTITY_ENDPOINT": f"http://{HOST}:{self.port}/msi/token", "IDENTITY_HEADER": HEADER}

    @property
    def environment_of_machine(self) -> dict[str, str]:
        """What leads azure-identity here in place of a virtual machine's own endpoint."""
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://{HOST}:{self.port}"}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, query: dict[str, str], *, is_allowed: bool, is_machine: bool) -> tuple[int, dict[str, Any]]:
        self.requests.append(query)
        time.sleep(self.latency_sec)
        status = self.status if is_allowed else 400
        if status != 200:
            why = "no identity for you" if is_allowed else "the header is wrong"
            as_app_service = {"statusCode": status, "message": why}
            return status, {"error": "invalid_request", "error_description": why} if is_machine else as_app_service
        expires_on = int(time.time()) + self.life_sec
        token = made_token(next(self._numbers))
        self.given(token, expires_on)
        found = {"access_token": token, "expires_on": str(expires_on), "resource": query["resource"]}
        found |= {"expires_in": str(self.life_sec)}
        return 200, found | {"token_type": "Bearer", "client_id": query.get("client_id", "")}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                is_machine = url.path == IMDS_PATH
                name, value = ("Metadata", "true") if is_machine else ("X-IDENTITY-HEADER", HEADER)
                status, body = endpoint._answer(query, is_allowed=self.headers[name] == value, is_machine=is_machine)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if status != 200 and endpoint.retry_after_sec:
                    self.send_header("Retry-After", str(endpoint.retry_after_sec))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
