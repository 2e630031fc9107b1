"""A faulty network: a TCP proxy in front of a server that delays, cuts, refuses and rewrites what passes through it.

It runs in a thread of its own, so tests may be coroutines, plain functions or drivers of other processes; every method
and attribute may be used from any thread. It understands RESP well enough to pair each reply with its command:

    with Proxy(server.port) as proxy:
        proxy.when("XACK", Fault.CUT_AFTER)                     # the first XACK takes effect, its reply is lost
        proxy.when("HSET", ErrorReply("OOM no memory"), skip=9)  # the tenth HSET is answered with an error
        ...
        assert proxy.count("XACK") == 2

Not understood, as nothing here needs it: inline commands, and commands with no reply or several (SUBSCRIBE, MONITOR).
"""

import asyncio
import enum
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from dev.resp import Frame, Framer
from dev.server import HOST, held_port

Command = list[bytes]
T = TypeVar("T")

CHUNK_SIZE = 256 * 1024
LIMITED_CHUNK_SIZE = 16 * 1024  # what passes at once where the link is slow


class Fault(enum.Enum):
    """What may happen to a command. Commands before it, in the same pipeline too, are always executed and answered."""

    CUT_BEFORE = "it is not executed, and the connection is closed"
    CUT_AFTER = "it is executed, and the connection is closed instead of answering; later commands are not executed"
    DROP_REPLY = "it and all later commands of the connection are executed, and none is answered"
    HANG = "it and all later commands of the connection are neither executed nor answered"


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The command is not executed, and answered with this error (``ErrorReply("OOM no memory")``).

    Inside MULTI it makes EXEC fail, as an error does that a server finds while queueing; in EXEC's own place it ends
    the transaction, and nothing of it is executed.
    """

    text: str


Action = Fault | ErrorReply | Callable[[], object]


@dataclass(slots=True)
class Rule:
    """When something happens to a command, and how often it has.

    Attributes:
        may_miss: whether it is all right if it happens to no command.
        hits: how many commands it has happened to.
        reached: set at the first of them.
    """

    name: bytes
    action: Action
    args: Callable[[Command], bool]
    times: int | None
    skip: int
    may_miss: bool
    hits: int = 0
    reached: threading.Event = field(default_factory=threading.Event)

    def applies(self, command: Command) -> bool:
        """Whether it happens to this command; counts."""
        if command[0].upper() != self.name or self.hits == self.times or not self.args(command[1:]):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        self.reached.set()
        return True


class NeverHappened(AssertionError):
    """A fault was prepared that happened to no command: what was to be tried with it was not tried."""


class Proxy:
    """A proxy on a free port of loopback, in front of a server's port. Used as a context manager.

    At its end each rule must have happened to a command, or `NeverHappened` is raised; but not one that may miss.

    Args:
        server_port: the server's port on loopback.
        may_miss: lets every rule miss: for faults that are prepared at random.
        tls: makes the proxy speak TLS to clients; the server is always spoken to plainly.

    Attributes:
        port: where it listens.
        request_delay_sec, reply_delay_sec: latency of each direction; it delays, it does not throttle.
        bytes_per_sec: how much passes in each direction, on all connections together; 0: as much as there is.
        login_lasts_sec: tells of a password or token how long a connection that has signed in with it lasts; then it is
            closed, unless it has signed in again. Azure does so with Entra tokens. None: for ever.
        expired: how many connections were closed for that.
        commands: all commands that clients have sent, in order, name and arguments as sent.
        round_trips: how often a client sent something after an answer (or first of all). Where one batch is larger than
            a socket's buffer, its first answers may overtake its end: set a reply delay for an exact count.
        bytes_there, bytes_back: of all commands that clients have sent, and of all answers that came from the server.
    """

    def __init__(self, server_port: int, *, tls: ssl.SSLContext | None = None, may_miss: bool = False) -> None:
        self.server_port = server_port
        self._may_miss = may_miss
        self._place = held_port()
        self.port = self._place.getsockname()[1]
        self.request_delay_sec = 0.0
        self.reply_delay_sec = 0.0
        self.bytes_per_sec = 0.0
        self.there, self.back = _Link(self), _Link(self)
        self.login_lasts_sec: Callable[[bytes], float] | None = None
        self.expired = 0
        self.commands: list[Command] = []
        self.round_trips = 0
        self.bytes_there, self.bytes_back = 0, 0
        self._tls = tls
        self._rules: list[Rule] = []
        self._missed: list[Rule] = []  # cleared before they happened
        self._connections: set[_Connection] = set()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dev.proxy", daemon=True)

    def when(
        self,
        name: str,
        action: Action,
        *,
        args: Callable[[Command], bool] = lambda _: True,
        times: int | None = 1,
        skip: int = 0,
        may_miss: bool = False,
    ) -> Rule:
        """Let something happen to commands of a name.

        Args:
            name: the command's name, in any case.
            action: a Fault, an ErrorReply, or a function to be called (in the proxy's thread) before the command is
                forwarded, such as ``server.kill``.
            args: tells from its arguments whether a command is meant.
            times: to how many commands it happens; None for all.
            skip: how many are let through before.
            may_miss: whether it is all right if it happens to no command.

        Returns:
            The rule, which counts its hits. Of several rules for one command the first made wins.
        """
        rule = Rule(name.upper().encode(), action, args, times, skip, may_miss or self._may_miss)
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """End all rules."""
        self._missed += (rule for rule in self._rules if not (rule.hits or rule.may_miss))
        self._rules.clear()

    def forget(self) -> None:
        """Forget what has been recorded: commands, round trips and bytes."""
        self.commands.clear()
        self.round_trips = 0
        self.bytes_there, self.bytes_back = 0, 0

    def count(self, name: str) -> int:
        """How many commands of this name clients have sent."""
        return sum(command[0].upper() == name.upper().encode() for command in list(self.commands))

    def cut(self) -> None:
        """Close all connections now, whatever is under way."""
        self._call(self._cut())

    def mute(self) -> None:
        """Drop every reply from now on, on the connections there are: commands take effect, and nobody hears of it."""
        self._call(self._mute())

    def refuse(self) -> None:
        """Refuse new connections; those there are stay."""
        self._call(self._unlisten())

    def accept(self) -> None:
        """Accept connections again, on the same port."""
        self._call(self._listen())

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.close()
        self.clear()
        if self._missed and kind is None:
            rules = ", ".join(f"{rule.action} at {rule.name.decode()}" for rule in self._missed)
            raise NeverHappened(f"prepared, and never happened: {rules}")

    def action_for(self, command: Command) -> Action | None:
        """What is to happen to this command, if anything."""
        return next((rule.action for rule in list(self._rules) if rule.applies(command)), None)

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(
                self._serve, HOST, self.port, limit=LIMITED_CHUNK_SIZE, reuse_address=True
            )

    async def _unlisten(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _cut(self) -> None:
        for connection in self._connections:
            connection.cut()

    async def _mute(self) -> None:
        for connection in self._connections:
            connection.is_answering = False

    async def _close(self) -> None:
        await self._unlisten()
        while serving := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.sleep(0)  # a task that is cancelled before it has begun cannot close its connection
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._tls is not None:
                await writer.start_tls(self._tls)
            server = await asyncio.open_connection(HOST, self.server_port)
        except (OSError, asyncio.CancelledError):  # a server that is down is, to our client, a closed connection
            writer.transport.abort()
            return
        if self.bytes_per_sec:  # what the system takes in for us has passed the link, as far as the client can see
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LIMITED_CHUNK_SIZE)
        connection = _Connection(self, (reader, writer), server)
        self._connections.add(connection)
        try:
            await connection.run()
        except asyncio.CancelledError:  # only our own close() cancels
            pass
        finally:
            self._connections.discard(connection)
            connection.cut()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_UNKNOWN_COMMAND = b"*1\r\n$17\r\nREPLACED-BY-PROXY\r\n"
_REPLACED = {b"EXEC": b"*1\r\n$7\r\nDISCARD\r\n"}  # what leaves the connection as the command would have


class _Link:
    """One direction of the network, which all connections share: one piece passes after another."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._free_at = 0.0

    @property
    def chunk_size(self) -> int:
        """How much is to pass at once."""
        return LIMITED_CHUNK_SIZE if self._proxy.bytes_per_sec else CHUNK_SIZE

    async def carry(self, size: int) -> None:
        """Wait until so many bytes have passed."""
        if self._proxy.bytes_per_sec:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self._proxy.bytes_per_sec
            await asyncio.sleep(self._free_at - now)


class _Connection:
    """One client's connection, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, client: Streams, server: Streams) -> None:
        self._proxy = proxy
        self._client_reader, self._client_writer = client
        self._server_reader, self._server_writer = server
        self._to_client = _Delayed(self._client_writer, proxy.back, self._replied)
        self._to_server = _Delayed(self._server_writer)
        self._awaited: deque[Fault | ErrorReply | None] = deque()  # one for each reply that the server owes
        self._is_new_round_trip = True
        self._is_forwarding = True
        self._expiry: asyncio.TimerHandle | None = None
        self.is_answering = True

    async def run(self) -> None:
        """Pass on what either side sends, until the client has been told everything it is to be told."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forward_requests())
            tasks.create_task(self._to_server.run())
            tasks.create_task(self._forward_replies())
            await self._to_client.run()
            self.cut()  # ends the others

    def cut(self) -> None:
        """Close both connections at once."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._client_writer.transport.abort()
        self._server_writer.transport.abort()

    async def _forward_requests(self) -> None:
        async for frame in _frames(self._client_reader, self._proxy.there):
            self._proxy.round_trips += self._is_new_round_trip
            self._is_new_round_trip = False
            self._proxy.commands.append(frame.strings)
            self._proxy.bytes_there += len(frame.data)
            if self._is_forwarding:
                self._forward(frame)
        self._to_server.send(None, 0)

    def _expire_after(self, seconds: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._proxy.expired += 1
        self.cut()

    def _forward(self, frame: Frame) -> None:
        if self._proxy.login_lasts_sec is not None and frame.strings[0].upper() == b"AUTH":
            self._expire_after(self._proxy.login_lasts_sec(frame.strings[-1]))
        fault = self._proxy.action_for(frame.strings)
        if callable(fault):
            fault()
            fault = None
        if fault in (Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.HANG):
            self._is_forwarding = False
        if fault is Fault.HANG:
            return
        # What is not to be executed is replaced, so that a reply comes at its place among the others (and, in a MULTI,
        # so that the server refuses the transaction): that is when the error is due, or the cut.
        is_replaced = fault is Fault.CUT_BEFORE or isinstance(fault, ErrorReply)
        self._awaited.append(fault)
        data = _REPLACED.get(frame.strings[0].upper(), _UNKNOWN_COMMAND) if is_replaced else frame.data
        self._to_server.send(data, self._proxy.request_delay_sec)

    async def _forward_replies(self) -> None:
        async for frame in _frames(self._server_reader):
            self._proxy.bytes_back += len(frame.data)
            match self._fault_for(frame):
                case Fault.CUT_BEFORE | Fault.CUT_AFTER:
                    break
                case Fault.DROP_REPLY:
                    self.is_answering = False
                case ErrorReply(text):
                    self._answer(f"-{text}\r\n".encode())
                case _:
                    self._answer(frame.data)
        self._to_client.send(None, self._proxy.reply_delay_sec)

    def _fault_for(self, reply: Frame) -> Fault | ErrorReply | None:
        """What is to become of a reply; nothing, where nobody asked for it (RESP3's pushes, a refused connection)."""
        if reply.data.startswith(b">") or not self._awaited:
            return None
        return self._awaited.popleft()

    def _answer(self, reply: bytes) -> None:
        if self.is_answering:
            self._to_client.send(reply, self._proxy.reply_delay_sec)

    def _replied(self) -> None:
        self._is_new_round_trip = True


class _Delayed:
    """One direction of a connection: everything goes out in order, each piece when its delay is over."""

    def __init__(
        self, writer: asyncio.StreamWriter, link: _Link | None = None, sent: Callable[[], None] = lambda: None
    ) -> None:
        self._writer = writer
        self._link = link
        if writer.get_extra_info("ssl_object") is None:  # asyncio's TLS never resumes writing with a limit of 0
            writer.transport.set_write_buffer_limits(0)  # drained means sent
        self._sent = sent
        self._queue: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue()

    def send(self, data: bytes | None, delay_sec: float) -> None:
        """Send this in so many seconds; None: nothing more will come."""
        self._queue.put_nowait((time.monotonic() + delay_sec, data))

    async def run(self) -> None:
        """Send until nothing more will come or the connection is closed."""
        with suppress(OSError):
            while True:
                due, data = await self._queue.get()
                if (wait_sec := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait_sec)
                if data is None:
                    break
                self._sent()
                size = self._link.chunk_size if self._link else len(data)  # it may change meanwhile
                for at in range(0, len(data), size):
                    await self._write(data[at : at + size])
            if self._writer.can_write_eof():
                self._writer.write_eof()

    async def _write(self, data: bytes) -> None:
        if self._link:
            await self._link.carry(len(data))
        self._writer.write(data)
        await self._writer.drain()


async def _frames(reader: asyncio.StreamReader, link: _Link | None = None) -> AsyncIterator[Frame]:
    """Whole requests or replies as they arrive, until the other side closes the connection."""
    framer = Framer()
    with suppress(OSError):
        while chunk := await reader.read(link.chunk_size if link else CHUNK_SIZE):
            if link:
                await link.carry(len(chunk))
            for frame in framer.feed(chunk):
                yield frame


def redis_6_0_commands(proxy: Proxy) -> None:
    """Make a newer server refuse what Redis 6.0 does not know, in its words. Scripts are not looked into."""
    syntax, unknown = ErrorReply("ERR syntax error"), ErrorReply("ERR unknown command")
    bad_id = ErrorReply("ERR Invalid stream ID specified as stream command argument")

    def refuse(name: str, reply: ErrorReply, args: Callable[[Command], bool] = lambda _: True) -> None:
        proxy.when(name, reply, args=args, times=None, may_miss=True)

    for name in _NEWER_COMMANDS:
        refuse(name, unknown)
    refuse("XPENDING", syntax, _has("IDLE", after=2))
    for name in ("XRANGE", "XREVRANGE", "XPENDING"):
        refuse(name, bad_id, lambda args: any(arg.startswith(b"(") for arg in args[1:]))
    refuse("XADD", bad_id, _has("NOMKSTREAM", "MINID", after=1, until=2))
    refuse("XTRIM", syntax, _has("MINID", after=1))
    refuse("XGROUP", ErrorReply("ERR Unknown subcommand"), _has("CREATECONSUMER", until=1))
    refuse("SET", syntax, _has("GET", "EXAT", "PXAT", after=2))
    refuse("EXPIRE", ErrorReply("ERR wrong number of arguments for 'expire' command"), lambda args: bool(args[2:]))
    refuse("ZADD", ErrorReply("ERR value is not a valid float"), _has("GT", "LT", after=1, until=2))
    refuse("ZRANGE", syntax, _has("BYSCORE", "BYLEX", "REV", "LIMIT", after=3))


_NEWER_COMMANDS = """BLMOVE BLMPOP COPY EVAL_RO EVALSHA_RO EXPIRETIME FCALL FCALL_RO FUNCTION GETDEL GETEX HGETDEL
HGETEX HRANDFIELD HSETEX LMOVE LMPOP PEXPIRETIME SMISMEMBER XACKDEL XAUTOCLAIM XDELEX XNACK ZDIFF ZINTER ZMPOP ZMSCORE
ZRANDMEMBER ZRANGESTORE ZUNION""".split()


def _has(*words: str, after: int = 0, until: int | None = None) -> Callable[[Command], bool]:
    """Whether one of these words is among the arguments, those looked at that are options."""
    options = {word.encode() for word in words}
    return lambda args: any(arg.upper() in options for arg in args[after:until])
