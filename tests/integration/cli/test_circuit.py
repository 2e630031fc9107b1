"""The circuit on the command line: whose name it is given, and what it keeps from being replayed."""

import getpass
import json
import os
import re

import pytest

from reclaim.cli.session import me
from tests.integration.cli.program import dead_ids, env_of, given_dead, in_pipe, lines
from tests.support import Client, Endpoint, a_target, given, tweet


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 4711"), OSError("No username set")])
def test_a_user_without_a_name_is_named_by_the_number(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Containers often run so."""

    def nobody() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nobody)

    assert me().who.startswith(f"uid {os.getuid()}@")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--reason", " "],
        ["--reason", "a\x1b[31mb"],
        ["--reason", "x", "--who", ""],
        ["--reason", "x", "--who", "\u202e"],
    ],
)
def test_what_cannot_be_read_is_no_reason_and_no_name(embedded: Endpoint, client: Client, arguments: list[str]) -> None:
    """Refused before anything is done."""
    ended = in_pipe(env_of(embedded, a_target()), "circuit", "open", *arguments)

    assert ended.code == 2
    assert "can be seen" in ended.err
    assert client.execute_command("KEYS", "*") == []


@pytest.mark.parametrize("action", ["open", "close"])
@pytest.mark.parametrize(
    ("reason", "who", "says"),
    [
        ("x" * 501, "Ada", "1 to 500 characters"),
        ("x", "A" * 101, "1 to 100 characters"),
        ("x", b"\xff", "1 to 100 characters"),
    ],
)
def test_words_are_refused_as_over_http(
    embedded: Endpoint, client: Client, action: str, reason: str, who: str | bytes, says: str
) -> None:
    """By the same document: nothing is cut without a word."""
    ended = in_pipe(env_of(embedded, a_target()), "circuit", action, "--reason", reason, "--who", who)

    assert (ended.code, ended.out) == (2, "")
    assert f"allowed: {says} on one line that can be seen" in " ".join(ended.err.split())
    assert client.execute_command("KEYS", "*") == []


def test_words_as_long_as_they_may_be_are_kept_whole(embedded: Endpoint, client: Client) -> None:
    """The reason and the name."""
    given(client, a_target())
    env = env_of(embedded, a_target())

    ended = in_pipe(env, "circuit", "open", "--reason", "x" * 500, "--who", "A" * 100, "--json")

    kept = json.loads(ended.out)["circuit"]
    assert (ended.code, kept["reason"], kept["who"]) == (0, "x" * 500, "A" * 100)


def test_while_the_circuit_is_open_a_replay_has_to_be_meant(embedded: Endpoint, client: Client) -> None:
    """It ends with 1 and says who opened it and why."""
    target = a_target()
    env = env_of(embedded, target)
    given_dead(client, embedded, target, tweet(1))
    assert in_pipe(env, "circuit", "open", "--reason", " the database moves ", "--who", "Ada").code == 0

    refused = in_pipe(env, "dead", "replay", "--all")
    assert (refused.code, refused.out) == (1, "")
    assert "Ada opened it: the database moves" in refused.err
    assert "--even-if-open" in refused.err
    assert len(dead_ids(client, target)) == 1
    assert in_pipe(env, "dead", "replay", "--all", "--dry-run").code == 0

    assert in_pipe(env, "dead", "replay", "--all", "--even-if-open").code == 0
    assert dead_ids(client, target) == []


def test_the_circuits_that_are_open_are_shown_first(embedded: Endpoint, client: Client) -> None:
    """Of many, they are what somebody looks for; when they opened is said as every moment is."""
    names = ("a", "b", "c")
    targets = json.dumps([{"stream": name, "group": "g"} for name in names])
    for name in names:
        given(client, a_target(stream=name))
    env = env_of(embedded, a_target(), RECLAIM_TARGETS=targets)
    in_pipe(env, "circuit", "open", "--reason", "a test", "--target", "b/g")

    rows = lines(in_pipe(env, "circuit", "show").out)

    assert [row[:2] for row in rows[1:]] == [["b/g", "open"], ["a/g", "closed"], ["c/g", "closed"]]
    assert re.match(r"open since \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ, by person", rows[1][2])
