"""A program that makes runs to be killed: it has everything imported, and forks a child for each run it is asked for.

A line of JSON on its input asks for a run: the environment to run with. Two lines on its output answer: the child's
process ID, and once the child is over, how it ended. Log lines and tracebacks of the children are its error output.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from dev.soak import journal, scripted
from reclaim.app import App


@dataclass
class Child:
    """A run in a process of its own.

    Attributes:
        pid: of the process.
        ended: how it ended, as `subprocess` tells it; None while it runs.
    """

    pid: int
    ended: int | None = None
    over: threading.Event = field(default_factory=threading.Event)


class Nursery:
    """Starts children, one at a time."""

    def __init__(self, errors: Path) -> None:
        self._errors = errors.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dev.soak.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def start(self, env: dict[str, str]) -> Child:
        """Start a run with these settings. The one before must be over."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the program has no pipes")
        stdin.write(json.dumps(env) + "\n")
        stdin.flush()
        child = Child(int(stdout.readline()))

        def wait() -> None:
            child.ended = int(stdout.readline() or "-1")
            child.over.set()

        threading.Thread(target=wait, daemon=True).start()
        return child

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


async def run() -> None:
    """One run of all targets, on connections of its own."""
    app = App.from_env(os.environ)
    try:
        await app.reports()
    finally:
        await app.aclose()


def main() -> None:
    """Serve until the input ends."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.environ.update(json.loads(line), **{journal.CHILD: "1"})
            asyncio.run(run())
            os._exit(0)
        print(pid, flush=True)  # its output is its answer
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # as above


if __name__ == "__main__":
    _ = scripted  # imported once here, not once in each child
    main()
