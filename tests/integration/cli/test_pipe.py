"""The command line in a pipe: lines and JSON for programs, and what it exits with."""

import asyncio
import base64
import json
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from dev.proxy import Proxy
from reclaim import __version__
from reclaim.cli.progress import replay_progress
from reclaim.ops.operations import without
from reclaim.settings import Target
from tests.integration.cli.program import PROGRAM, ROOT, Ended, dead_ids, env_of, given_dead, in_pipe, in_process, lines
from tests.support import Client, Endpoint, State, a_target, drop_lease, given, held, state, stored, tweet

NASTY = [
    b"id",
    b"1",
    b"text\x1b]0;owned\x07",
    b"\x1b[31mred\x1b[0m\x00<script>alert(1)</script>\r\n\t \xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d \xe2\x80\xaeabc \xff\xfe",
    b"big",
    b"x" * 100_000,
]
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def as_json(text: str) -> Any:
    return json.loads(text)


# --- usage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "",
        "run",
        "status",
        "lost",
        "runs",
        "doctor",
        "dead",
        "dead list",
        "dead groups",
        "dead show",
        "dead import",
        "audit",
        "pending",
        "survey",
        "dead replay",
        "dead discard",
        "circuit",
        "circuit show",
        "circuit open",
        "circuit close",
    ],
)
def test_help_has_an_example_and_needs_no_settings(command: str) -> None:
    """Every command says how it is used."""
    ended = in_pipe({}, *command.split(), "--help")

    assert (ended.code, ended.err) == (0, "")
    assert command in {"dead", "circuit"} or "Example" in ended.out
    assert command in {"dead", "circuit"} or "python -m reclaim" in ended.out
    assert "\\b" not in ended.out


def test_exit_codes_are_told() -> None:
    """In the program's own help."""
    assert "Exit codes: 0 all went well, 1" in in_pipe({}, "--help").out


def test_the_version_is_told_without_settings() -> None:
    """One line, as other programs have it."""
    assert in_process({}, "--version") == Ended(0, f"reclaim {__version__}\n")


@pytest.mark.parametrize("command", ["run", "runs", "status", "dead list", "dead show 1-0", "circuit show"])
def test_bad_settings_end_with_2_and_all_their_names(command: str) -> None:
    """Before anything is connected to, and without a traceback."""
    ended = in_pipe({"LANES": "many", "REDIS_PASSWORD": "s3cret"}, *command.split())

    assert (ended.code, ended.out) == (2, "")
    assert "REDIS_HOST is missing" in ended.err
    assert "LANES is 'many'" in ended.err
    assert "s3cret" not in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "--target", "x/y"], "'x/y' is not configured; allowed: s/g"),
        (["dead", "show", "yesterday"], "'yesterday' is not an entry ID"),
        (["dead", "show", b"\xff-\xff"], "is not an entry ID"),
        (["dead", "list", "--after", "1-"], "'1-' is not an entry ID"),
        (["dead", "list", "--limit", "0"], "--limit"),
        (["runs", "--limit", "0"], "Invalid value for '--limit': 0 is not in the range 1<=x<=10000"),
        (["dead", "replay", "--all", "--per-second", "inf"], "--per-second"),
        (["dead", "replay", "--all", "--per-second", "nan"], "--per-second"),
        (["status", "--watch", "--every", "nan"], "--every"),
        (["dead", "replay", "--all", "--budget-sec", "nan"], "--budget-sec"),
        (["dead", "replay"], "give the IDs, or --all, or what they must be like"),
        (["dead", "replay", "--all", "1-0"], "give the IDs, or --all, or what they must be like"),
        (["dead", "discard", "--yes", "--why", "a test"], "give the IDs, or --all, or what they must be like"),
        (["dead", "discard", "--all"], "nobody can be asked here; say --yes"),
        (["circuit", "open"], "--reason"),
        (["circuit", "slam"], "slam"),
    ],
)
def test_bad_arguments_end_with_2_and_do_nothing(
    embedded: Endpoint, client: Client, arguments: list[str | bytes], says: str
) -> None:
    """One sentence says what is wrong."""
    target = a_target()
    given_dead(client, embedded, target, tweet(1))
    before = state(client, target)

    ended = in_pipe(env_of(embedded, target), *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert says in " ".join(ended.err.split())
    assert "Traceback" not in ended.err
    assert state(client, target) == before


@pytest.mark.parametrize(
    "command",
    ["status", "runs", "dead list", "dead show 1-0", "dead replay --all", "circuit show", "circuit close --reason x"],
)
def test_a_server_that_is_away_ends_with_1(embedded_proxy: Proxy, command: str) -> None:
    """In words that name it."""
    embedded_proxy.refuse()

    ended = in_pipe(env_of(embedded_proxy, a_target()), *command.split())

    assert ended.code == 1
    assert f"onnection to 127.0.0.1:{embedded_proxy.port}" in ended.out + ended.err
    assert "Traceback" not in ended.err


def test_where_several_targets_are_configured_one_is_to_be_named(embedded: Endpoint, client: Client) -> None:
    """Looking is for all; what is done is done to one."""
    first, second = a_target(), a_target(stream="s2")
    given_dead(client, embedded, first, tweet(1))
    given_dead(client, embedded, second, tweet(2), tweet(3))
    env = env_of(embedded, first, RECLAIM_TARGETS='[{"stream": "s", "group": "g"}, {"stream": "s2", "group": "g"}]')

    assert [row[0] for row in lines(in_pipe(env, "status").out)] == ["target", "s2/g", "s/g"]  # the worst first
    whole = as_json(in_pipe(env, "status", "--json").out)
    assert [one["target"] for one in whole["targets"]] == ["s2/g", "s/g"]
    assert [row[0] for row in lines(in_pipe(env, "status", "--target", "s2/g").out)] == ["target", "s2/g"]
    assert [row[0] for row in lines(in_pipe(env, "circuit", "show").out)] == ["target", "s/g", "s2/g"]
    ended = in_pipe(env, "dead", "discard", "--all", "--yes", "--why", "a test")
    assert (ended.code, len(dead_ids(client, first)), len(dead_ids(client, second))) == (2, 1, 2)
    assert "say which target; there are s/g, s2/g" in " ".join(ended.err.split())
    ended = in_pipe(env, "dead", "discard", "--all", "--yes", "--why", "a test", "--target", "s2/g")
    assert (ended.code, len(dead_ids(client, first)), len(dead_ids(client, second))) == (0, 1, 0)


def test_it_starts_without_what_azure_deploys_and_telemetry_needs() -> None:
    """The command line runs where azure-functions is not installed."""
    code = "import sys, reclaim.cli.main; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    roots = {name.partition(".")[0] for name in ended.stdout.split()}
    assert roots & {"azure", "opencensus", "httpx2", "requests"} == set()


# --- status, run, circuit --------------------------------------------------------------------------------------------


def test_status_is_one_line_for_each_target(server: Endpoint, client: Client) -> None:
    """For grep and awk; a health of fail ends with 1."""
    target = a_target()
    given(client, target, *held(range(3)))

    ended = in_pipe(env_of(server, target), "status")

    assert (ended.code, ended.err) == (1, "")
    assert lines(ended.out) == [
        ["target", "health", "pending", "oldest idle", "circuit", "dead letters", "lost", "sentence"],
        [
            "s/g",
            "fail",
            "3",
            "60 min",
            "closed",
            "0",
            "0",
            ended.out.splitlines()[1].split("\t")[-1],
        ],
    ]
    assert ended.out.endswith("the oldest idle for 60 min, and no run that ended well is on record: check the timer.\n")


def test_status_as_json_is_the_whole_status(embedded: Endpoint, client: Client) -> None:
    """What GET /api/status answers."""
    given(client, a_target())
    env = env_of(embedded, a_target())
    assert in_pipe(env, "run").code == 0

    ended = in_pipe(env, "status", "--json")

    assert (ended.code, ended.err) == (0, "")
    found = as_json(ended.out)
    assert set(found) == {"version", "now", "health", "error", "server", "doctor", "targets"}
    assert [run["outcome"] for run in found["targets"][0]["runs"]] == ["nothing_pending"]
    assert found["targets"][0]["sentence"] == "All is well: nothing is pending."


def test_the_status_of_one_target_is_judged_by_it_alone(embedded: Endpoint, client: Client) -> None:
    """The other one has no group: neither its health nor what the doctor finds there is told."""
    given(client, a_target())
    env = env_of(
        embedded, a_target(), RECLAIM_TARGETS='[{"stream": "s", "group": "g"}, {"stream": "s2", "group": "g"}]'
    )
    in_pipe(env, "run")

    both, well, bad = (
        in_pipe(env, "status", "--json", *options) for options in ([], ["--target", "s/g"], ["--target", "s2/g"])
    )

    assert [(ended.code, as_json(ended.out)["health"]) for ended in (both, well, bad)] == [
        (1, "fail"),
        (0, "ok"),
        (1, "fail"),
    ]
    found = [{one["about"] for one in as_json(ended.out)["doctor"]["findings"]} for ended in (both, well, bad)]
    assert found[0] - found[1] == {"s2/g"}
    assert found[0] - found[2] == {"s/g"}


def test_the_status_of_one_target_is_fail_where_the_server_could_not_be_asked() -> None:
    """Though the target itself has answered."""
    well, bad = ({"target": name, "health": health} for name, health in (("s/g", "ok"), ("s2/g", "fail")))
    found = {"health": "fail", "error": "it does not answer", "doctor": {"findings": []}, "targets": [well, bad]}

    assert without({"s2/g"}, found) == {**found, "targets": [well]}


def test_status_in_a_pipe_says_beside_it_what_the_doctor_found_failing(embedded: Endpoint, client: Client) -> None:
    """Standard output keeps its lines; with --json the findings are there already."""
    given(client, a_target())
    env = env_of(embedded, a_target(group="late"), HASH_KEYS="x")

    ended, whole = in_pipe(env, "status"), in_pipe(env, "status", "--json")

    assert (ended.code, whole.code, whole.err) == (1, 1, "")
    assert [row[0] for row in lines(ended.out)] == ["target", "s/late"]
    (line,) = ended.err.splitlines()
    assert line.startswith("the doctor found fail: s/late: the stream is there, but not its group late. To do: ")


def test_a_finding_in_words_has_one_full_stop(embedded_proxy: Proxy) -> None:
    """Though what the system says of a connection ends with one."""
    embedded_proxy.refuse()

    ended = in_pipe(env_of(embedded_proxy, a_target()), "status")

    assert re.search(r"[^.]\. To do: check REDIS_HOST and its port", ended.err)


def test_run_as_json_is_a_line_for_each_report(embedded: Endpoint, client: Client) -> None:
    """The same report as in the log."""
    given(client, a_target(), *held(range(5)))

    ended = in_pipe(env_of(embedded, a_target()), "run", "--json")

    assert ended.code == 0
    (line,) = ended.out.splitlines()
    assert (as_json(line)["target"], as_json(line)["acknowledged"]) == ("s/g", 5)
    assert state(client, a_target()).hashes == stored(*held(range(5)))


def test_a_circuit_is_opened_shown_and_closed(embedded: Endpoint, client: Client) -> None:
    """By whom and why is kept; doing it twice is no error."""
    target = a_target()
    given(client, target)
    env = env_of(embedded, target)

    opened = in_pipe(env, "circuit", "open", "--reason", "moving", "--who", "ann")
    again = in_pipe(env, "circuit", "open", "--reason", "moving", "--json")
    shown = in_pipe(env, "circuit", "show")
    closed = in_pipe(env, "circuit", "close", "--reason", "moved", "--json")
    is_closed = in_pipe(env, "circuit", "close", "--reason", "moved")

    assert [ended.code for ended in (opened, again, shown, closed, is_closed)] == [0] * 5
    assert opened.out == "s/g: the circuit is open now, until a person closes it\n"
    assert (as_json(again.out)["effect"], as_json(again.out)["circuit"]["who"]) == ("is_open", "ann")
    assert lines(shown.out)[1][:2] == ["s/g", "open"]
    assert "by person (ann): moving; only a person closes it" in shown.out
    assert as_json(closed.out)["circuit"]["state"] == "closed"
    assert "@" in as_json(closed.out)["circuit"]["who"]
    assert is_closed.out == "s/g: the circuit was closed already\n"


# --- runs ------------------------------------------------------------------------------------------------------------


def with_history(client: Client, target: Target, count: int) -> None:
    """Put reports into the history, each with its number as `claimed`."""
    for number in range(count):
        report = {"started_at": f"at {number}", "outcome": "circuit_open", "claimed": number, "reason": "a\tb"}
        client.execute_command("XADD", target.keys.runs, f"{number + 1}-0", "report", json.dumps(report))


def test_runs_are_listed_the_latest_first(embedded: Endpoint, client: Client) -> None:
    """More of them than the status has; lines for grep and awk, what a report does not say as a question mark."""
    with_history(client, a_target(), 250)
    env = env_of(embedded, a_target())

    listed, few = in_pipe(env, "runs", "--limit", "230"), in_pipe(env, "runs", "--limit", "3")

    assert (listed.code, few.code) == (0, 0)
    assert listed.err + few.err == "s/g: 230 runs\ns/g: 3 runs\n"
    rows = lines(listed.out)
    assert rows[0][:3] == ["started at", "outcome", "claimed"]
    assert rows[1] == ["at 249", "circuit_open", "249", "?", "?", "?", "?", "?", "?", "a\\tb", "?"]
    assert [row[2] for row in rows[1:]] == [str(number) for number in range(249, 19, -1)]
    assert lines(few.out) == rows[:4]


def test_runs_as_json_are_whole_reports(embedded: Endpoint, client: Client) -> None:
    """As GET /api/runs has them, with their IDs."""
    given(client, a_target(), *held(range(5)))
    env = env_of(embedded, a_target())
    in_pipe(env, "run")

    ended = in_pipe(env, "runs", "--json")

    found = as_json(ended.out)
    assert (ended.code, found["target"]) == (0, "s/g")
    (run,) = found["runs"]
    assert (run["outcome"], run["acknowledged"]) == ("completed", 5)
    assert run["id"].endswith("-0")


def test_no_run_on_record_is_no_error(embedded: Endpoint) -> None:
    """There is the header, and that there is none."""
    ended = in_pipe(env_of(embedded, a_target()), "runs")

    assert (ended.code, len(ended.out.splitlines()), ended.err) == (0, 1, "s/g: 0 runs\n")


# --- lost entries ----------------------------------------------------------------------------------------------------


def test_lost_entries_are_listed_the_last_found_first(embedded: Endpoint, client: Client) -> None:
    """Lines or JSON, with how many there are."""
    target = a_target()
    given(client, target, *held(range(3)))
    client.execute_command("XDEL", target.stream, "1-0", "3-0")
    env = env_of(embedded, target)
    in_pipe(env, "run")

    listed, one = in_pipe(env, "lost"), in_pipe(env, "lost", "--limit", "1", "--json")

    assert (listed.code, one.code) == (0, 0)
    rows = lines(listed.out)
    assert rows[0] == ["entry", "consumer", "deliveries", "idle ms", "found lost", "at most"]
    assert [row[:3] for row in rows[1:]] == [["3-0", "worker", "1"], ["1-0", "worker", "1"]]
    assert listed.err == "s/g: 2 of 2 lost entries\n"
    found = as_json(one.out)
    assert (found["target"], found["count"], [entry["id"] for entry in found["lost"]]) == ("s/g", 2, ["3-0"])


# --- dead letters ----------------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_a_page_at_a_time(embedded: Endpoint, client: Client) -> None:
    """With what is needed to go on."""
    target = a_target()
    ids = given_dead(client, embedded, target, *(tweet(number) for number in range(45)))
    env = env_of(embedded, target)

    first = in_pipe(env, "dead", "list", "--order", "oldest", "--limit", "30")
    then = in_pipe(env, "dead", "list", "--order", "oldest", "--limit", "30", "--after", ids[29], "--json")

    assert (first.code, then.code) == (0, 0)
    rows = lines(first.out)
    assert rows[0] == ["id", "entry", "reason", "deliveries", "consumer", "at", "error"]
    assert [row[0] for row in rows[1:]] == ids[:30]
    assert rows[1][1:5] == ["1-0", "failed", "1", "worker"]
    assert first.err == f"s/g: 30 of 45 dead letters; continue with --after {ids[29]}\n"
    found = as_json(then.out)
    assert (found["target"], found["count"], found["next"]) == ("s/g", 45, None)
    assert [letter["id"] for letter in found["dead_letters"]] == ids[30:]


def test_bytes_that_steer_terminals_are_shown_and_not_sent(embedded: Endpoint, client: Client) -> None:
    """Escapes, NULs, markup, right-to-left marks, bytes that are no UTF-8, 100 KB: all of it, one line a field."""
    target = a_target()
    (letter_id,) = given_dead(client, embedded, target, NASTY, error="ValueError: \x1b[2J\u202e\u009b\nsecond line")
    env = env_of(embedded, target)

    listed, shown = in_pipe(env, "dead", "list"), in_pipe(env, "dead", "show", letter_id)

    assert (listed.code, shown.code) == (0, 0)
    assert STEERING.search(listed.out + listed.err + shown.out + shown.err) is None
    assert lines(listed.out)[1][-1] == "ValueError: \\x1b[2J\\u202e\\x9b\\nsecond line"
    rows = dict(lines(shown.out))
    assert rows["field text\\x1b]0;owned\\x07"] == (
        "\\x1b[31mred\\x1b[0m\\x00<script>alert(1)</script>\\r\\n\\t שלום \\u202eabc \\xff\\xfe"
    )
    assert rows["field big"] == "x" * 100_000


def test_json_keeps_every_byte(embedded: Endpoint, client: Client) -> None:
    """As text for the eye and in base64 for programs; all of it is ASCII."""
    target = a_target()
    (letter_id,) = given_dead(client, embedded, target, NASTY)

    ended = in_pipe(env_of(embedded, target), "dead", "show", letter_id, "--json")

    assert ended.out.isascii()
    (letter,) = as_json(ended.out)
    assert {name: letter[name] for name in ("id", "entry_id", "reason", "consumer", "deliveries")} == {
        "id": letter_id,
        "entry_id": "1-0",
        "reason": "failed",
        "consumer": "worker",
        "deliveries": 1,
    }
    flat = [base64.b64decode(field[part]["base64"]) for field in letter["fields"] for part in ("name", "value")]
    assert flat == NASTY
    assert letter["fields"][1]["value"]["text"].endswith("\u202eabc \\xff\\xfe")
    assert [field["value"]["bytes"] for field in letter["fields"]] == [1, len(NASTY[3]), 100_000]


def test_showing_one_that_is_not_there_ends_with_1(embedded: Endpoint, client: Client) -> None:
    """The others are shown all the same."""
    target = a_target()
    (letter_id,) = given_dead(client, embedded, target, tweet(1))

    ended = in_pipe(env_of(embedded, target), "dead", "show", "9-9", letter_id)

    assert (ended.code, ended.err) == (1, "no such dead letter: 9-9\n")
    assert ended.out.startswith(f"id\t{letter_id}\n")


def test_replaying_stores_and_says_how_far_it_is(embedded: Endpoint, client: Client) -> None:
    """The progress is in the log, which is JSON here, or in plain lines; the result is on standard output."""
    target = a_target()
    bodies = [tweet(number) for number in range(250)]
    given_dead(client, embedded, target, *bodies)
    env = env_of(embedded, target)

    dry = in_pipe(env, "dead", "replay", "--all", "--dry-run")
    some = in_pipe(env, "dead", "replay", "--all", "--limit", "20", "--json")
    more = in_process({**env, "LOG_FORMAT": "text"}, "dead", "replay", "--all", "--limit", "20")
    ended = in_process(env, "dead", "replay", "--all")

    assert (dry.code, dry.out) == (0, "s/g: 250 would be replayed\n")
    assert (some.code, as_json(some.out)["replayed"], as_json(some.out)["chosen"]) == (0, 20, 20)
    assert re.search(r"^(\d+) of 20 done, \1 replayed$", more.err, re.MULTILINE)
    assert (ended.code, ended.out) == (0, "s/g: 210 replayed\n")
    told = [as_json(line)["message"] for line in ended.err.splitlines()]  # each line is JSON
    assert any(re.fullmatch(r"reclaim replay: (\d+) of 210 done, \1 replayed", line) for line in told)
    assert state(client, target) == State(pending=state(client, target).pending, hashes=stored(*bodies), length=250)


def test_a_replay_that_does_not_store_all_ends_with_1(embedded: Endpoint, client: Client) -> None:
    """One is bad still, one is not there."""
    target = a_target()
    good, bad = given_dead(client, embedded, target, tweet(1), [b"no", b"id"])

    ended = in_pipe(env_of(embedded, target), "dead", "replay", good, bad, "1-1")

    why = "MissingField: no field 'id' for 'tweet:{id}'"
    assert (ended.code, ended.out) == (1, f"s/g: 1 replayed, 1 failed, 1 missing; most often: {why}\n")
    assert len(dead_ids(client, target)) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_replay_that_is_interrupted_says_how_far_it_was(
    embedded: Endpoint, client: Client, number: signal.Signals, code: int
) -> None:
    """It lets go of the lease, what it had not begun is as it was, and it says how to go on with just that."""
    target = a_target()
    ids = given_dead(client, embedded, target, *(tweet(number) for number in range(30)))
    program = subprocess.Popen(
        [*PROGRAM, "dead", "replay", "--all", "--per-second", "5"],
        env=env_of(embedded, target),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stderr is not None
    while " done, " not in program.stderr.readline():
        pass

    program.send_signal(number)
    out, err = program.communicate(timeout=60)

    assert (program.returncode, out) == (code, "")
    *_, how_far, how_to_go_on = [as_json(line)["message"] for line in err.splitlines()]
    told = re.fullmatch(
        r"reclaim replay: interrupted: (\d+) of 30 done, \1 replayed, not counting the dead letters in work;"
        r" the rest are still dead letters",
        how_far,
    )
    assert told is not None, err
    assert how_to_go_on == f"reclaim replay: To go on, give the same command with --upto {ids[-1]}"
    assert 0 < int(told[1]) < 30
    assert dead_ids(client, target) == ids[int(told[1]) :]
    assert client.execute_command("EXISTS", target.keys.lease) == 0
    *_, later = given_dead(client, embedded, target, tweet(99))

    rest = in_pipe(env_of(embedded, target), "dead", "replay", "--all", "--upto", ids[-1])

    assert (rest.code, rest.out) == (0, f"s/g: {30 - int(told[1])} replayed\n")
    assert dead_ids(client, target) == [later]


def test_a_replay_that_is_interrupted_at_once_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing has told yet how far it is."""
    with pytest.raises(asyncio.CancelledError), replay_progress(None):
        raise asyncio.CancelledError

    assert capsys.readouterr().err == "interrupted before the first page was done\n"


def test_a_replay_that_finds_a_run_at_work_says_so(embedded: Endpoint, client: Client) -> None:
    """It waits as long as it may, then ends with 1."""
    target = a_target()
    given_dead(client, embedded, target, tweet(1))
    client.execute_command("SET", target.keys.lease, "run 7 on elsewhere", "PX", 60_000)

    ended = in_process(env_of(embedded, target), "dead", "replay", "--all", "--budget-sec", "1")

    assert (ended.code, ended.out) == (1, "")
    *log, last = ended.err.splitlines()
    (waits,) = [said for line in log if "the replay waits" in (said := as_json(line)["message"])]  # once
    assert waits.startswith("reclaim s/g: the replay waits: run 7 on elsewhere has the lease")
    assert last.startswith("s/g: run 7 on elsewhere has the lease")
    drop_lease(client, target)


def test_discarding_removes_those_named(embedded: Endpoint, client: Client) -> None:
    """With 1 where one of them was not there."""
    target = a_target()
    ids = given_dead(client, embedded, target, *(tweet(number) for number in range(4)))
    env = env_of(embedded, target)

    one = in_pipe(env, "dead", "discard", ids[1], ids[1], "--yes", "--why", "a test")
    gone = in_pipe(env, "dead", "discard", ids[1], ids[2], "--yes", "--why", "a test", "--json")
    rest = in_pipe(env, "dead", "discard", "--all", "--yes", "--why", "a test")

    assert (one.code, one.out) == (0, "s/g: 1 discarded\n")
    assert (gone.code, as_json(gone.out)) == (1, {"target": "s/g", "discarded": 1, "done": True, "missing": 1})
    assert (rest.code, rest.out) == (0, "s/g: 2 discarded\n")
    assert dead_ids(client, target) == []


def test_an_encoding_that_lacks_characters_is_no_error(embedded: Endpoint, client: Client) -> None:
    """They are shown by their numbers."""
    target = a_target()
    (letter_id,) = given_dead(client, embedded, target, tweet(1))

    ended = in_process(env_of(embedded, target, PYTHONIOENCODING="ascii"), "dead", "show", letter_id)

    assert ended.code == 0
    assert "hello 1 \\U0001f600" in ended.out
