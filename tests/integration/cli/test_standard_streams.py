"""The command line's standard streams: one that is closed, a full disk behind it, a reader that goes away."""

import subprocess

import pytest

from tests.integration.cli.program import PROGRAM, ROOT, WAIT_SEC, Ended, dead_ids, env_of, given_dead
from tests.support import Client, Endpoint, a_target, given, tweet

FULL = "standard output cannot be written to: No space left on device\n"


def redirected(env: dict[str, str], redirection: str, *arguments: str) -> Ended:
    """The program as a shell starts it with this behind the command, in a pipe otherwise."""
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *PROGRAM, *arguments],
        env=env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SEC,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_where_standard_output_and_error_are_closed_the_exit_code_is_the_same(
    embedded: Endpoint, client: Client
) -> None:
    """A program that starts it for the exit code alone may close them."""
    given(client, a_target())

    ended = redirected(env_of(embedded, a_target()), ">&- 2>&-", "run")

    assert ended == Ended(0, "")


def test_where_standard_input_is_closed_nobody_can_be_asked(embedded: Endpoint, client: Client) -> None:
    """As in a pipe."""
    given_dead(client, embedded, a_target(), tweet(1))

    ended = redirected(env_of(embedded, a_target()), "<&-", "dead", "discard", "--all")

    assert (ended.code, ended.out) == (2, "")
    assert "nobody can be asked here; say --yes" in " ".join(ended.err.split())
    assert len(dead_ids(client, a_target())) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_full_disk_is_one_line_and_ends_with_1(embedded: Endpoint, client: Client, unbuffered: str) -> None:
    """Whoever redirects a list into a file has to see that it is not whole."""
    (letter_id,) = given_dead(client, embedded, a_target(), [b"id", b"1", b"big", b"x" * 100_000])
    env = env_of(embedded, a_target(), PYTHONUNBUFFERED=unbuffered)

    ended = redirected(env, ">/dev/full", "dead", "show", letter_id)

    assert ended == Ended(1, "", FULL)


def test_watching_ends_where_its_lines_cannot_be_written(embedded: Endpoint, client: Client) -> None:
    """It would go on for ever, unread."""
    given(client, a_target())
    env = env_of(embedded, a_target(), RECLAIM_SCHEDULE="* * * * * *")

    ended = redirected(env, ">/dev/full", "run", "--watch", "--json")

    assert ended.code == 1
    assert ended.err.endswith(FULL)
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", ["--version", "dead show"], ids=["little", "much"])
def test_a_reader_that_goes_away_is_not_worth_a_word(embedded: Endpoint, client: Client, command: str) -> None:
    """As with head, whether little is printed or much."""
    (letter_id,) = given_dead(client, embedded, a_target(), [b"id", b"1", b"big", b"x" * 100_000])
    ids = [letter_id] if "dead" in command else []
    program = subprocess.Popen(
        [*PROGRAM, *command.split(), *ids],
        env=env_of(embedded, a_target(), PYTHONUNBUFFERED=""),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None
    program.stdout.close()

    _, err = program.communicate(timeout=WAIT_SEC)

    assert (program.returncode, err) == (1, b"")
