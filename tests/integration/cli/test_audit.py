"""What people do is recorded: who, from where, to what, how many, and how it ended; also where the process dies."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from reclaim.settings import Target
from tests.integration.cli.program import PROGRAM, ROOT, dead_ids, env_of, given_dead, in_pipe, lines
from tests.support import Client, Endpoint, a_target, given, held, state, tweet

NASTY = [b"id", b"1", b"\xff\x00name", b"\xfe\r\n\x1b[31m", b"id", b"2", b"", b""]


def records(env: dict[str, str]) -> list[dict[str, Any]]:
    """The audit, the earliest first."""
    ended = in_pipe(env, "audit", "--json")
    assert ended.code == 0
    found: list[dict[str, Any]] = json.loads(ended.out)["records"]
    return found[::-1]


def bodies(client: Client, target: Target) -> list[dict[str, Any]]:
    """The dead letters, but for what is new in each that was made again."""
    without = {b"at"}
    found = []
    for _, flat in client.execute_command("XRANGE", target.keys.dead, "-", "+"):
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        found.append([pair for pair in pairs if pair[0] not in without])
    return found


def test_each_thing_that_is_done_leaves_a_record(embedded: Endpoint, client: Client) -> None:
    """Looking at something leaves none."""
    target = a_target()
    given(client, target, *held(range(3)))
    env = env_of(embedded, target)

    in_pipe(env, "run")
    ids = given_dead(client, embedded, target, tweet(7), tweet(8))
    in_pipe(env, "circuit", "open", "--reason", "moving", "--who", "ann")
    in_pipe(env, "circuit", "close", "--reason", "moved", "--who", "ann")
    in_pipe(env, "dead", "replay", "--all", "--dry-run")
    in_pipe(env, "dead", "replay", ids[0])
    in_pipe(env, "dead", "discard", "--error", "no", "--yes", "--why", "a test", "--who", "bob")
    in_pipe(env, "status")

    found = records(env)
    told = [(one["what"], one["outcome"], one["why"], one["door"]) for one in found]
    assert told == [
        ("run", "done", "", "cli"),
        ("open_circuit", "done", "moving", "cli"),
        ("close_circuit", "done", "moved", "cli"),
        ("replay", "done", "", "cli"),
        ("discard", "done", "a test", "cli"),
    ]
    run, opened, _, replay, discard = found
    assert (run["counts"]["outcome"], run["counts"]["acknowledged"]) == ("completed", 3)
    assert (opened["who"], opened["counts"]) == ("ann", {"effect": "opened"})
    assert (replay["meant"], replay["counts"]["replayed"]) == ({"ids": [ids[0]], "count": 1}, 1)
    assert (discard["who"], discard["meant"]) == ("bob", {"ids": "all", "error": "no"})
    assert discard["counts"] == {"discarded": 1, "done": True}
    assert all(one["begun_at"] <= one["ended_at"] and one["place"] for one in found)
    shown = in_pipe(env, "audit", "--limit", "2")
    assert [row[2] for row in lines(shown.out)] == ["what", "discard", "replay"]
    assert "continue with --before" in shown.err


def test_a_run_of_a_misspelt_name_leaves_no_key(embedded: Endpoint, client: Client) -> None:
    """It is told, and nothing is written for a stream that may not be meant."""
    assert in_pipe(env_of(embedded, a_target()), "run").code == 1

    assert client.execute_command("KEYS", "*") == []


def test_what_fails_is_recorded_with_its_error(embedded: Endpoint, client: Client) -> None:
    """Here the dead letters' key is no stream."""
    target = a_target()
    given(client, target)
    client.execute_command("SET", target.keys.dead, "in the way")
    env = env_of(embedded, target)

    assert in_pipe(env, "dead", "discard", "--all", "--yes", "--why", "a test").code == 1

    (found,) = records(env)
    assert (found["outcome"], found["counts"]) == ("failed", {})
    assert "WRONGTYPE" in found["error"]


def test_a_replay_that_is_killed_was_begun_and_loses_nothing(embedded: Endpoint, client: Client) -> None:
    """Its record says by whom and for what; each dead letter is stored or still there."""
    target = a_target(handler="tests.integration.cli.slow:handle", lanes=1)
    ids = given_dead(client, embedded, target, *(tweet(number) for number in range(8)))
    env = env_of(embedded, target, HANDLER="tests.integration.cli.slow:handle", LANES="1")
    before = bodies(client, target)
    with subprocess.Popen(
        [*PROGRAM, "dead", "replay", "--all"], env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not client.execute_command("EXISTS", target.keys.lease):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    client.execute_command("DEL", target.keys.lease)

    (found,) = records(env)
    assert (found["what"], found["outcome"], found["ended_at"], found["meant"]) == (
        "replay",
        "begun",
        None,
        {"ids": "all", "upto": ids[-1]},
    )
    assert bodies(client, target) == before


def test_a_replay_that_is_interrupted_says_how_far_it_came(embedded: Endpoint, client: Client) -> None:
    """SIGTERM cancels it; the record has its outcome."""
    target = a_target()
    given_dead(client, embedded, target, *(tweet(number) for number in range(3)))
    env = env_of(embedded, target, HANDLER="tests.integration.cli.slow:handle", LANES="1")
    with subprocess.Popen(
        [sys.executable, "-m", "reclaim", "dead", "replay", "--all", "--per-second", "1"],
        env=env,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while client.execute_command("XLEN", target.keys.dead) == 3:  # all that there were
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)

    (found,) = records(env)
    assert (found["what"], found["outcome"]) == ("replay", "interrupted")
    assert client.execute_command("XLEN", target.keys.dead) == 2  # the one that was stored is gone


def test_what_is_discarded_can_be_saved_first_and_comes_back_byte_for_byte(
    embedded: Endpoint, client: Client, tmp_path: Path
) -> None:
    """Only what is in the file is removed; what a newer release has written is not, and stays."""
    target = a_target()
    given_dead(client, embedded, target, NASTY, tweet(2), tweet(3))
    client.execute_command("XADD", target.keys.dead, "*", "format", "99", "id", "5-0")
    before = bodies(client, target)
    env, file = env_of(embedded, target), tmp_path / "dead.jsonl"

    gone = in_pipe(env, "dead", "discard", "--all", "--save", str(file), "--yes", "--why", "a test")
    assert (gone.code, gone.out) == (0, f"s/g: 3 discarded, and saved to {file}\n")
    assert bodies(client, target) == before[3:]
    tried = in_pipe(env, "try", "--file", str(file), "2-0")
    assert tried.code == 0, tried.err

    back = in_pipe(env, "dead", "import", str(file), "--who", "ann")

    assert (back.code, back.out) == (0, "s/g: 3 imported\n")
    assert bodies(client, target) == [*before[3:], *before[:3]]
    found = records(env)
    assert [(one["what"], one["outcome"]) for one in found] == [("discard", "done"), ("import", "done")]
    assert found[1]["counts"] == {"imported": 3}
    again = in_pipe(env, "dead", "discard", "--all", "--save", str(file), "--yes", "--why", "a test")
    assert (again.code, len(dead_ids(client, target))) == (2, 4)


def test_a_bad_file_or_too_little_room_imports_nothing(embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    """One bad line is enough; it is named."""
    target = a_target()
    given_dead(client, embedded, target, tweet(1), tweet(2))
    env, file = env_of(embedded, target), tmp_path / "dead.jsonl"
    file.write_text(in_pipe(env, "dead", "list", "--format", "jsonl").out, encoding="ascii")
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(file.read_bytes() + b"{}\n")
    before = state(client, target)

    refused = in_pipe(env, "dead", "import", str(bad))
    full = in_pipe({**env, "DEAD_LETTER_MAXLEN": "3"}, "dead", "import", str(file))

    assert refused.code == 2
    assert "bad.jsonl, line 3 is no dead letter" in " ".join(refused.err.split())
    assert full.code == 1
    assert "as many as DEAD_LETTER_MAXLEN allows" in full.err
    assert state(client, target) == before


def test_an_entrys_id_names_its_dead_letters(embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    """To show, to replay and to discard them; an ID that is a dead letter's own means that one."""
    target = a_target()
    ids = given_dead(client, embedded, target, tweet(1), tweet(2), tweet(3), tweet(4))
    env = env_of(embedded, target)

    shown = in_pipe(env, "dead", "show", "2-0", ids[0], "9-9", "--json")
    replayed = in_pipe(env, "dead", "replay", "3-0")
    gone = in_pipe(env, "dead", "discard", "1-0", "9-9", "--yes", "--why", "a test")
    saved = in_pipe(env, "dead", "discard", "4-0", "9-9", "--save", str(tmp_path / "four"), "--yes", "--why", "a test")

    assert (shown.code, [one["id"] for one in json.loads(shown.out)]) == (1, [ids[1], ids[0]])
    assert "no such dead letter: 9-9" in shown.err
    assert (replayed.code, replayed.out) == (0, "s/g: 1 replayed\n")
    for ended in (gone, saved):
        assert (ended.code, ended.err) == (1, "1 ID is no dead letter's\n")
    assert dead_ids(client, target) == [ids[1]]
    assert json.loads((tmp_path / "four").read_text())["entry_id"] == "4-0"


def test_an_id_that_is_a_dead_letters_own_means_that_one(embedded: Endpoint, client: Client) -> None:
    """Though it is another one's entry's too."""
    target = a_target()
    (first,) = given_dead(client, embedded, target, tweet(1))
    about = ["reason", "failed", "error", "", "consumer", "c", "deliveries", 5, "at", "2026-01-02T03:04:05.678+00:00"]
    second = client.execute_command("XADD", target.keys.dead, "*", "id", first, *about)

    gone = in_pipe(env_of(embedded, target), "dead", "discard", first, "--yes", "--why", "a test")

    assert (gone.code, gone.out) == (0, "s/g: 1 discarded\n")
    assert dead_ids(client, target) == [second.decode()]


def test_the_same_filters_list_count_and_write_dead_letters(embedded: Endpoint, client: Client) -> None:
    """As lines, as groups, and for a file."""
    target = a_target()
    given_dead(client, embedded, target, tweet(1), error="ValueError: no 1")
    given_dead(client, embedded, target, tweet(2, text=b"Unmistakable"), error="ValueError: no 2")
    env = env_of(embedded, target)

    listed = in_pipe(env, "dead", "list", "--text", "unmistak", "--since", "1h")
    groups = in_pipe(env, "dead", "groups", "--reason", "failed")
    table = in_pipe(env, "dead", "list", "--format", "csv", "--order", "oldest")

    assert [row[1] for row in lines(listed.out)] == ["entry", "2-0"]
    assert listed.err == "s/g: 1 that fit among 2 of 2 dead letters\n"
    assert lines(groups.out)[1][:3] == ["2", "failed", "ValueError: no #"]
    assert [line.split(",")[1] for line in table.out.splitlines()] == ["entry_id", "1-0", "2-0"]
    assert in_pipe(env, "dead", "list", "--since", "yesterday").code == 2
