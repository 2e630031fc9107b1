"""A storage account on loopback: Azurite, Microsoft's emulator, of which only the queues are started.

`npm --prefix dev/azurite ci` installs it; `make azurite` does that.
"""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from dev.child import Child
from dev.queues import azurite_connection
from dev.server import HOST, ServerError, free_port

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
        self._child = Child(self._directory / "azurite.log")

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
        self._child.start(self._command())
        if not self._child.says("successfully listens", START_TIMEOUT_SEC):
            raise ServerError(f"Azurite did not start: {self._child.log[-2000:]}")

    def close(self) -> None:
        """Stop it and remove what it kept."""
        self._child.end()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _command(self) -> list[str]:
        where = ["--queueHost", HOST, "--queuePort", str(self.port)]
        # It would tell Microsoft of its use, and refuses clients that are newer than itself, unless told otherwise.
        options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
        return ["node", str(PROGRAM), *where, *options]
