"""The process killed at random moments of a large run, again and again: nothing is lost (G1, G2, G6)."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dev.tweets import tweets
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_target,
    age_all,
    as_dict,
    drop_lease,
    env_for,
    given,
    hashes,
    pending_count,
    state,
)

pytestmark = pytest.mark.G2

ROOT = Path(__file__).parents[3]
KILLS = 5
RUN = [sys.executable, "-m", "reclaim", "run"]


@pytest.mark.G6
@pytest.mark.timeout(240)
def test_a_run_killed_again_and_again_loses_nothing(server: Endpoint, client: Client) -> None:
    """Each kill comes at another moment. Then one run goes to its end: every hash is right, and nothing is pending."""
    count = 10_000
    target = a_target(max_deliveries=1000)
    produced = list(tweets(count, seed=11))
    given(client, target, *(Held(fields, f"processor-{number // 2_000}") for number, fields in enumerate(produced)))
    env = env_for(server, target, MAX_DELIVERIES="1000")
    rng = random.Random(server.kind)
    killed = 0
    for kill in range(KILLS):
        wanted = count - round(count * (kill + rng.random()) / (KILLS + 1))
        killed += kill_when(client, target.stream, target.group, env, wanted, rng.random() / 50)
        drop_lease(client, target)
        age_all(client, target)

    assert killed >= KILLS - 1
    subprocess.run(RUN, env=env, cwd=ROOT, capture_output=True, check=True)

    keys = [b"tweet:" + fields[1] for fields in produced]
    assert pending_count(client, target) == 0
    assert hashes(client, keys) == {key: as_dict(fields) for key, fields in zip(keys, produced, strict=True)}
    client.execute_command("DEL", *keys)
    assert state(client, target) == State(length=count)


def kill_when(client: Client, stream: str, group: str, env: dict[str, str], wanted: int, later_sec: float) -> bool:
    """Start a run, and kill it when so many entries are pending, or a little later. Return whether it still ran."""
    with subprocess.Popen(RUN, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while client.execute_command("XPENDING", stream, group)[0] > wanted and process.poll() is None:
            time.sleep(0.001)
        time.sleep(later_sec)
        is_running = process.poll() is None
        process.kill()
    return is_running
