"""`make serve`: the app at work, with traffic, in the stand-in host or in Core Tools."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.support import ENV_NAMES

ROOT = Path(__file__).parents[2]
KEY = "function-key-of-the-tests"
WAIT_SEC = 60.0


@contextmanager
def serving(**env: str) -> Iterator[subprocess.Popen[str]]:
    """`make serve` on a free port; at the end it is asked to stop, and does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ENV_NAMES)}
    process = subprocess.Popen(
        [sys.executable, "-m", "dev.serve", "--port", "0"],
        env={**kept, "DEV_FUNCTION_KEY": KEY, **env},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=WAIT_SEC)
            finally:
                process.kill()
                process.wait()


def test_tweets_trickle_in_and_are_reclaimed() -> None:
    """What flaky processors drop is taken over by the app's own timer; SIGINT ends all of it."""
    with serving(MIN_IDLE_TIME_SEC="0.5", RECLAIM_SCHEDULE="* * * * * *") as process:
        assert process.stdout is not None
        address = next(line.strip() for line in process.stdout if line.startswith("http://"))
        claimed = 0
        deadline = time.monotonic() + WAIT_SEC
        while not claimed and time.monotonic() < deadline:
            answer = httpx2.get(address.replace("dashboard", "status"), headers={"x-functions-key": KEY}, timeout=20)
            (target,) = answer.json()["targets"]
            claimed = sum(run["stored"] for run in target["runs"])
            time.sleep(0.2)

    assert claimed > 0
    assert process.returncode == 0


def test_a_port_that_is_in_use_is_one_line() -> None:
    """It names the port, and how to take another one."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "dev.serve", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=WAIT_SEC,
            check=False,
        )

    said = f"port {port} cannot be used (Address already in use): say another one, as in make serve PORT=8080\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", said)


@pytest.mark.parametrize(("fan_out", "is_made"), [("queue", True), ("", False)])
def test_make_sees_to_the_storage_queue_that_fan_out_needs(fan_out: str, *, is_made: bool) -> None:
    """Azurite is installed on the way; else the first `make serve FAN_OUT=queue` ended with an error."""
    told = subprocess.run(
        ["make", "--dry-run", "--always-make", "serve", f"FAN_OUT={fan_out}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert ("azurite" in told.stdout) == is_made


def test_without_a_storage_queue_fan_out_is_refused_in_a_line(tmp_path: Path) -> None:
    """No `node` is found there, as where Azurite is not installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*ENV_NAMES, "AzureWebJobs"))}
    words = [sys.executable, "-m", "dev.serve", "--port", "0"]
    env = {**kept, "FAN_OUT": "queue", "PATH": str(tmp_path)}
    ended = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=WAIT_SEC, check=False)

    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert "make azurite" in ended.stderr


@pytest.mark.parametrize("port", ["80800", "-1", "http"])
def test_what_is_no_port_is_said_in_a_line(port: str) -> None:
    """It names what was given, and what is allowed."""
    command = [sys.executable, "-m", "dev.serve", f"--port={port}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_SEC, check=False)

    said = f"argument --port: {port!r} is no port; allowed: 0 to 65535, as in make serve PORT=8080"
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (2, f"python -m dev.serve: error: {said}")


def test_core_tools_run_the_app_where_they_are_installed(tmp_path: Path) -> None:
    """`func start`, with this Python first on the PATH, in the repository, on the same server."""
    func = tmp_path / "func"
    func.write_text('#!/bin/sh\necho "func: $* in $PWD on $REDIS_HOST with $(command -v python)"\n')
    func.chmod(0o755)
    with serving(PATH=f"{tmp_path}:{os.environ['PATH']}") as process:
        assert process.stdout is not None
        line = next(line.strip() for line in process.stdout if line.startswith("func: "))
        assert process.wait(timeout=WAIT_SEC) == 0  # it ends with the program that it runs

    assert line.startswith(f"func: start --port 0 in {ROOT} on 127.0.0.1:")
    assert line.endswith(f"with {Path(sys.executable).parent / 'python'}")
