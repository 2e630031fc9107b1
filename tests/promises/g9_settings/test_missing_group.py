"""A stream or group that is not there is a failure that a person sees, and leaves no key behind (G9)."""

import pytest

from reclaim.app import App
from reclaim.errors import RunFailed
from reclaim.ops.status import status
from reclaim.run.report import Outcome
from tests.integration.cli.program import in_pipe
from tests.support import Client, Endpoint, Held, a_target, env_for, given, run, settings_for, tweet

pytestmark = pytest.mark.G9


def test_a_misspelt_group_is_exit_code_1_and_the_message_names_the_groups(server: Endpoint, client: Client) -> None:
    given(client, a_target(group="workers"), Held(tweet(1)))

    ended = in_pipe(env_for(server, a_target(group="worker")), "run")

    assert ended.code == 1
    assert (
        "the stream 's' has no group 'worker'; its groups are 'workers'; check STREAM_CONSUMER_GROUP_NAME" in ended.out
    )


def test_only_some_of_many_groups_are_named(embedded: Endpoint, client: Client) -> None:
    for number in range(1000):
        client.execute_command("XGROUP", "CREATE", "s", f"group {number:04}{'x' * 500}", "0", "MKSTREAM")

    ended = in_pipe(env_for(embedded), "run")

    assert "and 990 more; check" in ended.out
    assert len(ended.out) < 1500


def test_a_misspelt_stream_leaves_no_key_behind(server: Endpoint, client: Client) -> None:
    """Run after run, though their reports would be kept elsewhere."""
    env = env_for(server, a_target(stream="missing"))

    ended = [in_pipe(env, "run"), in_pipe(env, "run")]

    assert [one.code for one in ended] == [1, 1]
    assert "the stream 'missing' does not exist; check STREAM_NAME" in ended[0].out
    assert client.execute_command("KEYS", "*") == []


def test_what_comes_later_is_no_failure_where_that_is_said(embedded: Endpoint, client: Client) -> None:
    """MISSING_OK: until the stream is there for the first time; one that was there and is gone is a failure always."""
    env = env_for(embedded, MISSING_OK="true")

    before = in_pipe(env, "run")
    keys = client.execute_command("KEYS", "*")
    client.execute_command("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    there = in_pipe(env, "run")
    client.execute_command("DEL", "s")
    gone = in_pipe(env, "run")

    assert [one.code for one in (before, there, gone)] == [0, 0, 1]
    assert "that is no failure yet, as MISSING_OK is true" in before.out
    assert keys == []
    assert "group missing: the stream 's' does not exist" in gone.out


async def test_an_invocation_fails_and_it_is_told_once_until_the_group_is_there(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(settings_for(embedded))
    try:
        for _ in range(3):
            with pytest.raises(RunFailed, match="group missing: the stream 's' does not exist"):
                await app.run()
        given(client, a_target(), Held(tweet(1)))
        for _ in range(3):
            await app.run()
        client.execute_command("DEL", "s")
        with pytest.raises(RunFailed):
            await app.run()
    finally:
        await app.aclose()

    told = [
        kind for kind in ("reclaim.group.missing", "reclaim.group.found") for line in caplog.messages if kind in line
    ]
    assert told == ["reclaim.group.missing"] * 2 + ["reclaim.group.found"]


async def test_the_status_says_that_what_comes_later_is_not_there_yet(embedded: Endpoint, client: Client) -> None:
    app = App(settings_for(embedded, a_target(missing_ok=True)))
    try:
        (waiting,) = (await status(app)).found["targets"]
        given(client, a_target(), Held(tweet(1)))
        await app.run()
        client.execute_command("DEL", "s")
        (gone,) = (await status(app)).found["targets"]
    finally:
        await app.aclose()

    assert (waiting["missing_ok"], gone["missing_ok"]) == (True, False)
    assert "is not there yet; MISSING_OK is true" in waiting["sentence"]
    assert gone["health"] == "fail"


async def test_a_group_that_is_there_is_no_failure(embedded: Endpoint, client: Client) -> None:
    given(client, a_target())

    assert (await run(embedded, a_target())).outcome is Outcome.NOTHING_PENDING
