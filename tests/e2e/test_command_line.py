"""`python -m reclaim run`: what it does, what it says, and what it ends with."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.proxy import Proxy
from reclaim.settings import Target
from tests.integration.cli.program import Ended, in_pipe, in_process
from tests.support import Client, Endpoint, HasPort, State, a_target, env_for, given, held, state, stored

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-m", "reclaim", "run"]
WAIT_SEC = 30.0


def reclaim_run(place: HasPort, target: Target, *options: str, **settings: str) -> Ended:
    """One run, from the command line, in this process."""
    return in_pipe(env_for(place, target, **settings), "run", *options)


def test_a_run_that_reclaims_ends_with_0_and_says_what_it_did(server: Endpoint, client: Client) -> None:
    """One line for each target on standard output."""
    target, entries = a_target(page_size=3), held(range(10))
    given(client, target, *entries)

    ended = in_process(env_for(server, target), "run")

    assert ended.code == 0, ended.err
    assert ended.out.startswith("s/g: completed, 10 claimed, 10 acknowledged")
    assert len(ended.out.splitlines()) == 1
    assert state(client, target) == State(hashes=stored(*entries), length=10)


def test_nothing_to_do_ends_with_0(embedded: Endpoint, client: Client) -> None:
    """A cron job must not fail because all is well."""
    given(client, a_target())

    ended = reclaim_run(embedded, a_target())

    assert (ended.code, ended.out) == (0, "s/g: nothing pending\n")


def test_a_missing_group_ends_with_1_and_is_named(embedded: Endpoint, client: Client) -> None:
    """It may be misspelt, so nothing is left behind under its name."""
    target = a_target(stream="not-there")

    ended = reclaim_run(embedded, target)

    assert ended.code == 1, ended.err
    assert ended.out.startswith("not-there/g: group missing")
    assert state(client, target) == State()


def test_a_server_that_is_not_there_ends_with_1_and_its_name(embedded_proxy: Proxy) -> None:
    """One plain sentence on each stream, no traceback."""
    embedded_proxy.refuse()

    ended = reclaim_run(embedded_proxy, a_target(), RETRY_ATTEMPTS="1")

    assert ended.code == 1
    assert ended.out.startswith("s/g: failed, 0.")
    assert len(ended.out.splitlines()) == 1
    assert ended.err.splitlines()[-1].startswith("the run failed: s/g: Unreachable: no connection to 127.0.0.1:")
    assert "Traceback" not in ended.err


def test_bad_settings_end_with_2_and_all_their_names(embedded: Endpoint) -> None:
    """Said once, without a traceback, before anything is connected to."""
    ended = reclaim_run(embedded, a_target(), LANES="many", STREAM_NAME="", REDIS_PASSWORD="s3cret")

    assert (ended.code, ended.out) == (2, "")
    assert "LANES is 'many'; allowed: a whole number" in ended.err
    assert "STREAM_NAME is missing" in ended.err
    assert "s3cret" not in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("schedule", ["61 * * * * *", "every minute or so, I think", "* * * * *"])
def test_a_schedule_that_is_none_ends_with_2(embedded: Endpoint, schedule: str) -> None:
    """A value out of range is a bad setting too, and no traceback."""
    ended = reclaim_run(embedded, a_target(), "--watch", RECLAIM_SCHEDULE=schedule)

    assert ended.code == 2, ended.err
    assert "RECLAIM_SCHEDULE is" in ended.err
    assert "Traceback" not in ended.err


class Watching:
    """A process that runs again and again, and the lines of its log as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)

    def wait_for(self, words: str) -> str:
        """The next line with these words in it."""
        while words not in (line := self._lines.get(timeout=WAIT_SEC)):
            pass
        return line

    def end(self) -> int:
        """Wait for the end of it; its exit code."""
        code = self.process.wait(WAIT_SEC)
        self._reader.join(WAIT_SEC)
        return code


@contextmanager
def started(place: HasPort, target: Target, *options: str, **settings: str) -> Iterator[Watching]:
    """A process of the command line, killed at the end if it still runs."""
    env = env_for(place, target, RECLAIM_SCHEDULE="* * * * * *", **settings)
    with subprocess.Popen([*RUN, *options], env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Watching(process)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_watching_runs_by_the_schedule_and_ends_with_0_when_asked_to(
    server: Endpoint, client: Client, number: signal.Signals
) -> None:
    """Every second here; what is abandoned between two ticks is found by the later one."""
    target = a_target()
    given(client, target, *held(range(5)))
    with started(server, target, "--watch") as watching:
        watching.wait_for('"acknowledged": 5')
        given(client, target, *held(range(5, 8)))
        watching.wait_for('"acknowledged": 3')

        watching.process.send_signal(number)

        assert watching.end() == 0
    assert state(client, target) == State(hashes=stored(*held(range(8))), length=8)


def test_watching_goes_on_after_a_failed_run(client: Client, embedded_proxy: Proxy) -> None:
    """Redis is away for a while: each run says so, and once it is back the work is done."""
    target, entries = a_target(), held(range(5))
    given(client, target, *entries)
    embedded_proxy.refuse()
    with started(embedded_proxy, target, "--watch", RETRY_ATTEMPTS="1") as watching:
        watching.wait_for('"outcome": "failed"')
        embedded_proxy.accept()
        watching.wait_for('"acknowledged": 5')

        watching.process.terminate()

        assert watching.end() == 0
    assert state(client, target) == State(hashes=stored(*entries), length=5)


@pytest.mark.parametrize("options", [(), ("--watch",)], ids=["once", "watching"])
def test_a_signal_in_the_middle_of_a_run_lets_it_finish_what_is_in_work(
    client: Client, proxy: Proxy, options: tuple[str, ...]
) -> None:
    """It ends with 0: the page in work is acknowledged, everything else is as it was, and the lease is free."""
    target = a_target(page_size=10)
    entries = held(range(1000))
    ids = given(client, target, *entries)
    with started(proxy, target, *options) as watching:
        proxy.when("XACK", lambda: os.kill(watching.process.pid, signal.SIGTERM), skip=3)
        proxy.reply_delay_sec = 0.02

        assert watching.end() == 0

    after = state(client, target)
    done = 1000 - len(after.pending)
    assert 40 <= done < 1000
    assert after == State(
        pending=dict.fromkeys(ids[done:], (b"monitoring_app", 1, "idle"))
        | {entry_id: (b"worker", 1, "idle") for entry_id, row in after.pending.items() if row[0] == b"worker"},
        hashes=stored(*entries[:done]),
        length=1000,
    )
