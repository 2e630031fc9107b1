"""FAN_OUT=queue as a whole: hosts in processes of their own, a storage queue between them, one of them killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dev.storage import Storage, is_installed
from reclaim.settings import Target
from tests.support import Client, Endpoint, a_target, drop_lease, env_for, given, hashes, held, pending_count, stored

ROOT = Path(__file__).parents[2]
PATIENCE_SEC = 60.0

SLOW = '''
import asyncio, os
from redis.asyncio import Redis

client = None

async def handle(entry):
    """Append the entry's number to its stream's list, slowly."""
    global client
    client = client or Redis(host="127.0.0.1", port=int(os.environ["REDIS_HOST"].rpartition(":")[2]))
    await client.rpush(f"{entry.stream}:done", entry.get(b"id"))
    await asyncio.sleep(0.02)
'''


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    """A storage account; where CI is set, one that is missing is an error."""
    if not is_installed() and os.environ.get("CI", "").lower() != "true":
        pytest.skip("Azurite is not installed here: `make azurite` installs it")
    with Storage() as storage:
        yield storage


@contextmanager
def a_host(env: dict[str, str], log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A stand-in host in a process of its own, ready; it is gone at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dev.host", "--port", "0", *options], cwd=ROOT, env=env, stdout=out, stderr=out
        )
    try:
        wait_until(lambda: b"/api/dashboard" in log.read_bytes(), log)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(is_so: Callable[[], bool], *logs: Path) -> None:
    """Wait until something is so, or fail with what the hosts have printed."""
    deadline = time.monotonic() + PATIENCE_SEC
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail("\n".join(log.read_text(errors="replace")[-3000:] for log in logs))
        time.sleep(0.05)


def environment(server: Endpoint, storage: Storage, targets: list[Target], **settings: str) -> dict[str, str]:
    """The hosts' settings: a tick each second."""
    listed = [{"stream": target.stream, "group": target.group} for target in targets]
    env = env_for(server, RECLAIM_TARGETS=json.dumps(listed), RECLAIM_SCHEDULE="* * * * * *", **settings)
    return env | {"FAN_OUT": "queue", "AzureWebJobsStorage": storage.connection}


def test_what_the_timer_finds_is_run_by_the_queues_functions(
    embedded: Endpoint, client: Client, storage: Storage, tmp_path: Path
) -> None:
    """One host ticks, and two take messages; the timer's own host does as well."""
    targets = [a_target(stream=f"s{number}") for number in range(8)]
    entries = [held(range(100 * number, 100 * number + 50)) for number in range(8)]
    for target, some in zip(targets, entries, strict=True):
        given(client, target, *some)
    env = environment(embedded, storage, targets)
    logs = [tmp_path / name for name in ("timer", "one", "two")]
    with ExitStack() as stack:
        for log, options in zip(logs, ((), ("--no-timers",), ("--no-timers",)), strict=True):
            stack.enter_context(a_host(env, log, *options))
        wait_until(lambda: not any(pending_count(client, target) for target in targets), *logs)
        wait_until(lambda: sum(log.read_bytes().count(b"reclaim_target succeeded") for log in logs) >= 8, *logs)

    found = hashes(client, client.execute_command("KEYS", "tweet:*"))
    assert found == stored(*(entry for some in entries for entry in some))
    assert not any(b"failed" in log.read_bytes() for log in logs)


def test_a_worker_that_is_killed_costs_nothing_but_time(
    embedded: Endpoint, client: Client, storage: Storage, tmp_path: Path
) -> None:
    """Its message does not come back for ten minutes; the next tick enqueues another one. Order holds (G3)."""
    (tmp_path / "slow.py").write_text(SLOW)
    targets = [a_target(stream=f"k{number}") for number in range(2)]
    for target in targets:
        given(client, target, *held(range(1, 81)))
    env = environment(embedded, storage, targets, HANDLER="slow:handle", ORDER_KEY="{@stream}", MIN_IDLE_TIME_SEC="0.5")
    env |= {"PYTHONPATH": str(tmp_path)}
    logs = [tmp_path / name for name in ("timer", "victim", "other")]
    with ExitStack() as stack:
        victim = stack.enter_context(a_host(env, logs[1], "--no-timers"))
        stack.enter_context(a_host(env, logs[0]))
        wait_until(lambda: client.execute_command("LLEN", "k0:done") > 5, *logs)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        for target in targets:
            drop_lease(client, target)
        stack.enter_context(a_host(env, logs[2], "--no-timers"))
        wait_until(lambda: not any(pending_count(client, target) for target in targets), *logs)

    for target in targets:
        done = [int(one) for one in client.execute_command("LRANGE", f"{target.stream}:done", 0, -1)]
        assert list(dict.fromkeys(done)) == list(range(1, 81))
        assert client.execute_command("EXISTS", target.keys.dead, target.keys.lost) == 0
