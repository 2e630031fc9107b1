"""A real PostgreSQL on loopback, as a child process that is gone when we are.

PostgreSQL refuses to run as root. Where we are root, it runs as the user ``postgres`` that Debian's package makes.
"""

import atexit
import os
import shutil
import signal
import tempfile
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from dev.child import Child
from dev.server import HOST, held_port

START_TIMEOUT_SEC = 30.0
USER = "postgres"


class PostgresError(Exception):
    """A PostgreSQL that did not start; the message ends with what it printed."""


@cache
def programs() -> Path | None:
    """The folder with initdb and postgres, the newest release first; None where PostgreSQL is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    found = shutil.which("initdb")
    candidates = [*folders, *([Path(found).parent] if found else [])]
    return next((path for path in candidates if (path / "initdb").exists() and (path / "postgres").exists()), None)


class Postgres:
    """One PostgreSQL on a free port of loopback, with a directory of its own.

    Used as a context manager it is started, and at the end stopped and its directory removed.

    Args:
        config: settings of the server: ``Postgres(max_connections="8")``.

    Attributes:
        port: the port; it stays the same from start to start. 0 before the first.
    """

    def __init__(self, **config: str) -> None:
        folder = programs()
        if folder is None:
            raise PostgresError("PostgreSQL is not installed here: apt-get install postgresql")
        self.port = 0
        self._programs = folder
        self._config = {"listen_addresses": HOST, "unix_socket_directories": "", "fsync": "off", **config}
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._child = Child(self._directory / "log", USER if os.geteuid() == 0 else None)
        self._place = held_port()
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """What psycopg connects to."""
        return f"host={HOST} port={self.port} user={USER} dbname=postgres connect_timeout=2"

    @property
    def log(self) -> str:
        """What the server has printed since it was started last."""
        return self._child.log

    def start(self) -> None:
        """Start it and wait until it serves. After a crash it waits for the old server's processes to be gone.

        Raises:
            PostgresError: it did not start.
        """
        if not self.port:
            self.port = self._place.getsockname()[1]
            if os.geteuid() == 0:
                shutil.chown(self._directory, USER, USER)
            self._child.run(self._initialising())
        deadline = time.monotonic() + START_TIMEOUT_SEC
        while time.monotonic() < deadline:
            if not self._child.is_running:
                self._child.start(self._serving())
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise PostgresError(f"PostgreSQL did not start: {self.log[-2000:]}")

    def stop(self) -> None:
        """End it as an operator would who cannot wait (a fast shutdown): sessions are ended, their work is undone."""
        self._child.end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._child.end(signal.SIGKILL)

    def close(self) -> None:
        """Stop it, and remove its directory."""
        self.stop()
        self._place.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _initialising(self) -> list[str]:
        words = [str(self._programs / "initdb"), "-D", str(self._directory / "data"), "-U", USER, "--auth=trust"]
        return [*words, "--no-locale", "-E", "UTF8", "-N"]

    def _serving(self) -> list[str]:
        config = [word for name, value in self._config.items() for word in ("-c", f"{name}={value}")]
        program, data = str(self._programs / "postgres"), str(self._directory / "data")
        return [program, "-D", data, "-p", str(self.port), *config]
