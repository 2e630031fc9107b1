"""Owns the webhook: writes alerts as CloudEvents and POSTs them.

The webhook may be an Event Grid topic with the CloudEvents schema, a Logic App, or anything that takes a POST of JSON
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md, structured mode).
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reclaim.observe.alerts import Alert
from reclaim.retry import Retries
from reclaim.times import Deadline

if TYPE_CHECKING:
    from httpx2 import AsyncClient

ATTEMPT_SEC = 4.0  # what one POST may take
ATTEMPTS, MAX_DELAY_SEC = 4, 2.0

# POSTs an event, in several attempts until the deadline; raises NotTaken where it does not arrive.
Post = Callable[[bytes, Deadline], Awaitable[None]]

_TRY_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class NotTaken(Exception):
    """The webhook did not take an event. The message says why, and holds no secret."""


class _TryAgain(NotTaken, ConnectionError):
    """The webhook may take it the next time: Retries tries again after a ConnectionError."""


def cloud_event(alert: Alert, dashboard_url: str | None) -> bytes:
    """The alert as JSON (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md)."""
    data: dict[str, Any] = {"target": alert.target.name, "why": alert.why, **alert.facts}
    if dashboard_url:
        data["dashboard"] = dashboard_url
    event = {
        "specversion": "1.0",
        "id": alert.id,
        "source": f"/reclaim/{quote(alert.target.name)}",
        "type": alert.kind.value,
        "subject": alert.target.name,
        "time": alert.at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(event).encode()


class Webhook:
    """POSTs events to one address. It follows no redirect and reads no answer's body."""

    def __init__(self, url: str, key: str | None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Make it; nothing is connected yet.

        Args:
            url: where to POST. It may hold a secret, as a Logic App's does.
            key: goes into the header that Event Grid reads.
            sleep: waits between two attempts.
        """
        self._url = url
        self._headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
        if key:
            self._headers["aeg-sas-key"] = key
        self._sleep = sleep

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Post]:
        """A client for some posts."""
        import httpx2  # noqa: PLC0415  # it takes 0.1 s, which only an alert is worth

        logging.getLogger("httpx2").setLevel(logging.WARNING)  # below that it logs addresses, secrets and all
        async with httpx2.AsyncClient(timeout=ATTEMPT_SEC) as client:
            yield partial(self._post, client)

    async def _post(self, client: "AsyncClient", event: bytes, deadline: Deadline) -> None:
        try:
            await Retries(ATTEMPTS, MAX_DELAY_SEC, self._sleep).call(deadline, partial(self._attempt, client, event))
        except NotTaken:
            raise
        except Exception as exc:  # noqa: BLE001  # whatever the client raises, the event has not arrived
            raise NotTaken(type(exc).__name__) from None  # the error's own words may hold the address or the key

    async def _attempt(self, client: "AsyncClient", event: bytes) -> None:
        """One POST. A redirect would take the key to another host, so it counts as a refusal.

        Raises:
            NotTaken: the webhook refuses the event.
            _TryAgain: it may take the event the next time.
        """
        import httpx2  # noqa: PLC0415  # as above

        try:
            async with (
                asyncio.timeout(ATTEMPT_SEC),
                client.stream("POST", self._url, content=event, headers=self._headers) as response,
            ):
                status = response.status_code
        except (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError, TimeoutError) as exc:
            raise _TryAgain(f"{type(exc).__name__} {exc}".strip()) from exc
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN:
            raise _TryAgain(f"the webhook answered {status}")
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise NotTaken(f"the webhook answered {status}")
