"""Owns the connection to Redis: when it is given up, sending many commands at once, and plain words for errors."""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, TypeVar, overload

import hiredis
from redis import exceptions as redis_errors
from redis.asyncio import Connection, Redis

from reclaim.bounded import NAME_CHARS, shortened
from reclaim.entry import readable
from reclaim.errors import AccessDenied, Unreachable, said
from reclaim.settings import Settings
from reclaim.state.ask import Ask, Command, Reply, checked, raised
from reclaim.state.handshake import make_pool, why_not_met
from reclaim.state.progress import while_bytes_move
from reclaim.state.unsuitable import is_unknown_command, why_unsuitable
from reclaim.verdicts import error_code

TIMEOUT_SEC = 5.0  # for connecting; then for one batch, anew whenever bytes move
MAX_CONNECTIONS = 24  # a hundred targets are no faster with 64; the smallest Azure cache allows 256 in all

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")


def connect(settings: Settings, timeout_sec: float = TIMEOUT_SEC) -> "Server":
    """Make a server to talk to, inside the event loop that uses it; nothing is sent before the first batch."""
    return Server(settings, Redis.from_pool(make_pool(settings, exchange, timeout_sec)), timeout_sec)


class Server:
    """A Redis server and how to send it commands: in batches, each on one connection, replies as bytes."""

    def __init__(self, settings: Settings, client: Redis, timeout_sec: float = TIMEOUT_SEC) -> None:
        self.address = settings.address
        self._settings = settings
        self._client = client
        self._pool: Any = client.connection_pool  # its methods have no types
        self._timeout_sec = timeout_sec
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)
        self._left = 0  # how often connections were given up because they led to the wrong server

    @overload
    async def ask(self, a: Ask[A], /) -> tuple[A]: ...
    @overload
    async def ask(self, a: Ask[A], b: Ask[B], /) -> tuple[A, B]: ...
    @overload
    async def ask(self, a: Ask[A], b: Ask[B], c: Ask[C], /) -> tuple[A, B, C]: ...
    @overload
    async def ask(self, a: Ask[A], b: Ask[B], c: Ask[C], d: Ask[D], /) -> tuple[A, B, C, D]: ...
    @overload
    async def ask(self, a: Ask[A], b: Ask[B], c: Ask[C], d: Ask[D], e: Ask[E], /) -> tuple[A, B, C, D, E]: ...
    @overload
    async def ask(
        self, a: Ask[A], b: Ask[B], c: Ask[C], d: Ask[D], e: Ask[E], f: Ask[F], /
    ) -> tuple[A, B, C, D, E, F]: ...
    @overload
    async def ask(self, *asks: Ask[Any]) -> tuple[Any, ...]: ...
    async def ask(self, *asks: Ask[Any]) -> tuple[Any, ...]:
        """Send the commands of all questions at once, and return the answer to each, in the same order.

        Raises:
            AccessDenied: a question cannot be answered because this user may not run one of its commands.
            Unsuitable: … because nothing of ours can be done on this server.
            redis.exceptions.ResponseError: another error of a command, where its question does not take it for an
                answer (`Ask.or_error`); and whatever `batch` raises.
        """
        commands = [command for ask in asks for command in ask.commands]
        replies = iter(await self.batch(commands, denial_raises=False) if commands else ())
        return tuple([await self._answer(ask, list(islice(replies, len(ask.commands)))) for ask in asks])

    async def _answer(self, ask: Ask[A], replies: Sequence[Reply]) -> A:
        try:
            return ask.read(replies)
        except redis_errors.ResponseError:
            await self._check_usable(ask.commands, replies)
            raise

    async def call(self, *command: bytes | str | int) -> Reply:
        """Send one command and return its reply.

        Raises:
            redis.exceptions.ResponseError: the command's own error; and whatever `batch` raises.
        """
        (reply,) = await self.batch([command])
        return checked(reply)

    async def batch(self, commands: Sequence[Command], *, denial_raises: bool = True) -> list[Reply]:
        """Send all commands at once, and return one reply for each; a command's error stands in its reply's place.

        Raises:
            Unreachable: no connection could be made.
            NotTrusted: the server's certificate is not trusted.
            AccessDenied: wrong user or password, or (with `denial_raises`) a command that this user may not run.
            Unsuitable: it is not spoken to rightly (TLS), or (with `denial_raises`) nothing of ours can be done there.
            redis.exceptions.ConnectionError, TimeoutError: the connection broke, or the server was silent; the
                commands may or may not have taken effect.
        """
        request = b"".join(map(_pack, commands))
        async with self._lent() as connection:
            replies = await exchange(connection, request, len(commands))
            if _any_lead_elsewhere(replies):
                await self._leave()
        if denial_raises and _any_errors(replies):
            await self._check_usable(commands, replies)
        return replies

    async def ranges(self, stream: bytes, runs: Sequence[Sequence[bytes]]) -> list[Reply]:
        """One reply for each run of ascending IDs: that of an XRANGE from its first to its last, as many as it has IDs.

        It does what `batch` does; a page's commands are alike, and are packed here in half the time.

        Raises:
            redis.exceptions.ResponseError: one of them was refused; and whatever `batch` raises.
        """
        head = _pack(("XRANGE", stream, b"", b"")).removesuffix(b"$0\r\n\r\n" * 2)
        request = [
            b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (head, len(run[0]), run[0], len(run[0]), run[0])
            if len(run) == 1
            else _pack(("XRANGE", stream, run[0], run[-1], "COUNT", len(run)))
            for run in runs
        ]
        async with self._lent() as connection:
            replies = await exchange(connection, b"".join(request), len(runs))
            failed = _any_errors(replies)
            if failed and _any_lead_elsewhere(replies):
                await self._leave()
        if failed:
            await self._check_usable([("XRANGE", stream)] * len(runs), replies)
            return raised(replies)
        return replies

    async def transaction(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands as one MULTI; return one reply for each.

        Raises:
            redis.exceptions.ResponseError: one was refused when queued, so none was run; and whatever `batch` raises.
        """
        replies = await self.batch([("MULTI",), *commands, ("EXEC",)])
        refused = next((reply for reply in replies if isinstance(reply, Exception)), None)
        if refused is not None:
            raise refused
        executed: list[Reply] = replies[-1]
        await self._check_usable(commands, executed)
        return executed

    async def rehearse(self, commands: Sequence[Command]) -> list[Reply]:
        """Find out what the server says of each command without running it: ``QUEUED``, or why it would refuse.

        The commands are queued in a MULTI, which is then discarded. While it queues a command the server checks the
        permission, the spelling, and whether it is read-only or full
        (https://redis.io/docs/latest/develop/using-commands/transactions/). Afterwards the connection is closed.

        Raises:
            redis.exceptions.ResponseError: MULTI itself is refused; nothing else was sent. And whatever `batch` raises.
        """
        async with self._lent() as connection:
            try:
                raised(await exchange(connection, _pack(("MULTI",)), 1))
                request = b"".join(map(_pack, [*commands, ("DISCARD",)]))
                return (await exchange(connection, request, len(commands) + 1))[:-1]
            finally:
                await connection.disconnect(nowait=True)

    async def name_refused(self, commands: Sequence[Command]) -> None:
        """Raise what it means that the server would refuse one of these commands, if it would.

        For the error of a script: which command it was refused is not told by every server.

        Raises:
            AccessDenied, Unsuitable: the server would refuse one; and whatever `rehearse` raises.
        """
        for command, reply in zip(commands, await self.rehearse(commands), strict=True):
            await self._check_usable([command], [reply])

    async def tls_version(self) -> str | None:
        """The version of TLS that the connection uses (``TLSv1.3``); None without TLS.

        Raises:
            Unreachable, NotTrusted, AccessDenied: as `batch` does.
        """
        async with self._lent() as connection:
            spoken = connection._writer.get_extra_info("ssl_object")  # type: ignore[union-attr] # noqa: SLF001 # redis-py does not say
            return None if spoken is None else str(spoken.version())

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _leave(self) -> None:
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

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        """A connection of the pool, for as long as one batch may take: while bytes move, and a little longer."""
        async with self._free:
            try:
                async with asyncio.timeout(self._timeout_sec) as limit:
                    connection = await self._connection()
                    left = self._left
                    try:
                        with while_bytes_move(connection, limit, self._timeout_sec):
                            yield connection
                    except redis_errors.ConnectionError:
                        await self._leave()
                        raise
                    finally:
                        if left != self._left:
                            await connection.disconnect(nowait=True)
                        await self._pool.release(connection)
            except redis_errors.AuthenticationError as exc:
                raise AccessDenied(f"{self.address} refused the user name or password: {said(exc)}") from exc
            except TimeoutError as exc:
                if not limit.expired():
                    raise
                await self._leave()  # a server that went without a word answers on none of them
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
            raise known or Unreachable(f"no connection to {self.address}: {exc}") from exc
        return connection

    async def _check_usable(self, commands: Sequence[Command], replies: Sequence[Reply]) -> None:
        """Raise what an error means for everything that we do on this server, if it means that."""
        for command, reply in zip(commands, replies, strict=True):
            if not isinstance(reply, Exception):
                continue
            if _is_denied(reply):
                what = f"{self.address} does not let this user run {_shown(command)}: {said(reply)}"
                raise AccessDenied(f"{what}; the doctor lists all that the user needs", str(command[0])) from reply
            of_server = await self._of_server() if is_unknown_command(reply) else b""
            unsuitable = why_unsuitable(command, reply, of_server, self.address)
            if unsuitable is not None:
                raise unsuitable from reply

    async def _of_server(self) -> bytes:
        """What INFO says of the server itself; nothing where it says nothing."""
        (answer,) = await self.batch([("INFO", "server")], denial_raises=False)
        return answer if isinstance(answer, bytes) else b""


# hiredis packs three times as fast as redis-py's connection does; its type says that a command is one word.
_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # see above


async def exchange(connection: Connection, request: bytes, count: int) -> list[Reply]:
    """Send a request of `count` commands and read their replies.

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
        replies: list[Reply] | None = await connection.read_response(timeout=math.inf)
    except redis_errors.ConnectionError as exc:
        if type(exc) is not redis_errors.ConnectionError:  # it is a reply: LOADING, NOAUTH, …
            raise
        said = _last_words(parser.heard + bytes(replies_ahead._buffer))  # noqa: SLF001 # asyncio has no other name for it
        if said is None:
            raise
        raise redis_errors.ConnectionError(f"the server closed the connection and said: {said}") from exc
    except redis_errors.ResponseError as exc:  # not in the array: it was said before we said anything
        await connection.disconnect(nowait=True)
        raise redis_errors.ConnectionError(f"the server said, before it was asked: {exc}") from exc
    if replies is None:  # what redis-py makes of ETIMEDOUT, which the system may say of any connection
        await connection.disconnect(nowait=True)
        raise redis_errors.ConnectionError("the connection has timed out")
    for reply in replies if _any_errors(replies) else ():
        if isinstance(reply, redis_errors.ConnectionError):  # LOADING, NOAUTH, …: this connection is of no use
            await connection.disconnect(nowait=True)
            raise reply
    return replies


def _last_words(heard: bytes) -> str | None:
    """The error that a server sent before it closed the connection, such as that it has too many clients."""
    found = _LAST_ERROR.search(heard)
    return None if found is None else readable(found[1])


_LAST_ERROR = re.compile(rb"(?:^|\n)-([^\r\n]+)\r\n(?:\*\d+\r\n)?$")  # the head of an array may be ours


def _any_lead_elsewhere(replies: Sequence[Reply]) -> bool:
    """Whether any reply, or any of an EXEC, says that this is the wrong node, or a server that is going away."""
    return any(
        error_code(reply) in _ELSEWHERE
        for some in (replies, *(reply for reply in replies if isinstance(reply, list)))
        if _any_errors(some)
        for reply in some
        if isinstance(reply, Exception)
    )


# A replica refuses writes, and a cluster's node those for slots it cannot serve (https://redis.io/docs/latest/operate/
# oss_and_stack/reference/cluster-spec/). A server that is loading was just started: perhaps another is the primary now.
_ELSEWHERE = frozenset({"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"})


def _any_errors(replies: Sequence[Reply]) -> bool:
    """Whether any reply is an error. Many replies have few types, so the types are looked at, each once."""
    return any(issubclass(kind, Exception) for kind in set(map(type, replies)))


def _is_denied(exc: Exception) -> bool:
    """Whether the server refused because a permission is missing; of a script it may say so without the code NOPERM."""
    return isinstance(exc, redis_errors.NoPermissionError) or _DENIED_IN_SCRIPT.search(str(exc)) is not None


_DENIED_IN_SCRIPT = re.compile("NOPERM|ACL failure in script|The user executing the script can't")  # Redis 6, Valkey, 7


def _shown(command: Command) -> str:
    """The name of a command, and its key where it has one."""
    texts = (readable(word) if isinstance(word, bytes) else str(word) for word in command[:4])
    words = [shortened(text, NAME_CHARS) for text in texts]
    if words[0] == "EVAL":
        return f"EVAL on {words[3]!r}"
    return f"{words[0]} on {words[1]!r}" if len(words) > 1 else words[0]
