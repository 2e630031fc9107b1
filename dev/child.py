"""A program that runs beside us, writes into a log, and is gone when we are."""

import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STOP_TIMEOUT_SEC = 20.0

# Linux ends a child at its parent's death if asked to (prctl's PR_SET_PDEATHSIG; setpriv asks, and becomes the child).
# The parent is the thread that started the child: so one thread starts all of them, and lives as long as Python does.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dev.child")
_WITH_PARENT = ("--pdeathsig", "KILL")
_HAS_SETPRIV = sys.platform == "linux" and shutil.which("setpriv") is not None


class Child:
    """One program, which may be started again after it has ended."""

    def __init__(self, log: Path, user: str | None = None) -> None:
        """Make it; nothing is started yet.

        Args:
            log: the file that gets what it prints.
            user: as whom it runs; None: as we do.
        """
        self._log = log
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def was_started(self) -> bool:
        """Whether it was started, and not ended by us since."""
        return self._process is not None

    def processor_sec(self) -> float:
        """How many seconds of the processor it has had, as Linux counts them; nan where nobody tells.

        https://www.kernel.org/doc/html/latest/scheduler/sched-stats.html
        """
        tasks = Path(f"/proc/{self._process.pid}/task") if self._process is not None else Path()
        try:
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
        except (OSError, IndexError):
            return math.nan

    @property
    def pid(self) -> int:
        """Its process ID; 0 where it was not started."""
        return self._process.pid if self._process is not None else 0

    def start(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start it, with a new log; its environment is ours unless another one is given."""
        self._process = _STARTER.submit(self._popen, command, env).result()

    def run(self, command: Sequence[str | Path]) -> None:
        """Run another program as the same user, to its end.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        words = [*self._prefix(), *command]
        _STARTER.submit(subprocess.run, words, check=True, capture_output=True, cwd=self._log.parent).result()

    def says(self, words: str, within_sec: float) -> bool:
        """Wait until it has printed these words; False where it ends before that, or the time is up.

        Its own word is better than a connection: that might reach another program which was quicker to take the port.
        """
        deadline = time.monotonic() + within_sec
        while words not in self.log:
            if not self.is_running or time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send it this signal, and wait for its end; nothing where it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_TIMEOUT_SEC)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _prefix(self) -> list[str]:
        if self._user is not None:
            return ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups", *_WITH_PARENT, "--"]
        return ["setpriv", *_WITH_PARENT, "--"] if _HAS_SETPRIV else []

    def _popen(self, command: Sequence[str | Path], env: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            words = [*self._prefix(), *command]
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._log.parent, env=env
            )
