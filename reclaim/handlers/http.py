"""Owns the http handler: each entry is POSTed to a service, as a CloudEvent 1.0 in binary mode.

The service's answer decides:

- 2xx: the entry is done.
- 408, 425, 429, 502, 503 and 504, no answer, or half of one: an outage. ``Retry-After`` is heeded.
- another 5xx: the service failed on the entry, which is charged.
- 401, 403, 405 and redirects, which are not followed: HTTP_URL or HTTP_HEADERS is wrong, so a run fails that has had no
  entry taken. Where others are taken, the entry is refunded, and a dead letter after RETRY_FOR_SEC. With HTTP_AUDIENCE,
  a 401 is first answered with another token, once.
- another 4xx: the entry is bad. Until the service has taken one entry, the address may be what is bad: the entry is
  charged, and if nothing is taken in two runs, the circuit opens and refunds.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from ssl import SSLCertVerificationError
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reclaim.bounded import shortened
from reclaim.entry import Entry, readable
from reclaim.errors import Answered, MissingField, NotAccepted, RejectEntry, describe
from reclaim.handlers.event import Events
from reclaim.handlers.outcomes import STORED, Failed, Handled, Handler, Keyed, Needs, Preview
from reclaim.handlers.resource import Resource
from reclaim.hidden import Secrets
from reclaim.names import written
from reclaim.outages import STATUSES
from reclaim.trace import entry_under_way

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

    from reclaim.state.entra import Tokens

_WHO = "Authorization"
AS_IT_IS_BYTES = 2**20  # a larger body is handed to the client in parts, so that sending it does not block the loop
READ_BYTES = 65_536  # of an answer; a connection whose answer is longer is closed
SHOWN_CHARS = 500  # of an answer, in the reason
_NOT_FOR_ENTRIES = frozenset({401, 403, 405, *range(300, 400)})


class _Unknown(Exception):
    """The service did not take our token."""


@dataclass(frozen=True, slots=True)
class Service:
    """Where entries are POSTed, and how.

    Attributes:
        url: the address; it may hold a key.
        headers: names and values that each request has besides.
        body_field: the field whose bytes are the body; None: a JSON object of all fields is.
        timeout_sec: how long one request may take.
        at_once: how many requests there may be at the same time.
        stream, group: of the target.
    """

    url: str
    headers: Sequence[tuple[str, str]]
    body_field: bytes | None
    timeout_sec: float
    at_once: int
    stream: bytes
    group: bytes

    @property
    def shown(self) -> str:
        """The address without what may be a secret."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


@dataclass(frozen=True, slots=True)
class Look:
    """What a service answers to a request that sends no entry.

    Attributes:
        shown: its address, without what may be a secret.
        status: of the answer.
        leads_to: the host that a redirect leads to; empty if there is none.
    """

    shown: str
    status: int
    leads_to: str


class HttpHandler(Handler):
    """POSTs each entry to a service.

    Attributes:
        took_one: whether the service has taken an entry. Until then a 4xx may mean that the address is wrong.
    """

    def __init__(self, service: Service, order_key: Callable[[Entry], bytes], tokens: "Tokens | None" = None) -> None:
        """Make it; nothing is connected yet.

        Args:
            service: where entries go.
            order_key: makes the order key; MissingField: the entry is not ordered.
            tokens: what each request says who we are with; None: nothing but the headers of the service.
        """
        self._tokens = tokens
        body = service.body_field
        self.needs = None if body is None else Needs("HTTP_BODY", f"http: {written(body)}")
        self.resource: Resource[ClientSession] = Resource("HANDLER http", self._open)
        # The client rounds a time limit up by a second at most. With tokens an entry takes up to two requests, and
        # waits for a token before each.
        self.longest_sec = (service.timeout_sec + 1) * (1 if tokens is None else 4)
        self._service = service
        self._secrets = Secrets.of_query(service.url, (value for _, value in service.headers))
        self._events = Events(service.stream, service.group, body, service.headers)
        self._order_key = order_key
        self.took_one = False

    def order_key(self, entry: Entry) -> bytes:
        """The key that the template makes. An entry without the template's fields is not ordered: its ID is its key.

        Raises:
            MissingField: the entry has no field that is to be the body.
        """
        if self._service.body_field is not None:
            self._events.body(entry)
        try:
            return self._order_key(entry)
        except MissingField:
            return entry.id

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """One request for each entry, one after another."""
        return [await self._outcome(entry) for _, entry in entries]

    async def preview(self, entry: Entry, key: bytes) -> Preview:  # noqa: ARG002  # it is sent whatever its order key
        """The request, without what may be a secret: the headers of HTTP_HEADERS are left out.

        Raises:
            MissingField: the entry has no field that is to be the body.
        """
        headers, body = self._events.headers(entry), self._events.body(entry)
        secret = {name for name, _ in self._service.headers}
        if self._tokens is not None:
            secret.add(_WHO)
            headers[_WHO] = ""
        shown = [(name, "…" if name in secret else value) for name, value in headers.items()]
        return Preview(f"POSTed to {self._service.shown}", shown, body=body)

    def hung(self, seconds: float) -> Exception:
        """The service has not answered in the time that an entry may take, which is less than HTTP_TIMEOUT_SEC."""
        what = f"{self._service.shown} had not answered after {seconds:g} s"
        return TimeoutError(f"{what}, half of RUN_BUDGET_SEC, which is less than HTTP_TIMEOUT_SEC")

    async def look(self, most_sec: float) -> "Look":
        """What the service answers to OPTIONS, a request that sends no entry; the client is opened for it.

        Raises:
            NotAccepted: its TLS certificate is not accepted.
            NoToken: no token could be had for it.
            TimeoutError: it did not answer within `most_sec`.
            Exception: it could not be reached; the client's own error.
        """
        async with asyncio.timeout(most_sec), self._open() as session:
            headers = await self._signed(dict(self._service.headers), most_sec)
            try:
                async with session.options(self._service.url, headers=headers, allow_redirects=False) as response:
                    return Look(self._service.shown, response.status, _host_of(response.headers.get("Location", "")))
            except Exception as exc:
                raise self._in_words(exc) from exc

    async def _outcome(self, entry: Entry) -> Handled:
        try:
            with entry_under_way(entry.id.decode()):
                await self._post(self._events.headers(entry), self._events.body(entry))
        except Exception as exc:  # noqa: BLE001  # a client may raise anything: classify() gives the verdict
            return Failed(self._in_words(exc))
        self.took_one = True
        return STORED

    async def _post(self, headers: Mapping[str, str], body: bytes) -> None:
        try:
            await self._answered(headers, body)
        except _Unknown:
            await self._answered(headers, body, is_again=True)

    def _in_words(self, error: Exception) -> Exception:
        """The error that says what to do, where there is one."""
        import aiohttp  # noqa: PLC0415  # `_open` has loaded it

        if isinstance(error, SSLCertVerificationError):
            what = f"{self._service.shown} has a TLS certificate that is not accepted: {describe(error)}"
            said: Exception = NotAccepted(f"{what}; see HTTP_URL, and SSL_CERT_FILE for an authority of your own")
        elif isinstance(error, ValueError):  # the client's, of an address or headers that it does not send
            what = f"no request to {self._service.shown} can be made: {self._secrets.hidden_in(describe(error))}"
            said = NotAccepted(f"{what}; see HTTP_URL and HTTP_HEADERS")
        elif isinstance(error, TimeoutError):
            what = f"{self._service.shown} had not answered within {self._service.timeout_sec:g} s"
            said = TimeoutError(f"{what}; see HTTP_TIMEOUT_SEC")
        elif isinstance(error, aiohttp.ClientResponseError):  # we never ask for one because of a status
            words = self._secrets.hidden_in(error.message)
            said = ConnectionError(f"{self._service.shown} answered with what is no HTTP: {words}")
        elif isinstance(error, aiohttp.ClientConnectorError):  # it names the host
            return error
        elif isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
            words = self._secrets.hidden_in(describe(error))
            said = ConnectionError(f"{self._service.shown} gave no whole answer: {words}")
        else:
            return error
        said.__cause__ = error
        return said

    async def _answered(self, headers: Mapping[str, str], body: bytes, *, is_again: bool = False) -> None:
        """One request.

        Raises:
            _Unknown: the service did not take our token, and is to be asked again with another one.
            Exception: what the service answered is not that the entry is done; or it did not answer.
        """
        session = self.resource.value
        headers = await self._signed(headers, self._service.timeout_sec)
        data = body if len(body) <= AS_IT_IS_BYTES else BytesIO(body)
        async with session.post(self._service.url, data=data, headers=headers, allow_redirects=False) as response:
            answer = await _beginning(response)
            if response.status == 401 and self._tokens is not None and not is_again:
                self._tokens.refuse()
                raise _Unknown
            if not response.ok or response.status >= 300:
                raise self._error(response.status, response.headers, answer)

    async def _signed(self, headers: Mapping[str, str], within_sec: float) -> Mapping[str, str]:
        """The headers with our token, if the service wants one."""
        if self._tokens is None:
            return headers
        token = await self._tokens.current(within_sec)
        return {**headers, _WHO: f"Bearer {token.secret}"}

    def _error(self, status: int, headers: Mapping[str, str], answer: bytes) -> Exception:
        told = self._secrets.hidden_in(readable(answer), is_cut=len(answer) >= READ_BYTES)
        said = shortened(told.strip(), SHOWN_CHARS)
        what = f"{self._service.shown} answered {status}{f': {said}' if said else ''}"
        if status in _NOT_FOR_ENTRIES:
            who = "HTTP_HEADERS" if self._tokens is None else f"HTTP_AUDIENCE ({self._tokens.identity})"
            return NotAccepted(f"{what}; see HTTP_URL and {who}")
        if 400 <= status < 500 and status not in STATUSES and self.took_one:
            return RejectEntry(what)
        return Answered(what, status, headers)

    @asynccontextmanager
    async def _open(self) -> "AsyncIterator[ClientSession]":
        """One client for all requests. It keeps connections, but no cookies."""
        import aiohttp  # noqa: PLC0415  # it takes 0.2 s, which only this handler is worth

        if self._tokens is not None:
            await self._tokens.prepare()

        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._service.at_once),
            timeout=aiohttp.ClientTimeout(total=self._service.timeout_sec),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            yield session


def _host_of(location: str) -> str:
    try:
        return urlsplit(location).hostname or ""
    except ValueError:  # it is no address
        return ""


async def _beginning(response: "ClientResponse") -> bytes:
    """The answer's body, up to a bound: the connection can be used again if that is all of it."""
    read = bytearray()
    content = response.content
    while not content.at_eof() and len(read) < READ_BYTES:
        read += await content.read(READ_BYTES - len(read))
    return bytes(read)
