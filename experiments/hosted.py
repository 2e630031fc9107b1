"""Owns the app under experiment: function_app.py in the stand-in host, in a process that can be killed."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dev.child import Child

ROOT = Path(__file__).parents[1]
START_SEC = 30.0


class Hosted:
    """The app in a process of its own; it may be started again after its end."""

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        """Make it; nothing is started yet. `env` is the whole environment, `log` gets what the process prints."""
        self._env = {**env, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._child = Child(log)

    def start(self) -> None:
        """Start it, and wait until it serves; the timer ticks from then on.

        Raises:
            RuntimeError: it does not start; the message ends with what it printed.
        """
        self._child.start([sys.executable, "-m", "dev.host", "--port", "0"], self._env)
        if not self._child.says("/dashboard", START_SEC):
            raise RuntimeError(f"the app did not start: {self._child.log[-2000:]}")

    @property
    def base(self) -> str:
        """Its address, as in ``http://127.0.0.1:7071``; it has printed that."""
        found: str = re.findall(r"(http://\S+)/api/dashboard", self._child.log)[-1]
        return found

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._child.is_running

    @property
    def log(self) -> str:
        """What it has printed since it was started last."""
        return self._child.log

    def memory_mb(self) -> float:
        """The memory that it has now, without what is swapped out."""
        told = subprocess.run(
            ["/bin/ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, text=True, check=False
        )
        return int(told.stdout.strip() or 0) / 1024

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._child.end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator would (SIGTERM)."""
        self._child.end()


def bare_env() -> dict[str, str]:
    """Our environment without any setting of the app."""
    keep = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")
    return {name: value for name, value in os.environ.items() if name in keep}
