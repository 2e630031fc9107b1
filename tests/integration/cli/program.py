"""What the tests of the command line share: the program in a pipe and in a terminal, and dead letters to look at."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from reclaim.cli.main import cli
from reclaim.entry import Entry
from reclaim.retry import Retries
from reclaim.settings import Target
from reclaim.state.connection import connect
from reclaim.state.dead_letters import DeadLetters, Parking, Reason
from reclaim.times import Deadline
from tests.support import Client, HasPort, Held, env_for, given, settings_for

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, "-m", "reclaim"]
COLUMNS = 120
WAIT_SEC = 60
READING_SEC = 0.5  # a person reads first; Python loses a Ctrl-C that comes between its question and its reading


@dataclass(frozen=True, slots=True)
class Ended:
    """How the program ended; in a terminal `err` is part of `out`."""

    code: int
    out: str
    err: str = ""


def in_pipe(env: Mapping[str, str], *arguments: str | bytes) -> Ended:
    """The command line with nobody to read or answer, in this process: importing it costs half a second elsewhere."""
    with mock.patch.dict(os.environ, env, clear=True):
        ended = CliRunner().invoke(cli, [*map(os.fsdecode, arguments)])
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return Ended(ended.exit_code, ended.stdout, ended.stderr)


def in_process(env: Mapping[str, str], *arguments: str | bytes) -> Ended:
    """The same as a process of its own, where that is the point."""
    ended = subprocess.run(
        [*PROGRAM, *arguments],
        env=env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WAIT_SEC,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def in_terminal(env: Mapping[str, str], *arguments: str, answer: str = "", columns: int = COLUMNS) -> Ended:
    """The program with a person before a terminal, who answers its question."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(sys.executable, [*PROGRAM, *arguments], {**env, "TERM": "xterm-256color", "COLUMNS": str(columns)})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    watchdog = threading.Timer(WAIT_SEC, os.kill, (pid, signal.SIGKILL))
    watchdog.start()
    seen = b""
    while chunk := _read(terminal):
        seen += chunk
        if answer and b"[y/N]" in seen:
            time.sleep(READING_SEC)
            os.write(terminal, answer.encode())
            answer = ""
    _, status = os.waitpid(pid, 0)
    watchdog.cancel()
    os.close(terminal)
    return Ended(os.waitstatus_to_exitcode(status), seen.decode().replace("\r\n", "\n"))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the program has ended
        return b""


def lines(text: str) -> list[list[str]]:
    """Tab-separated lines, taken apart."""
    return [line.split("\t") for line in text.splitlines()]


def env_of(place: HasPort, target: Target, **settings: str) -> dict[str, str]:
    """The environment of the program."""
    return env_for(place, target, RETRY_ATTEMPTS="1", **settings)


def given_dead(
    client: Client, place: HasPort, target: Target, *bodies: Sequence[bytes], error: str = "ValueError: no"
) -> list[str]:
    """Dead letters with these bodies; their IDs."""
    ids = given(client, target, *(Held(body, target.consumer) for body in bodies))
    parkings = [
        Parking(Entry(entry_id, body, b"worker", 0, 1), Reason.FAILED, error)
        for entry_id, body in zip(ids, bodies, strict=True)
    ]

    async def park() -> None:
        server = connect(settings_for(place, target))
        try:
            letters = DeadLetters(server, target)
            parked = await letters.park(parkings, Retries(1, 0), Deadline(30, time.monotonic))
            assert parked.errors == {}
        finally:
            await server.aclose()

    asyncio.run(park())
    return dead_ids(client, target)


def dead_ids(client: Client, target: Target) -> list[str]:
    """The IDs of all dead letters."""
    return [letter_id.decode() for letter_id, _ in client.execute_command("XRANGE", target.keys.dead, "-", "+")]
