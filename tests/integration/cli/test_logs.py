"""The log of the plain program: a sentence for a person, JSON for a program; each failure is told once."""

import json
import logging
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from reclaim import trace
from reclaim.bounded import LINE_BYTES
from reclaim.cli import logs
from tests.integration.cli.program import PROGRAM, ROOT, WAIT_SEC, Ended, env_of, given_dead, in_process, in_terminal
from tests.support import Client, Endpoint, a_target, given, held, tweet

MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
AWAY = {"REDIS_HOST": "127.0.0.1:1"}  # nothing answers there


def records(ended: Ended) -> list[dict[str, Any]]:
    """Standard error as JSON Lines, and nothing else."""
    return [json.loads(line) for line in ended.err.splitlines()]


# --- for a program ---------------------------------------------------------------------------------------------------


def test_in_a_pipe_each_line_is_json_with_the_report_in_it(embedded: Endpoint, client: Client) -> None:
    """A collector of logs needs to strip nothing; the moment is in UTC."""
    given(client, a_target(), *held(range(5)))

    ended = in_process(env_of(embedded, a_target()), "run")

    (line,) = [one for one in records(ended) if "run" in one]
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "reclaim", "reclaim run")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert (line["run"]["target"], line["run"]["acknowledged"]) == ("s/g", 5)
    assert ended.out.startswith("s/g: completed, 5 claimed, 5 acknowledged, ")


def test_what_fails_is_one_line_of_the_log_and_one_event(embedded: Endpoint) -> None:
    """The result on standard output says it as well; nothing else does."""
    ended = in_process(env_of(embedded, a_target()) | AWAY, "run")

    assert ended.code == 1
    assert ended.out.startswith("s/g: failed, ")
    told, event = records(ended)
    assert (told["level"], told["message"], event["level"], event["message"]) == (
        *("ERROR", "reclaim run"),
        *("WARNING", "reclaim alert"),
    )
    assert event["alert"]["type"] == "reclaim.run.failed"


def test_a_person_may_ask_for_text_in_a_pipe_too(embedded: Endpoint, client: Client) -> None:
    """As journald has it. Who did what is a line there."""
    target = a_target()
    given_dead(client, embedded, target, tweet(1))
    env = env_of(embedded, target, LOG_FORMAT="text")

    ended = in_process(env, "dead", "discard", "--all", "--yes", "--why", "a test", "--who", "ann")

    assert (ended.code, ended.out) == (0, "s/g: 1 discarded\n")
    begun, done = ended.err.splitlines()
    assert re.fullmatch(rf"{MOMENT} INFO s/g: discard by ann \(cli\): begun", begun)
    assert re.fullmatch(rf"{MOMENT} INFO s/g: discard by ann \(cli\): done: discarded=1, done=True", done)


def test_what_a_person_did_is_a_line_of_json(embedded: Endpoint, client: Client) -> None:
    """With the reason and the outcome."""
    target = a_target()
    given_dead(client, embedded, target, tweet(1))

    ended = in_process(env_of(embedded, target), "dead", "discard", "--all", "--yes", "--why", "a test", "--who", "ann")

    begun, done = (one["audit"] for one in records(ended))
    assert (begun["outcome"], done["outcome"]) == ("begun", "done")
    assert (done["who"], done["why"], done["counts"]["discarded"]) == ("ann", "a test", 1)


def test_a_format_that_is_none_is_a_bad_setting(embedded: Endpoint) -> None:
    """Named with what is allowed."""
    ended = in_process(env_of(embedded, a_target(), LOG_FORMAT="xml"), "run")

    assert ended.code == 2
    assert "LOG_FORMAT is 'xml'; allowed: auto or json or text" in ended.err


# --- for a person ----------------------------------------------------------------------------------------------------


def test_at_a_terminal_a_failure_is_told_once(embedded: Endpoint) -> None:
    """In the run's one line; no JSON, no second sentence."""
    ended = in_terminal(env_of(embedded, a_target()) | AWAY, "run")

    (line,) = ended.out.splitlines()
    assert ended.code == 1
    assert line.startswith("s/g: failed, ")
    assert "no connection to 127.0.0.1:1" in line


def test_at_a_terminal_a_change_of_the_circuit_is_told_once(embedded: Endpoint, client: Client) -> None:
    """Neither as an event nor as a record: the result says it."""
    given(client, a_target())

    ended = in_terminal(env_of(embedded, a_target()), "circuit", "open", "--reason", "a test")

    assert ended.out == "s/g: the circuit is open now, until a person closes it\n"


def test_at_a_terminal_json_may_be_asked_for(embedded: Endpoint, client: Client) -> None:
    """Then the log is as in a pipe."""
    given(client, a_target(), *held(range(2)))

    ended = in_terminal(env_of(embedded, a_target(), LOG_FORMAT="json"), "run", "--json")

    assert json.loads(ended.out.splitlines()[-1])["acknowledged"] == 2


def watched(env: dict[str, str], until: Callable[[str], bool]) -> str:
    """What `run --watch` writes to a terminal, until it has written enough."""
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "run", "--watch"]
    seen = ""
    with subprocess.Popen(
        command, env={**env, "RECLAIM_SCHEDULE": "* * * * * *"}, cwd=ROOT, stdout=theirs, stderr=theirs
    ) as program:
        os.close(theirs)
        try:
            while not until(seen):
                seen += os.read(ours, 65_536).decode()
            program.send_signal(signal.SIGTERM)
            assert program.wait(WAIT_SEC) == 0
        finally:
            program.kill()
    os.close(ours)
    return seen.replace("\r\n", "\n")


def test_watching_at_a_terminal_is_one_readable_line_a_run(embedded: Endpoint, client: Client) -> None:
    """Of a run that finds nothing too; the moment is in UTC, and says so."""
    given(client, a_target(), *held(range(1500)))

    seen = watched(env_of(embedded, a_target()), lambda seen: seen.count("nothing pending") >= 2)

    first, *rest = [line for line in seen.splitlines() if "consumers that are alive" not in line]
    assert re.fullmatch(rf"{MOMENT} INFO s/g: completed, 1,500 claimed, 1,500 acknowledged, \d+\.\d\d s", first)
    assert all(re.fullmatch(rf"{MOMENT} INFO s/g: nothing pending", line) for line in rest)


def test_watching_what_fails_is_one_line_a_run_too(embedded: Endpoint) -> None:
    """With its reason."""
    seen = watched(env_of(embedded, a_target()) | AWAY, lambda seen: seen.count("\n") >= 2)

    assert all(re.fullmatch(rf"{MOMENT} ERROR s/g: failed, .+no connection to .+", line) for line in seen.splitlines())


# --- every line is bounded, and steers nothing -----------------------------------------------------------------------


@pytest.fixture
def formatters() -> tuple[logging.Formatter, logging.Formatter]:
    """That for a program and that for a person, as `begin` chooses them; afterwards the log is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("reclaim")
    before, levels = root.handlers[:], (root.level, ours.level)
    made = []
    for form in ("json", "text"):
        root.handlers[:] = []
        logs.begin(form)
        made.append(root.handlers[0].formatter)
    root.handlers[:] = before
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    return made[0], made[1]


def a_record(
    message: str, error: Exception | None = None, target: str = "s/g", of: str = "reclaim"
) -> logging.LogRecord:
    """A record of ours, or of another logger, in a run."""
    trace.name_in_log_lines()
    logger = logging.getLogger(of)
    with trace.run_under_way(target, "r1"), trace.entry_under_way("1-0" if of != "reclaim" else ""):
        info = None if error is None else (type(error), error, error.__traceback__)
        record = logger.makeRecord(of, logging.ERROR, "f", 1, message, (), info)
        logger.filter(record)
    return record


def test_a_line_says_its_run_beside_its_message(formatters: tuple[logging.Formatter, logging.Formatter]) -> None:
    """Not in it, as where only the text passes on."""
    for_a_program, for_a_person = formatters

    line = json.loads(for_a_program.format(a_record("it is late")))
    sentence = for_a_person.format(a_record("it is late"))

    assert (line["message"], line["target"], line["run_id"]) == ("it is late", "s/g", "r1")
    assert sentence.endswith("Z ERROR it is late [s/g, r1]")


@pytest.mark.parametrize("part", ["x", "\0", "ä", '"\n'], ids=["x", "nul", "umlaut", "quote"])
def test_a_line_of_json_is_bounded_whatever_it_says(
    formatters: tuple[logging.Formatter, logging.Formatter], part: str
) -> None:
    """Its message, and the end of its traceback."""
    (for_a_program, _), text = formatters, part * 20_000
    try:
        raise ValueError(text)
    except ValueError as exc:
        line = for_a_program.format(a_record(text, exc))

    assert len(line) <= LINE_BYTES
    assert line.isascii()
    told = json.loads(line)
    assert text.startswith(told["message"][:10])
    assert told["traceback"].startswith(("Traceback", "…"))


@pytest.mark.parametrize("of", ["reclaim", "shop.orders.handlers." + "ä" * 200])
@pytest.mark.parametrize("part", ["x", "\0", "😀", "\U000e0001"], ids=["x", "nul", "smile", "tag"])
def test_every_line_is_bounded_whatever_the_target_and_the_logger_are_called(
    formatters: tuple[logging.Formatter, logging.Formatter], of: str, part: str
) -> None:
    """A character takes up to twelve bytes in JSON, and ten as an escape for a terminal."""
    text = part * 2_000
    try:
        raise ValueError(text)
    except ValueError as exc:
        record = a_record(text, exc, target=f"{text}/g", of=of)
    for_a_program, for_a_person = (one.format(record) for one in formatters)

    assert json.loads(for_a_program)["message"].startswith(part)
    assert [len(line.encode()) > LINE_BYTES for line in (for_a_program, *for_a_person.splitlines())].count(True) == 0


def test_no_text_steers_the_terminal(formatters: tuple[logging.Formatter, logging.Formatter]) -> None:
    """Whoever has written it."""
    _, for_a_person = formatters
    try:
        raise ValueError("\x1b[2J")
    except ValueError as exc:
        text = for_a_person.format(a_record("\x1b]0;title\x07", exc))

    assert all(char.isprintable() or char == "\n" for char in text)
    assert text.splitlines()[-1] == "ValueError: \\x1b[2J"
