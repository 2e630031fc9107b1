"""A storage account on loopback: Azurite, Microsoft's emulator, of which only the queues are started.

`npm --prefix dev/azurite ci` installs it; `make azurite` does that.
"""

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from dev.queues import azurite_connection
from dev.server import DIE_WITH_PARENT, HOST, STARTER, STOP_TIMEOUT_SEC, ServerError, free_port

PROGRAM = Path(__file__).parent / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "queue" / "main.js"
START_TIMEOUT_SEC = 60.0


def is_installed() -> bool:
    """Whether Azurite can run here."""
    return PROGRAM.exists() and shutil.which("node") is not None


class Storage:
    """One account, empty, on a free port of loopback. Used as a context manager it is started, and stopped at the end.

    Attributes:
        port: where its queues are.
    """

    def __init__(self) -> None:
        self.port = 0
        self._directory = Path(tempfile.mkdtemp(prefix="azurite-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def connection(self) -> str:
        """The connection string, as AzureWebJobsStorage takes it."""
        return azurite_connection(self.port)

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            ServerError: it is not installed, or did not start.
        """
        if not is_installed():
            raise ServerError("Azurite is not installed here: `make azurite` installs it, with npm")
        self.port = free_port()
        self._process = STARTER.submit(self._popen).result()
        deadline = time.monotonic() + START_TIMEOUT_SEC
        while "successfully listens" not in self._log:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"Azurite did not start: {self._log[-2000:]}")
            time.sleep(0.02)

    def close(self) -> None:
        """Stop it and remove what it kept."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_SEC)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _log(self) -> str:
        path = self._directory / "azurite.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _popen(self) -> subprocess.Popen[bytes]:
        where = ["--queueHost", HOST, "--queuePort", str(self.port)]
        # It would tell Microsoft of its use, and refuses clients that are newer than itself, unless told otherwise.
        options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
        with (self._directory / "azurite.log").open("wb") as log:
            return subprocess.Popen(
                [*DIE_WITH_PARENT, "node", str(PROGRAM), *where, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
