"""`run` on the command line: what it says of each target, whatever became of it, and what else it may be told."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.proxy import Proxy
from tests.integration.cli.program import PROGRAM, ROOT, WAIT_SEC, env_of, in_pipe, in_process
from tests.support import Client, Endpoint, a_target, env_for, given, held, state

TWO_TARGETS = '[{"stream": "s", "group": "g"}, {"stream": "s2", "group": "g"}]'


def one_good_and_one_bad(client: Client, embedded: Endpoint) -> dict[str, str]:
    """The environment of two targets: five entries wait in s/g, and s2 is no stream."""
    given(client, a_target(), *held(range(5)))
    client.execute_command("SET", "s2", "no stream")
    return env_of(embedded, a_target(), RECLAIM_TARGETS=TWO_TARGETS)


def test_a_run_that_fails_says_what_became_of_every_target(embedded: Endpoint, client: Client) -> None:
    """The others have run all the same; the error is on standard error, and it ends with 1."""
    env = one_good_and_one_bad(client, embedded)

    ended = in_pipe(env, "run")

    assert ended.code == 1
    good, bad = ended.out.splitlines()
    assert good.startswith("s/g: completed, 5 claimed, 5 acknowledged, ")
    assert bad.startswith("s2/g: failed, ")
    assert "WRONGTYPE" in bad
    assert ended.err.splitlines()[-1].startswith("the run failed: s2/g: ")
    assert "Traceback" not in ended.err


def test_a_run_that_fails_is_json_for_every_target(embedded: Endpoint, client: Client) -> None:
    """A program that reads the reports gets all of them."""
    env = one_good_and_one_bad(client, embedded)

    ended = in_pipe(env, "run", "--json")

    assert ended.code == 1
    reports = [json.loads(line) for line in ended.out.splitlines()]
    assert [(one["target"], one["outcome"], one["acknowledged"]) for one in reports] == [
        ("s/g", "completed", 5),
        ("s2/g", "failed", 0),
    ]
    assert "WRONGTYPE" in reports[1]["reason"]


def test_an_open_circuit_is_told_with_its_reason(embedded: Endpoint, client: Client) -> None:
    """The run has not looked, so it says nothing of what is idle."""
    given(client, a_target(), *held(range(5)))
    env = env_of(embedded, a_target())
    assert in_pipe(env, "circuit", "open", "--reason", "the database moves", "--who", "Ada").code == 0

    ended = in_pipe(env, "run")

    assert ended.code == 1
    assert ended.out.startswith("s/g: circuit open, ")
    assert "(Ada opened it: the database moves)" in ended.out
    assert "idle" not in ended.out


def test_a_missing_group_is_told_with_its_name(embedded: Endpoint) -> None:
    """With the setting to look at."""
    ended = in_pipe(env_of(embedded, a_target()), "run")

    assert ended.code == 1
    assert ended.out.startswith("s/g: group missing: ")
    assert "the stream 's' does not exist; check STREAM_NAME" in ended.out


def test_a_run_that_comes_to_the_end_and_finds_nothing_says_so(embedded: Endpoint, client: Client) -> None:
    """It has looked: what is pending is not idle yet."""
    given(client, a_target(), *held(range(5), idle_ms=0))

    ended = in_pipe(env_of(embedded, a_target()), "run")

    assert ended.out.startswith("s/g: completed, nothing idle, ")


# --- again and again -------------------------------------------------------------------------------------------------


@contextmanager
def watching(env: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    """`run --watch` at every second, its standard output in a pipe; killed at the end if it still runs."""
    program = subprocess.Popen(
        [*PROGRAM, "run", "--watch", *options],
        env={**env, "RECLAIM_SCHEDULE": "* * * * * *"},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with program:
        try:
            yield program
        finally:
            program.kill()


def test_watching_as_json_is_a_line_for_each_report_as_it_comes(embedded: Endpoint, client: Client) -> None:
    """Of a run that fails too; each line is there while the program goes on."""
    with watching(one_good_and_one_bad(client, embedded), "--json") as program:
        assert program.stdout is not None
        first, second = (json.loads(program.stdout.readline()) for _ in range(2))
        given(client, a_target(), *held(range(5, 8)))
        later = next(one for line in program.stdout if (one := json.loads(line))["acknowledged"])
        program.send_signal(signal.SIGTERM)

        assert program.wait(WAIT_SEC) == 0

    assert (first["target"], first["acknowledged"]) == ("s/g", 5)
    assert (second["target"], second["outcome"]) == ("s2/g", "failed")
    assert (later["target"], later["acknowledged"]) == ("s/g", 3)


RESOURCE = """
from contextlib import asynccontextmanager
from pathlib import Path

TOLD = Path(__file__).with_name("told")


def tell(what):
    with TOLD.open("a") as file:
        file.write(what + "\\n")


@asynccontextmanager
async def opened():
    tell("entered")
    yield lambda entry: tell("handled")
    tell("left")  # in order: not if it is cancelled
"""


@pytest.mark.parametrize("signal_number", [None, signal.SIGTERM, signal.SIGINT], ids=["once", "SIGTERM", "SIGINT"])
def test_a_resource_is_entered_once_and_left_at_the_end(
    embedded: Endpoint, client: Client, tmp_path: Path, signal_number: signal.Signals | None
) -> None:
    """At the end of `run`, and of `run --watch`, after several runs that it served."""
    target = a_target()
    (tmp_path / "a_resource.py").write_text(RESOURCE, encoding="utf-8")
    env = env_for(embedded, target, HANDLER="a_resource:opened", PYTHONPATH=str(tmp_path))
    given(client, target, *held(range(1)))

    if signal_number is None:
        assert in_process(env, "run").code == 0
    else:
        with watching(env, "--json") as program:
            assert program.stdout is not None
            assert next(one for line in program.stdout if (one := json.loads(line))["acknowledged"])
            given(client, target, *held(range(1, 2)))
            assert next(one for line in program.stdout if (one := json.loads(line))["acknowledged"])
            program.send_signal(signal_number)
            assert program.wait(WAIT_SEC) == 0

    handled = ["handled"] * (1 if signal_number is None else 2)
    assert (tmp_path / "told").read_text().split() == ["entered", *handled, "left"]


# --- one target, so many seconds -------------------------------------------------------------------------------------


def test_one_target_of_several_may_be_run(embedded: Endpoint, client: Client) -> None:
    """The others are left alone, and it fails for none of them."""
    env = one_good_and_one_bad(client, embedded)

    ended = in_pipe(env, "run", "--target", "s/g")

    assert ended.code == 0
    assert ended.out.startswith("s/g: completed, 5 claimed")
    assert len(ended.out.splitlines()) == 1
    assert "s2" not in ended.err


def test_one_target_of_several_may_be_watched(embedded: Endpoint, client: Client) -> None:
    """At every tick it alone."""
    with watching(one_good_and_one_bad(client, embedded), "--json", "--target", "s/g") as program:
        assert program.stdout is not None
        reports = [json.loads(program.stdout.readline()) for _ in range(2)]

    assert [one["target"] for one in reports] == ["s/g", "s/g"]


@pytest.mark.parametrize("options", [[], ["--watch"]], ids=["once", "watching"])
def test_a_target_that_is_not_configured_ends_with_2(embedded: Endpoint, client: Client, options: list[str]) -> None:
    """Before anything is done."""
    given(client, a_target(), *held(range(5)))
    before = state(client, a_target())

    ended = in_pipe(env_of(embedded, a_target()), "run", "--target", "x/y", *options)

    assert (ended.code, ended.out) == (2, "")
    assert "'x/y' is not configured; allowed: s/g" in " ".join(ended.err.split())
    assert state(client, a_target()) == before


def test_a_run_ends_within_the_seconds_it_is_given(client: Client, embedded_proxy: Proxy) -> None:
    """What is not begun then waits for the next run; with no need of RUN_BUDGET_SEC."""
    target = a_target(page_size=1)
    given(client, target, *held(range(200)))
    embedded_proxy.reply_delay_sec = 0.05

    ended = in_pipe(env_of(embedded_proxy, target), "run", "--budget-sec", "1.5", "--json")

    report = json.loads(ended.out)
    assert (ended.code, report["outcome"]) == (0, "out_of_time")
    assert report["seconds"] < 1.6  # the last timeout ends a little after the budget does


@pytest.mark.parametrize("seconds", ["0", "nan", "4000"])
def test_a_budget_that_is_none_ends_with_2(embedded: Endpoint, seconds: str) -> None:
    """As for RUN_BUDGET_SEC, from 1 to 3,600."""
    ended = in_pipe(env_of(embedded, a_target()), "run", "--budget-sec", seconds)

    assert (ended.code, ended.out) == (2, "")
    assert "Invalid value for '--budget-sec': " in ended.err
