"""An entry that kills the process whenever it is handled becomes a dead letter, and no other entry pays for it (G4)."""

import subprocess
import sys
from pathlib import Path

import pytest

from reclaim.settings import Target
from tests.conftest import on_newest_and_oldest
from tests.support import Client, Endpoint, State, a_target, age_all, drop_lease, env_for, given, held, state

pytestmark = pytest.mark.G4

ROOT = Path(__file__).parents[3]
HANDLER = """
import os
import signal
from pathlib import Path

from reclaim.entry import Entry


async def handle(entry: Entry) -> None:
    if entry.id == b"7-0":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@on_newest_and_oldest
def test_an_entry_that_kills_the_process_dies_alone(server: Endpoint, client: Client, tmp_path: Path) -> None:
    """At first the other entries of its page are claimed again with it; at its last delivery it is claimed alone."""
    target = a_target(page_size=5, max_deliveries=4)
    given(client, target, *held(range(1, 21)))

    ends = run_until_well(server, client, target, tmp_path)

    after = state(client, target)
    assert ends == [-9, -9, -9, 0]
    assert after.pending == {}
    assert dead(after) == [(b"7-0", b"max_deliveries", b"5")]


@pytest.mark.G5
def test_with_two_deliveries_nothing_dies_that_was_not_tried_alone(
    server: Endpoint, client: Client, tmp_path: Path
) -> None:
    """The first kill leaves all entries that were claimed without a try of their own; each gets one, alone."""
    target = a_target(page_size=5, max_deliveries=2)
    given(client, target, *held(range(1, 21)))

    ends = run_until_well(server, client, target, tmp_path)

    after = state(client, target)
    assert ends == [-9, -9, 0]
    assert after.pending == {}
    assert dead(after) == [(b"7-0", b"max_deliveries", b"4")]


def run_until_well(server: Endpoint, client: Client, target: Target, directory: Path) -> list[int]:
    """Run in a process of its own, until a run is not killed any more; how each ended."""
    (directory / "deadly.py").write_text(HANDLER, encoding="utf-8")
    more = {"HANDLER": "deadly:handle", "LANES": "4", "PYTHONPATH": str(directory)}
    env = env_for(server, target, MAX_DELIVERIES=str(target.max_deliveries), **more)
    ends: list[int] = []
    while not ends or (ends[-1] != 0 and len(ends) < 10):
        age_all(client, target)
        ended = subprocess.run(
            [sys.executable, "-m", "reclaim", "run"], env=env, cwd=ROOT, capture_output=True, check=False
        )
        ends.append(ended.returncode)
        drop_lease(client, target)
    return ends


def dead(after: State) -> list[tuple[bytes, bytes, bytes]]:
    return [(letter[b"id"], letter[b"reason"], letter[b"deliveries"]) for letter in after.dead]
