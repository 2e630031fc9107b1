"""What `reclaim run` exits with, for each outcome that a run can come to."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from reclaim.run.order import MAX_HELD_KEYS
from reclaim.run.report import Outcome
from tests.integration.cli.program import PROGRAM, ROOT, Ended, in_pipe
from tests.outcomes import EXIT_CODES
from tests.support import Client, Endpoint, Held, a_target, env_for, given, held, lived_in, state, tweet

pytestmark = pytest.mark.G9

TARGET = a_target()
SLOW = {"HANDLER": "tests.integration.cli.slow:handle", "LANES": "1", "RUN_BUDGET_SEC": "60"}


@dataclass(frozen=True, slots=True)
class Way:
    """How a run is brought to an outcome: by settings, or by what is done to its process once its handler has begun."""

    settings: Mapping[str, str] = field(default_factory=dict)
    act: Callable[[int], object] | None = None


def completed(client: Client) -> Way:
    given(client, TARGET, Held(tweet(1)))
    return Way()


def nothing_pending(client: Client) -> Way:
    given(client, TARGET)
    return Way()


def out_of_time(client: Client) -> Way:
    given(client, TARGET, *held(range(20)))
    return Way(SLOW | {"RUN_BUDGET_SEC": "1"})


def stopped(client: Client) -> Way:
    given(client, TARGET, *held(range(20)))
    return Way(SLOW, lambda pid: os.kill(pid, signal.SIGTERM))


def lease_held(client: Client) -> Way:
    given(client, TARGET, Held(tweet(1)))
    client.execute_command("SET", TARGET.keys.lease, "somebody else", "PX", 60_000)
    return Way()


def failed(client: Client) -> Way:
    client.execute_command("SET", TARGET.stream, "no stream")
    return Way()


def group_missing(_: Client) -> Way:
    return Way()


def group_gone(client: Client) -> Way:
    given(client, TARGET, *held(range(5)))
    return Way(SLOW, lambda _: client.execute_command("DEL", TARGET.stream))


def lease_lost(client: Client) -> Way:
    """The run learns of it when it renews its lease, which it does every five seconds."""
    given(client, TARGET, *held(range(100)))
    return Way(SLOW, lambda _: client.execute_command("SET", TARGET.keys.lease, "somebody else", "PX", 60_000))


def circuit_open(client: Client) -> Way:
    given(client, TARGET, Held(tweet(1)))
    facts = {"state": "open", "by": "person", "who": "ann", "reason": "a move", "until_ms": 0, "change": "x"}
    client.execute_command("HSET", TARGET.keys.circuit, *(part for pair in facts.items() for part in pair))
    return Way()


def too_many_held(client: Client) -> Way:
    """More order keys wait for an entry that failed before, and is not due yet, than a run can remember."""
    given(client, TARGET, Held(tweet(0)))
    add = "for n = 2, ARGV[1] + 1 do redis.call('XADD', KEYS[1], n .. '-0', 'id', n) end"
    client.execute_command("EVAL", add, 1, TARGET.stream, MAX_HELD_KEYS + 1)
    reading = ("XREADGROUP", "GROUP", TARGET.group, TARGET.consumer, "COUNT", MAX_HELD_KEYS + 1)
    client.execute_command(*reading, "STREAMS", TARGET.stream, ">")
    return Way({"MIN_IDLE_TIME_SEC": "3000"})


def dead_letters_full(client: Client) -> Way:
    lived_in(client, TARGET)
    given(client, TARGET, *[Held([b"user", b"nobody"])] * 2)
    return Way({"DEAD_LETTER_MAXLEN": "1"})


WAYS = [
    *(completed, nothing_pending, out_of_time, stopped, lease_held),
    *(failed, group_missing, group_gone, lease_lost, circuit_open, too_many_held, dead_letters_full),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_run_exits_as_its_outcome_says(embedded: Endpoint, client: Client, way: Callable[[Client], Way]) -> None:
    what = way(client)
    env = env_for(embedded, TARGET) | what.settings

    ended = in_pipe(env, "run", "--json") if what.act is None else while_it_runs(env, what.act)

    assert (json.loads(ended.out)["outcome"], ended.code) == (way.__name__, EXIT_CODES[way.__name__])


def test_every_outcome_is_in_the_table_and_comes_true_above() -> None:
    meant = {outcome.value: outcome.exit_code for outcome in Outcome}

    assert (EXIT_CODES, [way.__name__ for way in WAYS]) == (meant, list(meant))


def test_a_run_that_waits_for_its_resource_can_be_stopped(embedded: Endpoint, client: Client) -> None:
    """It does not wait for its budget's end, and nothing is claimed."""
    given(client, TARGET, *held(range(3)))
    before = state(client, TARGET)
    env = env_for(embedded, TARGET, HANDLER="tests.integration.cli.slow:never_open", RUN_BUDGET_SEC="50")

    ended = while_it_runs(env, lambda pid: os.kill(pid, signal.SIGTERM))

    report = json.loads(ended.out)
    assert (report["outcome"], report["claimed"], ended.code) == ("stopped", 0, 0)
    assert state(client, TARGET) == before


def while_it_runs(env: dict[str, str], act: Callable[[int], object]) -> Ended:
    """The program, and what is done as soon as its handler has begun."""
    with subprocess.Popen(
        [*PROGRAM, "run", "--json"], env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "handling" in line:
                break
        act(running.pid)
        out, err = running.communicate(timeout=60)
    return Ended(running.returncode, out, err)


def test_dead_letters_are_exit_code_0_and_1_if_strict(embedded: Endpoint, client: Client) -> None:
    env = env_for(embedded, TARGET)
    given(client, TARGET, Held(tweet(1)), Held([b"user", b"nobody"]))
    lax = in_pipe(env, "run")
    given(client, TARGET, Held(tweet(1)), Held([b"user", b"nobody"]))

    strict = in_pipe(env, "run", "--strict")

    assert (lax.code, strict.code) == (0, 1)
    assert "s/g: 1 dead letter was made" in strict.err
