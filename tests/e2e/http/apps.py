"""The app in the stand-in host, as a process of its own, and how to ask it."""

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.support import a_target, env_for

ROOT = Path(__file__).parents[3]
WAIT_SEC = 30.0
KEY, MASTER = "function-key-of-the-tests", "master-key-of-the-tests"

TARGET = a_target(min_idle_ms=1000, max_deliveries=3, circuit_failures=50, circuit_window_sec=20.0)
OTHER = a_target(stream="other", min_idle_ms=1000)


@dataclass(frozen=True, slots=True)
class App:
    """The app in a stand-in host.

    Attributes:
        base: where it serves, as in ``http://127.0.0.1:7071``.
        log: what the host has printed.
        process: the host; None if somebody else has started it.
    """

    base: str
    log: list[str] = field(default_factory=list, repr=False)
    process: "subprocess.Popen[str] | None" = None

    def ask(
        self, method: str, path: str, *, key: str | None = KEY, waits: float = WAIT_SEC, **more: Any
    ) -> httpx2.Response:
        """Send one request; `path` is below ``/api/``."""
        headers = ({} if key is None else {"x-functions-key": key}) | more.pop("headers", {})
        return httpx2.request(method, f"{self.base}/api/{path}", headers=headers, timeout=waits, **more)

    def get(self, path: str, **query: Any) -> Any:
        """What a GET answers."""
        return self._json(self.ask("GET", path, params=query))

    def post(self, path: str, **body: Any) -> Any:
        """What a POST with this body answers."""
        return self._json(self.ask("POST", path, json=body))

    def delete(self, path: str, **query: Any) -> Any:
        """What a DELETE answers."""
        return self._json(self.ask("DELETE", path, params=query))

    def discard(self, **query: Any) -> Any:
        """Discard dead letters, with a name and a reason."""
        return self.delete("dead-letters", **{"who": "ann", "why": "a test", **query})

    @staticmethod
    def _json(response: httpx2.Response) -> Any:
        assert response.status_code == 200, response.text
        return response.json()


def env_of(port: int, **settings: str) -> dict[str, str]:
    """The environment of an app on a server that listens at this port."""

    @dataclass
    class Place:
        port: int

    keys = {"DEV_FUNCTION_KEY": KEY, "DEV_MASTER_KEY": MASTER}
    own = {
        "MAX_DELIVERIES": str(TARGET.max_deliveries),
        "CIRCUIT_FAILURES": str(TARGET.circuit_failures),
        "CIRCUIT_WINDOW_SEC": f"{TARGET.circuit_window_sec:g}",
        "RETRY_MAX_DELAY_SEC": "0.01",
    }
    return env_for(Place(port), TARGET, **own) | keys | settings


@contextmanager
def serving(env: Mapping[str, str]) -> Iterator[App]:
    """The app with these settings, its timer at rest."""
    command = [sys.executable, "-m", "dev.host", "--port", "0", "--no-timers"]
    process = subprocess.Popen(
        command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    lines: queue.Queue[str] = queue.Queue()
    log: list[str] = []
    reader = threading.Thread(target=_read, args=(process, lines, log), daemon=True)
    reader.start()
    try:
        yield App(_address(process, lines, log), log, process)
    finally:
        process.terminate()
        try:
            process.wait(WAIT_SEC)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(WAIT_SEC)


def _read(process: subprocess.Popen[str], lines: "queue.Queue[str]", log: list[str]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            log.append(line)
            lines.put(line)


def _address(process: subprocess.Popen[str], lines: "queue.Queue[str]", log: list[str]) -> str:
    deadline = time.monotonic() + WAIT_SEC
    while time.monotonic() < deadline:
        try:
            line = lines.get(timeout=0.2).strip()
        except queue.Empty:
            assert process.poll() is None, "".join(log)
            continue
        if line.startswith("http://") and line.endswith("/api/dashboard"):
            return line.removesuffix("/api/dashboard")
    raise AssertionError("".join(log))
