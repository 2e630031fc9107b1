"""Owns the webhook: writes alerts as CloudEvents and POSTs them.

The webhook may be an Event Grid topic with the CloudEvents schema, a Logic App, or anything that takes a POST of JSON
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md, structured mode).
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reclaim.bounded import NAME_CHARS, Most, fitting, shortened, tightened
from reclaim.entry import readable
from reclaim.errors import describe
from reclaim.hidden import Secrets
from reclaim.observe.alerts import Alert
from reclaim.retry import Retries
from reclaim.times import Deadline
from reclaim.visible import for_a_terminal

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

ATTEMPT_SEC = 4.0  # what one POST may take
ATTEMPTS, MAX_DELAY_SEC = 4, 2.0
ANSWER_CHARS, ANSWER_BYTES = 200, 1_000  # of an answer's body: so much is shown, so much is read
ANSWER_SEC = 1.0  # how long to wait for them
EVENT_BYTES = 6_500  # an event that is not taken is in a line of the log, whole

CLOUD_EVENT = "application/cloudevents+json; charset=utf-8"
PLAIN_JSON = "application/json"

# POSTs an event, in several attempts until the deadline; raises NotTaken where it does not arrive.
Post = Callable[[bytes, Deadline], Awaitable[None]]

_NOT_UNDERSTOOD = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
_TRY_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class NotTaken(Exception):
    """The webhook did not take an event. The message says why, and holds no secret."""


class _TryAgain(NotTaken, ConnectionError):
    """The webhook may take it the next time: Retries tries again after a ConnectionError."""


def cloud_event(alert: Alert, dashboard_url: str | None) -> bytes:
    """The alert as JSON (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).

    The extension attribute ``text`` says it in a sentence: it is all that chats (Slack, Mattermost, Teams' connectors)
    read of an event, and they refuse one without it.
    """
    return fitting(lambda most: json.dumps(_event(alert, dashboard_url, most)), EVENT_BYTES).encode()


def _event(alert: Alert, dashboard_url: str | None, most: Most) -> dict[str, Any]:
    name = shortened(alert.target.name, min(NAME_CHARS, most.chars))
    why = shortened(alert.why, 3 * most.chars)
    data = {"target": name, "why": why, **tightened(alert.facts, most, depth=0)}
    text = f"reclaim {name}: {why}"
    if dashboard_url:
        is_whole = name == alert.target.name  # a name that had to be cut names no target
        link = f"{dashboard_url}#target={quote(name, errors='replace')}" if is_whole else dashboard_url
        data["dashboard"] = link
        text = f"{text} {link}"
    return {
        "specversion": "1.0",
        "id": alert.id,
        "source": f"/reclaim/{quote(name, errors='replace')}",
        "type": alert.kind.value,
        "subject": name,
        "time": alert.at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "text": for_a_terminal(text),
        "data": data,
    }


class Webhook:
    """POSTs events to one address. It follows no redirect, and reads only the beginning of an answer."""

    def __init__(self, url: str, key: str | None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Make it; nothing is connected yet.

        Args:
            url: where to POST. It may hold a secret, as a Logic App's does.
            key: goes into the header that Event Grid reads.
            sleep: waits between two attempts.
        """
        self._url = url
        self._headers = {"accept-encoding": "identity"} | ({"aeg-sas-key": key} if key else {})
        self._content_type = CLOUD_EVENT
        self._secrets = Secrets.of_address(url, [key] if key else [])
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
        """One POST, or two: a chat may know JSON only by its plain name, and refuses what it does not know.

        Raises:
            NotTaken: the webhook refuses the event.
            _TryAgain: it may take the event the next time.
        """
        answer = await self._answer(client, event, self._content_type)
        if answer.status in _NOT_UNDERSTOOD:
            other = PLAIN_JSON if self._content_type == CLOUD_EVENT else CLOUD_EVENT
            again = await self._answer(client, event, other)
            if again.is_good:
                self._content_type = other
                return
        if answer.is_good:
            return
        why = f"the webhook answered {answer.status}" + (f": {answer.text}" if answer.text else "")
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in _TRY_AGAIN:
            raise _TryAgain(why)
        raise NotTaken(why)

    async def _answer(self, client: "AsyncClient", event: bytes, content_type: str) -> "_Answer":
        """What the webhook answers to one POST. A redirect would take the key to another host: it is an answer too."""
        import httpx2  # noqa: PLC0415  # as above

        status, start = None, bytearray()
        try:
            async with (
                asyncio.timeout(ATTEMPT_SEC),
                client.stream(
                    "POST", self._url, content=event, headers=self._headers | {"content-type": content_type}
                ) as response,
            ):
                status = response.status_code
                if not _is_good(status):
                    await _read(response, start)
        except (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError, TimeoutError) as exc:
            if status is None:
                raise _TryAgain(describe(exc)) from exc
        return _Answer(status, self._shown(bytes(start)))

    def _shown(self, start: bytes) -> str:
        """The beginning of an answer, on one line; what it repeats of the address or the key is left out."""
        text = self._secrets.hidden_in(readable(start), is_cut=len(start) >= ANSWER_BYTES)
        return shortened(for_a_terminal(" ".join(text.split())), ANSWER_CHARS)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the webhook answered; `text` is the beginning of its body where it did not take the event."""

    status: int
    text: str

    @property
    def is_good(self) -> bool:
        """Whether the event was taken."""
        return _is_good(self.status)


def _is_good(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


async def _read(response: "Response", start: bytearray) -> None:
    """Read the beginning of an answer, as far as it comes soon."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_SEC):
            async for part in response.aiter_raw():
                start += part[: ANSWER_BYTES - len(start)]
                if len(start) >= ANSWER_BYTES:
                    return
