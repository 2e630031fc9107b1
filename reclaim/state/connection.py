"""Owns how the app talks to Redis: many commands at once, questions with their answers, and plain words for errors."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, overload

from redis import exceptions as redis_errors

from reclaim.bounded import NAME_CHARS, shortened
from reclaim.entry import readable
from reclaim.errors import AccessDenied, said
from reclaim.settings import Settings
from reclaim.state.ask import Ask, Command, Reply, checked, raised
from reclaim.state.node import TIMEOUT_SEC, Node, any_errors
from reclaim.state.packing import pack
from reclaim.state.unsuitable import is_redirection, is_unknown_command, why_unsuitable
from reclaim.verdicts import error_code

if TYPE_CHECKING:
    from reclaim.state.cluster import Cluster
    from reclaim.state.entra import Tokens

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")


def connect(settings: Settings, timeout_sec: float = TIMEOUT_SEC) -> "Server":
    """Make a server to talk to, inside the event loop that uses it; nothing is sent before the first batch."""
    tokens = _tokens(settings)
    if settings.cluster:
        from reclaim.state.cluster import Cluster  # noqa: PLC0415  # every cold start would pay for it

        home = settings.targets[0].keys.stream if settings.targets else b""
        cluster = Cluster(settings, home, timeout_sec, tokens)
        return Server(settings, cluster, cluster)
    return Server(settings, Node(settings, timeout_sec, tokens=tokens))


def _tokens(settings: Settings) -> "Tokens | None":
    """The tokens to sign in with (REDIS_AUTH=entra), one for all connections; None with a password."""
    if settings.auth != "entra":
        return None
    from reclaim.state.entra import Identity, Tokens  # noqa: PLC0415  # every cold start would pay for it

    return Tokens(Identity(settings.entra_client_id))


class Server:
    """Redis, and how to send it commands: in batches, replies as bytes.

    Attributes:
        cluster: the way to its nodes, where it is a cluster; else None.
        waits: whether stores may have to wait for replicas.
        entra_client_id: of the identity whose tokens are used; None: the system-assigned one.
    """

    def __init__(self, settings: Settings, link: "Node | Cluster", cluster: "Cluster | None" = None) -> None:
        """Use `connect`."""
        self.address = settings.address
        self.entra_client_id = settings.entra_client_id
        self.cluster = cluster
        self.waits = settings.cluster if isinstance(settings.store_replicas, str) else settings.store_replicas > 0
        self._link = link

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
    async def ask(
        self, a: Ask[A], b: Ask[B], c: Ask[C], d: Ask[D], e: Ask[E], f: Ask[F], g: Ask[G], /
    ) -> tuple[A, B, C, D, E, F, G]: ...
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
        answered = await self.batch(commands, denial_raises=False) if commands else []
        if any_errors(answered):
            _name_keys(commands, answered)
        replies = iter(answered)
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

    async def batch(
        self, commands: Sequence[Command], *, denial_raises: bool = True, stores: bool = False
    ) -> list[Reply]:
        """Send all commands at once, and return one reply for each; a command's error stands in its reply's place.

        If the batch `stores` what an acknowledgement will rely on, each reply waits for the replicas (STORE_REPLICAS).
        Where they have it too late, `NotReplicated` stands in its place. Of a cluster some nodes may fail and others
        answer: then what a node failed with stands in the places of the commands that went to it. And where this user
        may store under some keys only, an AccessDenied stands in the places of the others.

        Raises:
            Unreachable: no connection could be made.
            NotTrusted: the server's certificate is not trusted.
            AccessDenied: wrong user or password, or (with `denial_raises`) a command that this user may not run.
            Unsuitable: it is not spoken to rightly (TLS), or (with `denial_raises`) nothing of ours can be done there.
            redis.exceptions.ConnectionError, TimeoutError: the connection broke, or the server was silent; the
                commands may or may not have taken effect.
        """
        replies = await self._link.send(commands, stores=stores)
        if denial_raises and any_errors(replies):
            if stores and any(not isinstance(reply, Exception) for reply in replies):
                return [await self._meaning(*pair) or pair[1] for pair in zip(commands, replies, strict=True)]
            await self._check_usable(commands, replies)
        return replies

    async def ranges(self, stream: bytes, runs: Sequence[Sequence[bytes]]) -> list[Reply]:
        """One reply for each run of ascending IDs: that of an XRANGE from its first to its last, as many as it has IDs.

        It does what `batch` does; a page's commands are alike, and are packed here in half the time.

        Raises:
            redis.exceptions.ResponseError: one of them was refused; and whatever `batch` raises.
        """
        head = pack(("XRANGE", stream, b"", b"")).removesuffix(b"$0\r\n\r\n" * 2)
        request = [
            b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (head, len(run[0]), run[0], len(run[0]), run[0])
            if len(run) == 1
            else pack(("XRANGE", stream, run[0], run[-1], "COUNT", len(run)))
            for run in runs
        ]
        replies = await self._link.send_each(stream, request)
        if any_errors(replies):
            await self._check_usable([("XRANGE", stream)] * len(runs), replies)
            return raised(replies)
        return replies

    async def transaction(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands as one MULTI; return one reply for each.

        Raises:
            redis.exceptions.ResponseError: one was refused when queued, so none was run; and whatever `batch` raises.
        """
        replies = await self._link.transaction(commands)
        await self._check_usable([("MULTI",), *commands, ("EXEC",)], replies)
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
        return await self._link.rehearse(commands)

    async def name_refused(self, commands: Sequence[Command]) -> None:
        """Raise what it means that the server would refuse one of these commands, if it would.

        For the error of a script: which command it was refused is not told by every server. Nor can a user ask who may
        not run MULTI: then it is as if none were refused, and the script's own error is all that is known.

        Raises:
            AccessDenied, Unsuitable: the server would refuse one; and whatever `rehearse` raises.
        """
        try:
            replies = await self.rehearse(commands)
        except redis_errors.NoPermissionError:
            return
        for command, reply in zip(commands, replies, strict=True):
            await self._check_usable([command], [reply])

    async def nodes(self) -> list[str]:
        """The names of the servers that keep keys: one, or the primaries of a cluster. It raises as `batch` does."""
        return [""] if self.cluster is None else sorted(map(str, await self.cluster.primaries()))

    async def batch_at(self, node: str, commands: Sequence[Command]) -> list[Reply]:
        """Do what `batch` does, on the server of that name (`nodes`); for commands that have no key.

        Raises:
            redis.exceptions.ConnectionError: the cluster has no such node any more; and whatever `batch` raises.
        """
        replies = await (self._link.send(commands) if self.cluster is None else self.cluster.send_to(node, commands))
        if any_errors(replies):
            await self._check_usable(commands, replies)
        return replies

    async def tls_version(self) -> str | None:
        """The version of TLS that the connection uses (``TLSv1.3``); None without TLS.

        Raises:
            Unreachable, NotTrusted, AccessDenied: as `batch` does.
        """
        return await self._link.tls_version()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._link.aclose()

    async def _check_usable(self, commands: Sequence[Command], replies: Sequence[Reply]) -> None:
        """Raise what an error means for everything that we do on this server, if it means that."""
        for command, reply in zip(commands, replies, strict=True):
            meaning = await self._meaning(command, reply)
            if meaning is not None:
                raise meaning

    async def _meaning(self, command: Command, reply: Reply) -> Exception | None:
        """What the reply to a command means for everything that we do on this server; None if it is no such error."""
        if not isinstance(reply, Exception):
            return None
        meaning: Exception | None = None
        if _is_denied(reply):
            what = f"{self.address} does not let this user run {_shown(command)}: {said(reply)}"
            meaning = AccessDenied(f"{what}; the doctor lists all that the user needs", str(command[0]))
        elif self.cluster is None or not is_redirection(reply):  # a redirection that lasted too long will pass
            of_server = await self._of_server() if is_unknown_command(reply) else b""
            meaning = why_unsuitable(command, reply, of_server, self.address)
        if meaning is not None:
            meaning.__cause__ = reply
        return meaning

    async def _of_server(self) -> bytes:
        """What INFO says of the server itself; nothing where it says nothing."""
        (answer,) = await self.batch([("INFO", "server")], denial_raises=False)
        return answer if isinstance(answer, bytes) else b""


def _name_keys(commands: Sequence[Command], replies: Sequence[Reply]) -> None:
    """Let errors about what a key holds say which key that is: the server does not."""
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, redis_errors.ResponseError) and error_code(reply) == "WRONGTYPE":
            reply.args = (f"{reply} ({_shown(command)})",)


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
