"""Where the machine works: one server of a kind, the faulty networks in front of it, and processes to be killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from dev.proxy import Proxy
from reclaim.settings import Target
from reclaim.state.connection import Server
from tests.support import raw_client

T = TypeVar("T")

QUIET_SEC = 5.0


def wait_at_most(server: Server, seconds: float) -> None:
    """How long a server may be silent from now on, each node of a cluster too."""
    links: list[Any] = [server._link]
    if server.cluster is not None:
        links += server.cluster._topology._nodes.values()
    for link in links:
        link._timeout_sec = seconds


class Place:
    """A server of a kind and all that stands around it. Used as a context manager."""

    def __init__(self, kind: str, server_port: int, *, is_cluster: bool = False) -> None:
        self.kind = kind
        self.is_cluster = is_cluster  # a cluster of one node, which announces the address of a proxy
        self.client = raw_client(server_port)
        self.server_port = server_port
        self.proxy = Proxy(server_port, may_miss=True)
        self.deadly = Proxy(server_port, may_miss=True)  # the one before the processes that are killed
        self.loop = asyncio.new_event_loop()
        self.zygote = Zygote()
        self.count: Counter[str] = Counter()  # what happened, and how often

    def __enter__(self) -> Self:
        self.proxy.__enter__()
        self.deadly.__enter__()
        self.announce(self.proxy)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.zygote.close()
        self.loop.close()
        self.deadly.__exit__(kind, error, trace)
        self.proxy.__exit__(kind, error, trace)
        self.client.close()

    def announce(self, proxy: Proxy) -> None:
        """Let clients of the cluster come through this proxy."""
        if self.is_cluster:
            self.client.execute_command("CONFIG", "SET", "cluster-announce-port", proxy.port)

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns."""
        return self.loop.run_until_complete(coroutine)

    def quiet(self, proxy: Proxy) -> None:
        """Wait until nothing is under way through a proxy: what clients sent has been executed, or never will be."""
        deadline = time.monotonic() + QUIET_SEC
        while proxy._connections and time.monotonic() < deadline:
            time.sleep(0.0005)
        assert not proxy._connections


@dataclass
class Zygote:
    """The program that makes runs to be killed, started when it is first needed."""

    _process: subprocess.Popen[str] | None = None
    _pid: int = 0
    _started: threading.Event = field(default_factory=threading.Event)

    def run(self, port: int, target: Target, changes: dict[str, object], *, cluster: bool = False) -> int:
        """Have a run made; return how its process ended: 0, or minus the signal that ended it."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        self._started.clear()
        about = {"stream": target.stream, "group": target.group, **changes}
        process.stdin.write(json.dumps({"port": port, "cluster": cluster, "target": about}) + "\n")
        process.stdin.flush()
        self._pid = int(process.stdout.readline())
        self._started.set()
        return int(process.stdout.readline())

    def kill(self) -> None:
        """Kill the process of the run that is under way; from any thread."""
        self._started.wait()
        os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        """End the program."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
