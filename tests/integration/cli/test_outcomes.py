"""What `reclaim run` exits with, for each outcome that a run can come to."""

import json
import os
import signal
import subprocess
from collections.abc import Callable

import pytest

from reclaim.run.report import Outcome
from tests.integration.cli.program import PROGRAM, ROOT, Ended, in_pipe
from tests.support import Client, Endpoint, Held, a_target, env_for, given, held, lived_in, state, tweet

pytestmark = pytest.mark.G9

TARGET = a_target()


def completed(client: Client) -> dict[str, str]:
    given(client, TARGET, Held(tweet(1)))
    return {}


def nothing_pending(client: Client) -> dict[str, str]:
    given(client, TARGET)
    return {}


def out_of_time(client: Client) -> dict[str, str]:
    given(client, TARGET, *held(range(20)))
    return {"HANDLER": "tests.integration.cli.slow:handle", "LANES": "1", "RUN_BUDGET_SEC": "1"}


def lease_held(client: Client) -> dict[str, str]:
    given(client, TARGET, Held(tweet(1)))
    client.execute_command("SET", TARGET.keys.lease, "somebody else", "PX", 60_000)
    return {}


def failed(client: Client) -> dict[str, str]:
    client.execute_command("SET", TARGET.stream, "no stream")
    return {}


def group_missing(_: Client) -> dict[str, str]:
    return {}


def circuit_open(client: Client) -> dict[str, str]:
    given(client, TARGET, Held(tweet(1)))
    facts = {"state": "open", "by": "person", "who": "ann", "reason": "a move", "until_ms": 0, "change": "x"}
    client.execute_command("HSET", TARGET.keys.circuit, *(part for pair in facts.items() for part in pair))
    return {}


def dead_letters_full(client: Client) -> dict[str, str]:
    lived_in(client, TARGET)
    given(client, TARGET, *[Held([b"user", b"nobody"])] * 2)
    return {"DEAD_LETTER_MAXLEN": "1"}


WAYS = [completed, nothing_pending, out_of_time, lease_held, failed, group_missing, circuit_open, dead_letters_full]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_run_exits_as_its_outcome_says(
    embedded: Endpoint, client: Client, way: Callable[[Client], dict[str, str]]
) -> None:
    env = env_for(embedded, TARGET) | way(client)

    ended = in_pipe(env, "run", "--json")

    outcome = Outcome(json.loads(ended.out)["outcome"])
    assert (outcome.value, ended.code) == (way.__name__, outcome.exit_code)


def test_a_run_whose_group_vanishes_exits_with_1(embedded: Endpoint, client: Client) -> None:
    given(client, TARGET, *held(range(5)))
    env = env_for(embedded, TARGET, HANDLER="tests.integration.cli.slow:handle", LANES="1", RUN_BUDGET_SEC="30")

    ended = while_it_runs(env, lambda _: client.execute_command("DEL", TARGET.stream))

    assert (json.loads(ended.out)["outcome"], ended.code) == ("group_gone", 1)


def test_a_run_that_is_asked_to_stop_exits_with_0(embedded: Endpoint, client: Client) -> None:
    given(client, TARGET, *held(range(20)))
    env = env_for(embedded, TARGET, HANDLER="tests.integration.cli.slow:handle", LANES="1", RUN_BUDGET_SEC="30")

    ended = while_it_runs(env, lambda pid: os.kill(pid, signal.SIGTERM))

    assert (json.loads(ended.out)["outcome"], ended.code) == ("stopped", 0)


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
    assert "s/g: 1 dead letters were made" in strict.err
