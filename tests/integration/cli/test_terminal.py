"""The command line before a person: tables, colours with words, a bar, and a question before what cannot be undone."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys

import pytest
import typer

from dev.many import letters
from reclaim.cli.main import COMMANDS
from tests.integration.cli.program import (
    COLUMNS,
    PROGRAM,
    ROOT,
    WAIT_SEC,
    dead_ids,
    env_of,
    given_dead,
    in_pipe,
    in_terminal,
    lines,
)
from tests.integration.cli.test_pipe import NASTY
from tests.support import Client, Endpoint, a_target, given, held, tweet

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MOVES = re.compile(r"\x1b\[(\?25[lh]|[0-9]*[AK])|\r")  # what a bar needs


def plain(text: str) -> str:
    """What a person sees."""
    return COLOUR.sub("", text)


def test_the_status_is_read_at_a_glance(embedded: Endpoint, client: Client) -> None:
    """Health as a word and a colour, the sentence, then the numbers."""
    target = a_target()
    given(client, target, *held(range(12)), *held(range(3), consumer="other\x1b[2J", idle_ms=0))

    ended = in_terminal(env_of(embedded, target), "status")

    assert ended.code == 1
    assert "\x1b[1;31mFAIL" in ended.out
    assert "\x1b[2J" not in ended.out
    seen = [line.rstrip() for line in plain(ended.out).splitlines()]
    assert seen[0].startswith("reclaim 0.1.0, ")
    assert seen[0].endswith(f" at 127.0.0.1:{embedded.port} without TLS")
    assert seen[2:] == [
        "FAIL  s/g",
        "15 entries are pending, the oldest idle for 60 min, and no run that ended well is on record: check the timer.",
        "pending       15, the oldest 1-0 of worker: idle for 60 min, delivered once",
        "              consumer      pending  idle",
        *(line for line in seen if line.lstrip().startswith(("worker  ", "other\\x1b[2J"))),
        "circuit       closed; 0 failures in the last 30 s, 100 open it",
        "dead letters  0 of at most 100,000",
        "lost          0",
    ]


def test_the_status_sums_up_what_many_consumers_hold(embedded: Endpoint, client: Client) -> None:
    """The ten that hold most have a line of their own."""
    for number in range(60):
        given(client, a_target(), *held(range(2 if number < 10 else 1), consumer=f"w{number}"))

    ended = in_terminal(env_of(embedded, a_target()), "status")

    seen = plain(ended.out)
    assert re.findall(r"^ +(w\d+) +2 ", seen, re.MULTILINE) == [f"w{number}" for number in range(10)]
    assert re.search(r"^ +and 50 more +50 *$", seen, re.MULTILINE)


def test_the_status_names_what_the_doctor_found_wrong(embedded: Endpoint, client: Client) -> None:
    """With what to do; what is well it leaves to the doctor."""
    given(client, a_target())

    ended = in_terminal(env_of(embedded, a_target(), HASH_KEYS="x"), "status")

    seen = plain(ended.out)
    assert re.search(
        r"^WARN  settings +HASH_KEYS is no setting of ours\. To do: if HASH_KEY is meant, call", seen, re.MULTILINE
    )
    assert "the user may run every command" not in seen


def test_the_doctor_is_a_table_that_fits(embedded: Endpoint, client: Client) -> None:
    """A line for each finding, what to do beside it."""
    given(client, a_target())

    ended = in_terminal(env_of(embedded, a_target(group="late")), "doctor")

    assert ended.code == 1
    seen = plain(ended.out)
    assert all(len(line) <= COLUMNS for line in seen.splitlines())
    assert re.search(r"^OK    connection +127.0.0.1:\d+ answers in ", seen, re.MULTILINE)
    assert re.search(r"^FAIL  s/late +the stream is there, but not its group late\. To do: ", seen, re.MULTILINE)


def test_the_doctor_begins_with_what_is_wrong_and_may_be_asked_of_one_target(
    embedded: Endpoint, client: Client
) -> None:
    """What is about other targets is left out then; a name that is none is an error."""
    given(client, a_target())
    targets = [{"stream": "s", "group": "g"}, {"stream": "s", "group": "late"}]
    env = env_of(embedded, a_target(), RECLAIM_TARGETS=json.dumps(targets), HASH_KEYS="x")

    both = json.loads(in_pipe(env, "doctor", "--json").out)
    one = json.loads(in_pipe(env, "doctor", "--json", "--target", "s/g").out)
    none = in_pipe(env, "doctor", "--target", "s/x")

    healths = [check["health"] for check in both]
    assert healths == sorted(healths, key=["fail", "warn", "ok"].index)
    assert (healths[0], both[0]["about"]) == ("fail", "s/late")
    assert {check["about"] for check in both} - {check["about"] for check in one} == {"s/late"}
    assert (none.code, "'s/x' is not configured; allowed: s/g, s/late" in " ".join(none.err.split())) == (2, True)


TABLES = ["status", "runs", "lost", "audit", "doctor", "dead list", "dead groups", "circuit show", "pending", "survey"]
LONG = "orders-of-the-far-north.eu-west-1.production"  # a stream's name, and a part of its consumers'


@pytest.mark.parametrize("command", TABLES)
def test_at_80_columns_no_id_and_no_word_is_split(embedded: Endpoint, client: Client, command: str) -> None:
    """An ID is there to be copied: whatever a pipe gets, a person at a narrow terminal reads whole."""
    target = a_target(stream=LONG)
    given(client, target, *held(range(3), consumer=f"{LONG}-7d9c5b6f4-x2x9q"))
    given_dead(client, embedded, target, tweet(7), error="asyncpg.exceptions.CannotConnectNowError: it starts")
    about = ["consumer", f"{LONG}-7d9c5b6f4-x2x9q", "idle_ms", 60_000, "deliveries", 2, "at", 1_767_323_045_678]
    client.execute_command("XADD", target.keys.lost, "*", "id", "1700000000000-12345", *about)
    env = env_of(embedded, target)
    assert in_pipe(env, "run").code == 0
    assert in_pipe(env, "circuit", "open", "--reason", "the database is being moved").code == 0
    given(client, target, *held(range(9, 11), consumer=f"{LONG}-7d9c5b6f4-x2x9q", idle_ms=0))
    words = command.split()

    piped, seen = in_pipe(env, *words), plain(in_terminal(env, *words, columns=80).out)

    wide = [line for line in seen.splitlines() if len(line.rstrip()) > 80]
    assert all(line.startswith("RECLAIM_TARGETS=") for line in wide)  # a setting is copied as one line
    told = {word for line in lines(piped.out)[1:] for field in line for word in field.split()}
    ids = {word for word in told if re.fullmatch(r"\d{13}-\d+", word)}
    names = {word for word in told if re.fullmatch(r"[\w./-]{6,66}", word) and re.search("[a-z]", word)}
    assert len(ids) + len(names) > 0
    assert [word for word in ids | names if word not in seen and not re.match(r"\d{4}-\d\d-", word)] == []


def test_of_many_targets_the_worst_come_first(embedded: Endpoint, client: Client) -> None:
    """In a table; below it only those that need somebody."""
    names = [f"stream-{number}" for number in range(10)]
    for name in names:
        given(client, a_target(stream=name), *held(range(2 if name == "stream-7" else 0)))
    targets = [{"stream": name, "group": "g"} for name in names]
    env = env_of(embedded, a_target(), RECLAIM_TARGETS=json.dumps(targets))
    assert in_pipe(env, "run", "--target", "stream-3/g").code == 0

    seen = plain(in_terminal(env, "status", columns=80).out).splitlines()

    rows = [line.split()[0] for line in seen if re.match(r"stream-\d/g +(OK|WARN|FAIL) ", line)]
    assert (len(rows), rows[0], rows[-1]) == (10, "stream-7/g", "stream-3/g")
    below = [line for line in seen if re.match(r"(OK|WARN|FAIL) +stream-", line)]
    assert len(below) == 9
    assert not any("stream-3" in line for line in below)


def test_the_status_has_a_line_for_each_run(embedded: Endpoint, client: Client) -> None:
    """At 80 columns too: how it ended, and what it did that is not nothing."""
    given(client, a_target(), *held(range(3)))
    env = env_of(embedded, a_target())
    for _ in range(2):
        in_terminal(env, "run")

    seen = plain(in_terminal(env, "status", columns=80).out).splitlines()

    runs = [line.strip() for line in seen if re.search(r"completed|nothing pending,", line)]
    assert [re.sub(r"[\d.]+ s$|\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "…", line) for line in runs] == [
        "last runs     …  nothing pending, …",
        "…  completed, 3 claimed, 3 acknowledged, …",
    ]


def test_the_status_is_shown_again_until_ctrl_c(embedded: Endpoint, client: Client) -> None:
    """What changes meanwhile is in the next look; a program gets a line of JSON each time."""
    given(client, a_target(), *held(range(2), idle_ms=0))
    command = [*PROGRAM, "status", "--watch", "--json", "--every", "1"]
    with subprocess.Popen(command, env=env_of(embedded, a_target()), cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline())]
        given(client, a_target(), *held(range(2, 7), idle_ms=0))
        looks += [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        code = process.wait(WAIT_SEC)

    totals = [look["targets"][0]["pending"]["total"] for look in looks]
    assert (totals[0], totals[-1], code) == (2, 7, 130)


def test_an_address_is_given_beside_the_environment(embedded: Endpoint, client: Client) -> None:
    """It wins over what the environment says of where Redis is."""
    given(client, a_target())
    env = env_of(embedded, a_target()) | {"REDIS_HOST": "nowhere.invalid", "REDIS_TLS": "true"}

    ended = in_pipe(env, "--url", f"redis://127.0.0.1:{embedded.port}", "circuit", "show")

    assert (ended.code, lines(ended.out)[1][:2]) == (0, ["s/g", "closed"])


def test_help_is_asked_for_in_short_too(embedded: Endpoint) -> None:
    """As every other program's; completion of the shell is on offer."""
    ended = in_pipe(env_of(embedded, a_target()), "dead", "list", "-h")

    assert ended.code == 0
    assert "List dead letters" in ended.out
    assert "--install-completion" in in_pipe(env_of(embedded, a_target()), "-h").out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("reclaim de", {"dead"}),
        ("reclaim dead re", {"replay"}),
        ("reclaim dead replay --per", {"--per-second"}),
        ("reclaim c", {"circuit"}),
    ],
)
def test_the_shell_completes_commands_and_options(typed: str, offered: set[str]) -> None:
    """Those of commands that are not loaded yet, too."""
    words = typed.split()
    env = {**os.environ, "_RECLAIM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    code = "import sys; sys.argv[0] = 'reclaim'; from reclaim.__main__ import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_SEC, check=False
    )

    assert set(ended.stdout.split()) == offered


def test_the_list_of_commands_says_what_each_says_itself() -> None:
    """Its sentences are written twice: the list does not load the commands."""
    for name, (module, about) in COMMANDS.items():
        found = typer.main.get_command(importlib.import_module(f"reclaim.cli.{module}").commands)
        command = getattr(found, "commands", {}).get(name, found)

        words = [set(re.findall(r"\w+", text or "")) for text in (about, command.help)]
        assert words[0] - words[1] == set(), name


def test_dead_letters_are_a_table_and_steer_nothing(embedded: Endpoint, client: Client) -> None:
    """No escape but our own colours; a very long value is cut."""
    target = a_target()
    (letter_id,) = given_dead(client, embedded, target, NASTY, error="ValueError: \x1b[2J\u202e")
    env = env_of(embedded, target)

    listed, shown = in_terminal(env, "dead", "list"), in_terminal(env, "dead", "show", letter_id)

    assert (listed.code, shown.code) == (0, 0)
    for text in map(plain, (listed.out, shown.out)):
        assert all(char.isprintable() or char == "\n" for char in text)
        assert all(len(line) <= COLUMNS for line in text.splitlines())
    assert "ValueError: \\x1b[2J\\u202e" in plain(listed.out)
    assert "\\x1b[31mred\\x1b[0m\\x00<script>alert(1)</script>\\r\\n\\t" in plain(shown.out)
    assert "… (100,000 bytes)" in plain(shown.out)


def test_no_colour_where_none_is_wanted(embedded: Endpoint, client: Client) -> None:
    """https://no-color.org."""
    given(client, a_target())

    ended = in_terminal(env_of(embedded, a_target(), NO_COLOR="1"), "status")

    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", ended.out)
    assert "WARN" in ended.out


def test_a_replay_has_a_bar(embedded: Endpoint, client: Client) -> None:
    """It comes to its end, and the result stands below."""
    target = a_target()
    given_dead(client, embedded, target, *(tweet(number) for number in range(150)))

    ended = in_terminal(env_of(embedded, target), "dead", "replay", "--all")

    assert ended.code == 0
    seen = plain(MOVES.sub("", ended.out))
    assert "replaying" in seen
    assert re.search(r"150/150 +[\d,]+/s 0:00:00", seen)
    assert seen.splitlines()[-1] == "s/g: 150 replayed"


def test_a_long_look_shows_how_far_it_is(embedded: Endpoint, client: Client) -> None:
    """Where one answer is enough, no bar; and none stays."""
    with client.pipeline(transaction=False) as pipeline:
        for command in letters(a_target().keys, 45_000):
            pipeline.execute_command(*command)
        pipeline.execute()
    given(client, a_target())
    env = env_of(embedded, a_target())

    rare = in_terminal(env, "dead", "list", "--text", "number 77,")
    groups, newest = in_terminal(env, "dead", "groups"), in_terminal(env, "dead", "list", "--limit", "1")

    for ended in (rare, groups):
        assert re.search(r"looking .*[1-9]\d*/45000", plain(ended.out))
        assert ended.out.rindex("45000/45000") < ended.out.rindex("\x1b[2K")  # which empties its line
    assert plain(rare.out).splitlines()[-1] == "s/g: 1 that fit among 45,000 of 45,000 dead letters"
    assert "looking" not in newest.out


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 3), ("\n", 1, 3), ("\x03", 130, 3)])
def test_discarding_asks_first(embedded: Endpoint, client: Client, answer: str, code: int, left: int) -> None:
    """Only a yes removes anything."""
    target = a_target()
    given_dead(client, embedded, target, *(tweet(number) for number in range(3)))

    ended = in_terminal(env_of(embedded, target), "dead", "discard", "--all", "--why", "a test", answer=answer)

    assert "Discard 3 dead letters of s/g for good? [y/N]" in ended.out
    assert ended.code == code
    assert len(dead_ids(client, target)) == left
    assert "Traceback" not in ended.out


def test_yes_is_the_answer_given_in_advance(embedded: Endpoint, client: Client) -> None:
    """No question then."""
    target = a_target()
    given_dead(client, embedded, target, tweet(1))

    ended = in_terminal(env_of(embedded, target), "dead", "discard", "--all", "--yes", "--why", "a test")

    assert (ended.code, ended.out) == (0, "s/g: 1 discarded\n")
    assert dead_ids(client, target) == []


def test_json_is_json_in_a_terminal_too(embedded: Endpoint, client: Client) -> None:
    """No colours, no folded lines."""
    given(client, a_target())

    ended = in_terminal(env_of(embedded, a_target()), "circuit", "show", "--json")

    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert '"state": "closed"' in ended.out
