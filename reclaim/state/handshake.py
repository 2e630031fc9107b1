"""Owns how a connection to Redis begins: TCP, TLS or a socket, user and database; and why one could not begin."""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import DefaultParser, RedisSSLContext
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from reclaim.errors import AccessDenied, NotTrusted, ServerError, Unsuitable, said
from reclaim.settings import Settings
from reclaim.state.ask import Command, Reply
from reclaim.state.packing import pack
from reclaim.state.unsuitable import is_unknown_command
from reclaim.verdicts import error_code

SILENT_SEC = 1.0  # after so long without an answer to our TLS handshake, we ask whether the server speaks without TLS
PROBE_SEC = 3.0  # for one question of that kind; the batch's own timeout goes on meanwhile

Exchange = Callable[[Any, bytes, int], Awaitable[list[Reply]]]


@dataclass(frozen=True, slots=True)
class Login:
    """How to sign in.

    Attributes:
        username: the user's name; None for the default user.
        secret: the password, or the Entra token.
        expires_at: when the token expires, Unix seconds; None for a password.
    """

    username: str | None
    secret: str = field(repr=False)
    expires_at: float | None = None

    @property
    def command(self) -> Command:
        """The command that signs in."""
        return ("AUTH", self.username, self.secret) if self.username else ("AUTH", self.secret)

    def hidden_in(self, text: str) -> str:
        """What a server says, without the secret: some repeat what they were sent, cut off where it is long."""
        text = _ARGUMENTS.sub(r"\1 ***", text)
        for secret in (self.secret, repr(self.secret.encode())[2:-1]):
            text = text.replace(secret, "***") if secret else text
        return text

    def refused(self, reply: Exception, address: str) -> Exception:
        """What a server's error means that answers to AUTH. The secret goes out of `reply` too, which is its cause."""
        has_no_such = is_unknown_command(reply)
        reply.args = (self.hidden_in(str(reply)),)
        if has_no_such:
            todo = "let REDIS_HOST name the server itself, no proxy and no Sentinel; or set no user and no password"
            return Unsuitable(f"{address} has no AUTH, with which we sign in", todo)
        return redis_errors.AuthenticationError(str(reply))


_ARGUMENTS = re.compile(r"(with args beginning with:).*", re.IGNORECASE | re.DOTALL)


Logins = Callable[[], Awaitable[Login | None]]


def note_signed_in(connection: Any, token: str, expires_at: float) -> None:
    """Note with which token a connection has signed in, and when that expires, Unix seconds."""
    connection.reclaim_login = token, expires_at


def signed_in_with(connection: Any) -> tuple[str, float]:
    """The token that a connection has signed in with last, and when it expires, Unix seconds."""
    login: tuple[str, float] = getattr(connection, "reclaim_login", ("", 0.0))
    return login


def make_pool(
    settings: Settings, exchange: Exchange, timeout_sec: float, tls_name: str | None, login: "Logins"
) -> ConnectionPool:
    """A pool whose connections begin as the settings say. Nothing is sent before the first one is taken.

    redis-py's own retry is off, because tenacity is the one layer that retries. Its timeouts are off too, because each
    batch has a timeout of ours; redis-py waits with asyncio.wait_for, which in Python 3.11 may swallow a cancellation
    (https://github.com/python/cpython/issues/86296).

    Args:
        settings: where the server is, and as whom.
        exchange: sends commands over a connection and reads their replies.
        timeout_sec: how long connecting may take.
        tls_name: the name that the server's certificate has to have; None: that of the host.
        login: tells how to sign in on each new connection.
    """
    place: dict[str, Any] = {"host": settings.host, "port": settings.port}
    cls: type[Any] = Connection
    if settings.socket_path is not None:
        place, cls = {"path": settings.socket_path}, UnixDomainSocketConnection
    elif settings.tls:
        cls = _TlsConnection
        place |= {"trust": _trust(settings.ca_file), "tls_name": tls_name}
    return ConnectionPool(
        connection_class=cls,
        **place,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=None,
        socket_connect_timeout=timeout_sec,
        parser_class=_Parser,
        driver_info=None,
        redis_connect_func=_Greeting(settings, exchange, login).greet,
    )


async def why_not_met(exc: Exception, settings: Settings) -> ServerError | None:
    """What is wrong where a connection could not begin, if it is one of the things that a person can set right."""
    for cause in _causes(exc):
        if isinstance(cause, ServerError):
            return cause
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NotTrusted(f"the certificate of {settings.address} is not trusted: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError) and await _speaks_plainly(settings.host, settings.port):
            return _plain(settings.address)
    is_plain_tcp = not settings.tls and settings.socket_path is None
    is_reached = not any(isinstance(cause, ConnectionRefusedError | socket.gaierror) for cause in _causes(exc))
    if is_plain_tcp and is_reached and await _speaks_tls(settings.host, settings.port):
        return Unsuitable(f"{settings.address} speaks TLS, and we speak without it", "set REDIS_TLS=true")
    return None


def _causes(exc: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = exc
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _plain(address: str) -> Unsuitable:
    todo = "set REDIS_TLS=false, or let REDIS_HOST name the port for TLS"
    return Unsuitable(f"{address} speaks without TLS, and we speak TLS", todo)


class _Parser(DefaultParser):  # type: ignore[misc,valid-type]  # redis-py chooses the class where it is loaded
    """A parser that keeps what it was given last, so that a server's last words can be read when it hangs up."""

    heard = b""

    async def read_from_socket(self) -> bool:
        heard: bytes = await self._stream.read(self._read_size)
        if not heard:
            raise redis_errors.ConnectionError("the server has closed the connection")
        self.heard = heard
        self._reader.feed(heard)
        return True


class _Greeting:
    """What is said first on each connection: who we are, and which database we mean."""

    def __init__(self, settings: Settings, exchange: Exchange, login: Logins) -> None:
        self._login = login
        self._settings = settings
        self._exchange = exchange

    async def greet(self, connection: Any) -> None:
        """Greet the server.

        Raises:
            Unsuitable: the database is not there; or nobody can sign in.
            redis.exceptions.RedisError: another answer than a good one.
        """
        try:
            connection._parser.on_connect(connection)  # noqa: SLF001 # as redis-py's own greeting begins
            await self._introduce(connection)
        except BaseException:  # a connection that was not greeted works in another database: it must not be used
            await connection.disconnect(nowait=True)
            raise

    async def _introduce(self, connection: Any) -> None:
        named: list[tuple[str, Command]] = [("name", ("CLIENT", "SETINFO", "LIB-NAME", "reclaim"))]
        login, db = await self._login(), self._settings.db
        if login is not None:
            named.insert(0, ("login", login.command))
        if db:
            named.append(("database", ("SELECT", db)))
        replies = await self._said(connection, [command for _, command in named], login)
        for (name, _), reply in zip(named, replies, strict=True):
            if not isinstance(reply, Exception):
                continue
            if _HANGS_UP.match(f"{error_code(reply)} {reply}"):
                raise redis_errors.ConnectionError(str(reply)) from reply
            if login is not None and name == "login":
                raise login.refused(reply, self._settings.address) from reply
            if name == "database":
                raise self._has_no(db, reply) from reply
        if login is not None and login.expires_at is not None:
            note_signed_in(connection, login.secret, login.expires_at)

    async def _said(self, connection: Any, commands: list[Command], login: Login | None) -> list[Reply]:
        """What the server says to these commands; where it fails, the error does not tell how we sign in."""
        try:
            replies = await self._exchange(connection, b"".join(map(pack, commands)), len(commands))
            _check_words(replies, login)
        except redis_errors.RedisError as exc:
            if login is not None:
                exc.args = (login.hidden_in(str(exc)),)
            raise
        return replies

    def _has_no(self, db: int, reply: Exception) -> ServerError:
        """What it means that the server does not let us select the database."""
        if isinstance(reply, redis_errors.NoPermissionError):
            what = f"{self._settings.address} does not let this user run SELECT, which REDIS_DB={db} needs: {reply}"
            return AccessDenied(what, "SELECT")
        todo = "REDIS_DB (or the database in REDIS_URL) has to be one that this user may select there"
        return Unsuitable(f"{self._settings.address} has no database {db} for us: {reply}", todo)


def _check_words(replies: list[Reply], login: Login | None) -> None:
    """Raise an error if these are not the answers of a Redis to what is said first: each is OK, or an error."""
    for reply in replies:
        if reply != b"OK" and not isinstance(reply, Exception):
            words = repr(reply) if login is None else login.hidden_in(repr(reply))
            raise redis_errors.ConnectionError(f"what answers there is no Redis: it said {words:.80}")


# What a server says of a connection before it closes it; in protected mode, say, Redis answers only its own machine.
_HANGS_UP = re.compile("DENIED|ERR Protocol error")


def _trust(ca_file: str | None) -> RedisSSLContext:
    """Whom connections trust; the certificates are loaded when the first one begins."""
    return _Trust(
        cert_reqs=ssl.CERT_REQUIRED, ca_certs=ca_file, check_hostname=True, min_version=ssl.TLSVersion.TLSv1_2
    )


class _Trust(RedisSSLContext):
    """Whom connections trust; says which file cannot be read, where Python says only that there is none."""

    def get(self) -> ssl.SSLContext:
        try:
            return super().get()
        except OSError as exc:  # an SSLError too: there is no certificate in it
            if self.ca_certs is None:
                raise
            what = exc.strerror or said(exc)
            raise NotTrusted(f"REDIS_CA_FILE is {self.ca_certs!r}, which cannot be used: {what}") from exc


class _TlsConnection(SSLConnection):
    """A connection with TLS that says so if the server speaks without it, which else is silence on both sides.

    All connections have one context: to load the certificates that the system trusts takes 20 ms, and blocks the loop.
    """

    def __init__(self, *, trust: RedisSSLContext, tls_name: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context = trust
        self._tls_name = tls_name

    def _connection_arguments(self) -> Any:
        arguments = super()._connection_arguments()
        return arguments if self._tls_name is None else {**arguments, "server_hostname": self._tls_name}

    async def _connect(self) -> None:
        handshake = asyncio.ensure_future(super()._connect())  # type: ignore[no-untyped-call] # it has no types
        try:
            await asyncio.wait({handshake}, timeout=SILENT_SEC)
            if not handshake.done() and await _speaks_plainly(self.host, int(self.port)) and not handshake.done():
                raise _plain(f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")
            await handshake
        except BaseException:  # it may be connected already, and nobody will greet it
            self.ssl_context.context = None  # the certificates on disk may be others by now
            if not handshake.done():
                handshake.cancel()
                await asyncio.wait({handshake})
            await self.disconnect(nowait=True)
            raise
        finally:
            if not handshake.cancelled():
                handshake.exception()  # or asyncio would complain that nobody has asked for it


async def _speaks_plainly(host: str, port: int) -> bool:
    """Whether Redis answers there without TLS; asked with an empty hand: no user, no password."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE_SEC):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"PING\r\n")
                return _IS_RESP.match(await reader.read(64)) is not None
            finally:
                writer.transport.abort()
    return False


_IS_RESP = re.compile(rb"\+PONG|-[A-Z]+ ")


async def _speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake works there; nothing is sent, so whose certificate it is does not matter."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError, TimeoutError):  # an SSLError is an OSError
        async with asyncio.timeout(PROBE_SEC):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.transport.abort()
            return True
    return False
