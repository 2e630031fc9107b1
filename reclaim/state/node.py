"""Owns one server's connections: how each is lent for one exchange, when all are given up, and how replies are read."""

import asyncio
import math
import os
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis import exceptions as redis_errors
from redis.asyncio import Connection

from reclaim.entry import readable
from reclaim.errors import AccessDenied, Unreachable, Unsuitable, said
from reclaim.settings import Settings
from reclaim.state.ask import Command, Reply, raised
from reclaim.state.handshake import Login, make_pool, note_signed_in, signed_in_with, why_not_met
from reclaim.state.packing import pack, pack_all
from reclaim.state.progress import WhileBytesMove
from reclaim.state.replicas import if_replicated, wait_for
from reclaim.verdicts import error_code

if TYPE_CHECKING:
    from reclaim.state.entra import Tokens

TIMEOUT_SEC = 5.0  # for connecting; then for one batch, anew whenever bytes move
EXPIRES_SOON_SEC = 5.0  # a connection whose token expires so soon is made anew
TOKEN_SHARE = 0.8  # of a timeout that waiting for an Entra token may take
MAX_CONNECTIONS = 24  # a hundred targets are no faster with 64; the smallest Azure cache allows 256 in all


class Node:
    """One server: each exchange takes one of its connections.

    Attributes:
        replicas: how many of its replicas must have what is stored there.
    """

    def __init__(
        self,
        settings: Settings,
        timeout_sec: float = TIMEOUT_SEC,
        tls_name: str | None = None,
        tokens: "Tokens | None" = None,
    ) -> None:
        """Make it, inside the event loop that uses it; nothing is sent yet.

        Args:
            settings: where the server is, and as whom we are there.
            timeout_sec: for connecting; then for one exchange, anew whenever bytes move.
            tls_name: the name that its certificate has to have; None: that of its host.
            tokens: what to sign in with; None: the password of the settings, if any.
        """
        self._tokens = tokens
        self.address = settings.address
        self.replicas = 0 if isinstance(settings.store_replicas, str) else settings.store_replicas
        self._settings = settings
        self._pool: Any = make_pool(settings, exchange, timeout_sec, tls_name, self._login)  # its methods have no types
        self._timeout_sec = timeout_sec
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)
        self._left = 0  # how often connections were given up because they led to the wrong server

    async def send(self, commands: Sequence[Command], *, stores: bool = False) -> list[Reply]:
        """Send all commands on one connection, and return one reply for each; what it raises, `Server.batch` names."""
        return await self.send_packed(pack_all(commands), len(commands), stores=stores)

    async def send_packed(self, request: bytes, count: int, *, stores: bool = False) -> list[Reply]:
        """The same for a request of `count` commands. If it `stores`, its replies wait for the replicas."""
        wanted = self.replicas if stores else 0
        if wanted:
            request, count = request + pack(wait_for(wanted)), count + 1
        async with self._lent() as connection:
            replies = await self._exchange(connection, request, count)
            if _any_lead_elsewhere(replies):
                await self.leave()
        return if_replicated(replies, replies.pop(), wanted, self.address) if wanted else replies

    async def send_each(self, key: bytes, requests: Sequence[bytes]) -> list[Reply]:  # noqa: ARG002  # a cluster needs it
        """One reply for each request of one command, all of which are about this key."""
        return await self.send_packed(b"".join(requests), len(requests))

    async def transaction(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in a MULTI; return what was said of MULTI, of each command when it was queued, and EXEC."""
        replies = await self.send([("MULTI",), *commands, ("EXEC",)])
        if isinstance(replies[-1], list) and _any_lead_elsewhere(replies[-1]):
            await self.leave()
        return replies

    async def rehearse(self, commands: Sequence[Command]) -> list[Reply]:
        """Queue the commands in a MULTI, discard it, and close the connection; see `Server.rehearse`."""
        async with self._lent() as connection:
            try:
                raised(await self._exchange(connection, pack(("MULTI",)), 1))
                request = pack_all([*commands, ("DISCARD",)])
                return (await exchange(connection, request, len(commands) + 1))[:-1]
            finally:
                await connection.disconnect(nowait=True)

    async def tls_version(self) -> str | None:
        """The version of TLS that the connection uses (``TLSv1.3``); None without TLS."""
        async with self._lent() as connection:
            spoken = connection._writer.get_extra_info("ssl_object")  # type: ignore[union-attr] # noqa: SLF001 # redis-py does not say
            return None if spoken is None else str(spoken.version())

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def leave(self) -> None:
        """Give up all connections: what is at their other end is the wrong server, or will not be there for long.

        After a failover the old primary often lives on, as a replica that refuses writes. A new connection follows the
        name to the new one. Connections at work are closed when they come back.
        """
        self._left += 1
        # Not by the pool's own method: meanwhile a connection could be taken, and then closed under a batch.
        at_rest: list[Connection] = self._pool._available_connections  # noqa: SLF001 # as above
        taken, at_rest[:] = [*at_rest], []
        try:
            for connection in taken:
                await connection.disconnect(nowait=True)
        finally:
            at_rest += taken

    async def _login(self) -> Login | None:
        """How to sign in on a new connection; None where nobody has to."""
        if self._tokens is not None:
            if not self._settings.tls and not self._settings.is_on_this_machine:  # a cluster's node may be elsewhere
                raise Unsuitable(
                    f"{self.address} is spoken to without TLS, and a token is a password", "set REDIS_TLS=true"
                )
            token = await self._tokens.current(TOKEN_SHARE * self._timeout_sec)
            return Login(token.user, token.secret, token.expires_at)
        username, password = self._settings.username, self._settings.password
        return Login(username, password or "") if username or password else None

    async def _exchange(self, connection: Connection, request: bytes, count: int) -> list[Reply]:
        """What `exchange` does; a connection that signed in with an older token signs in again, ahead of the request.

        Azure closes a connection whose token has expired. No round trip more, and no other exchange in between.
        """
        if self._tokens is None:
            return await exchange(connection, request, count)
        token = await self._tokens.current(TOKEN_SHARE * self._timeout_sec)
        signed_in, expires_at = signed_in_with(connection)
        if signed_in == token.secret:
            return await exchange(connection, request, count)
        if expires_at - time.time() < min(EXPIRES_SOON_SEC, token.life_sec / 10):  # the server may be closing it
            await connection.disconnect(nowait=True)
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py gives it no types
            return await exchange(connection, request, count)
        login = Login(token.user, token.secret)
        first, *replies = await exchange(connection, pack(login.command) + request, count + 1)
        if isinstance(first, Exception):
            await connection.disconnect(nowait=True)
            raise login.refused(first, self.address) from first
        note_signed_in(connection, token.secret, token.expires_at)
        return replies

    def _refused(self, exc: redis_errors.AuthenticationError) -> AccessDenied:
        """What it means that the server refused who we are."""
        if self._tokens is None:
            return AccessDenied(f"{self.address} refused the user name or password: {said(exc)}")
        self._tokens.refuse()
        todo = "give it an access policy assignment there, by its object ID, and see that the cache takes Entra tokens"
        return AccessDenied(f"{self.address} refused the Entra token of {self._tokens.identity}: {said(exc)}; {todo}")

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        """A connection of the pool, for as long as one batch may take: while bytes move, and a little longer."""
        if self._tokens is not None:
            await self._tokens.prepare()  # within the run's time, not within the attempt's
        async with self._free:
            try:
                async with asyncio.timeout(self._timeout_sec) as limit:
                    connection = await self._connection()
                    left = self._left
                    try:
                        with WhileBytesMove(connection, limit, self._timeout_sec):
                            yield connection
                    except redis_errors.ConnectionError:
                        await self.leave()
                        raise
                    finally:
                        if left != self._left:
                            await connection.disconnect(nowait=True)
                        await self._pool.release(connection)
            except redis_errors.AuthenticationError as exc:
                raise self._refused(exc) from exc
            except TimeoutError as exc:
                if not limit.expired():
                    raise
                await self.leave()  # a server that went without a word answers on none of them
                raise redis_errors.TimeoutError(
                    f"{self.address} did not answer within {self._timeout_sec:g} s"
                ) from exc

    async def _connection(self) -> Connection:
        try:
            connection: Connection = await self._pool.get_connection()
        except redis_errors.AuthenticationError:
            raise  # it is a ConnectionError too, but a connection could be made
        except (redis_errors.RedisError, OSError) as exc:
            known = await why_not_met(exc, self._settings)
            raise known or Unreachable(f"no connection to {self.address}: {_why(exc)}") from exc
        return connection


def _why(exc: Exception) -> str:
    """Why there is no connection: the system's own word, where it has one. Libraries add the address around it."""
    cause = exc if isinstance(exc, OSError) else exc.__cause__ or exc.__context__
    match cause:
        case socket.gaierror(strerror=str(word)):
            return word
        case OSError(errno=int(number)) if number > 0 and not isinstance(cause, ssl.SSLError):
            return os.strerror(number)
        case _:
            return said(exc)


async def exchange(connection: Connection, request: bytes, count: int) -> list[Reply]:
    """Send a request of `count` commands and read their replies.

    If that does not come to its end, whatever the reason, the connection is closed: else the next exchange would take
    the replies that this one is still owed for its own.
    """
    try:
        return await _exchange(connection, request, count)
    except BaseException:  # a cancellation too; nothing here waits, so nothing can come in between
        await connection.disconnect(nowait=True)
        raise


async def _exchange(connection: Connection, request: bytes, count: int) -> list[Reply]:
    """Do that.

    redis-py reads one reply at a time, which costs more than everything else that is done for an entry. So before any
    reply arrives, the head of an array of `count` elements is put into redis-py's reader: it then reads all the replies
    as one array (https://redis.io/docs/latest/develop/reference/protocol-spec/#arrays).
    """
    replies_ahead: Any = connection._reader  # noqa: SLF001 # redis-py has no other name for it
    parser: Any = connection._parser  # noqa: SLF001 # as above
    if replies_ahead.at_eof():
        raise redis_errors.ConnectionError("the server has closed the connection")
    parser.heard = b""
    replies_ahead.feed_data(b"*%d\r\n" % count)
    try:
        await connection.send_packed_command(request)
        replies: list[Reply] | None = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
    except redis_errors.ConnectionError as exc:
        if type(exc) is not redis_errors.ConnectionError:  # it is a reply: LOADING, NOAUTH, …
            raise
        words = _last_words(parser.heard + bytes(replies_ahead._buffer))  # noqa: SLF001 # asyncio has no other name for it
        if words is None:
            raise
        raise redis_errors.ConnectionError(f"the server closed the connection and said: {words}") from exc
    except redis_errors.ResponseError as exc:  # not in the array: it was said before we said anything
        raise redis_errors.ConnectionError(f"the server said, before it was asked: {said(exc)}") from exc
    if replies is None:  # what redis-py makes of ETIMEDOUT, which the system may say of any connection
        raise redis_errors.ConnectionError("the connection has timed out")
    if parser._reader.has_data() or replies_ahead._buffer:  # noqa: SLF001 # as above
        raise redis_errors.ConnectionError("the server said more than it was asked: its answers cannot be told apart")
    for reply in replies if any_errors(replies) else ():
        if isinstance(reply, redis_errors.ConnectionError):  # LOADING, NOAUTH, …: this connection is of no use
            raise reply
    return replies


def _last_words(heard: bytes) -> str | None:
    """The error that a server sent before it closed the connection, such as that it has too many clients."""
    found = _LAST_ERROR.search(heard)
    return None if found is None else readable(found[1])


_LAST_ERROR = re.compile(rb"(?:^|\n)-([^\r\n]+)\r\n(?:\*\d+\r\n)?$")  # the head of an array may be ours


def _any_lead_elsewhere(replies: Sequence[Reply]) -> bool:
    """Whether any reply says that this is the wrong node, or a server that is going away."""
    return any_errors(replies) and any(
        error_code(reply) in _ELSEWHERE for reply in replies if isinstance(reply, Exception)
    )


# A replica refuses writes, and a cluster's node those for slots it cannot serve (https://redis.io/docs/latest/operate/
# oss_and_stack/reference/cluster-spec/). A server that is loading was just started: perhaps another is the primary now.
_ELSEWHERE = frozenset({"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"})


def any_errors(replies: Sequence[Reply]) -> bool:
    """Whether any reply is an error. Many replies have few types, so the types are looked at, each once."""
    return any(issubclass(kind, Exception) for kind in set(map(type, replies)))
