"""A user who may not do everything: the run stops with an error that names the command, and gives back what it has."""

import pytest

from dev.server import Server
from reclaim import handlers
from reclaim.run.report import Outcome, RunReport
from reclaim.run.runner import Runner
from reclaim.settings import Target
from reclaim.state.connection import connect
from tests.support import Client, Held, a_target, given, held, settings_for, state, stored, tweet

pytestmark = pytest.mark.G9

ENTRIES = held(range(1, 5))


async def run_as(own: Server, target: Target, password: str = "secret") -> RunReport:
    """A run by the user ``limited``."""
    server = connect(settings_for(own, target, username="limited", password=password))
    try:
        return await Runner(target, server, handlers.make(server, target)).run(30)
    finally:
        await server.aclose()


def limit(client: Client, *rules: str) -> None:
    client.execute_command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all", *rules)


@pytest.mark.parametrize("command", ["set", "get", "xpending", "xrange", "eval", "xclaim", "type"])
async def test_without_a_command_needed_to_claim_nothing_is_touched(own: Server, direct: Client, command: str) -> None:
    """The error names the command; every entry is pending and idle, with its budget as it was."""
    target = a_target()
    given(direct, target, *ENTRIES)
    limit(direct, f"-{command}")

    report = await run_as(own, target)

    assert report.outcome is Outcome.FAILED
    assert f"AccessDenied: {own.address} does not let this user run {command.upper()}" in report.reason
    after = state(direct, target)
    assert {row[1:] for row in after.pending.values()} == {(1, "idle")}
    assert (len(after.pending), after.hashes, after.dead) == (4, {}, [])


@pytest.mark.parametrize("version_field", [None, "version"])
async def test_without_hset_everything_is_given_back(own: Server, direct: Client, version_field: str | None) -> None:
    """Claimed, not stored, given back uncharged: run after run, and never a dead letter."""
    target = a_target(max_deliveries=2, hash_version_field=version_field)
    given(direct, target, *ENTRIES)
    limit(direct, "-hset")

    reports = [await run_as(own, target) for _ in range(4)]

    assert {report.outcome for report in reports} == {Outcome.FAILED}
    assert all("does not let this user run " in report.reason for report in reports)
    assert version_field or "HSET" in reports[-1].reason
    after = state(direct, target)
    assert {row[1:] for row in after.pending.values()} == {(1, "idle")}
    assert (len(after.pending), after.hashes, after.dead, after.lost, after.other_keys) == (4, {}, [], [], [])


@pytest.mark.G4
async def test_hashes_that_may_not_be_written_stop_no_other_entry(own: Server, direct: Client) -> None:
    """The user may write to some keys, and an entry's field makes the key: pages of entries that go elsewhere."""
    target = a_target(hash_key="{user}:{id}", page_size=5, min_idle_ms=1)
    elsewhere = [Held(tweet(number, user=b"elsewhere")) for number in range(1, 13)]
    here = [Held(tweet(number, user=b"here")) for number in range(13, 20)]
    given(direct, target, *elsewhere, *here)
    limit(direct, "resetkeys", "~here:*", "~s", "~{s}:*")

    reports = [await run_as(own, target) for _ in range(4)]

    assert sum(report.acknowledged for report in reports) == len(here)
    after = state(direct, target)
    assert [row[1] for row in after.pending.values()] == [1] * len(elsewhere)
    assert after.dead == []


async def test_without_xack_everything_is_stored_and_given_back(own: Server, direct: Client) -> None:
    """Stored, but not acknowledged: it stays pending, uncharged."""
    target = a_target(max_deliveries=2)
    given(direct, target, *ENTRIES)
    limit(direct, "-xack")

    reports = [await run_as(own, target) for _ in range(4)]

    assert {report.outcome for report in reports} == {Outcome.FAILED}
    assert "does not let this user run XACK" in reports[-1].reason
    after = state(direct, target)
    assert after.hashes == stored(*ENTRIES)
    assert {row[1:] for row in after.pending.values()} == {(1, "idle")}
    assert (len(after.pending), after.dead, after.lost) == (4, [], [])


@pytest.mark.parametrize("command", ["xadd", "xack"])
async def test_without_a_command_that_parking_needs_bad_entries_stay(own: Server, direct: Client, command: str) -> None:
    """No dead letter can be made: the bad entry is still pending and uncharged after many runs, and not lost."""
    target = a_target(max_deliveries=2)
    given(direct, target, Held([b"user", b"nobody"]))
    limit(direct, f"-{command}")

    for _ in range(4):
        await run_as(own, target)

    after = state(direct, target)
    assert [row[1:] for row in after.pending.values()] == [(1, "idle")]
    assert (after.lost, after.other_keys) == ([], [])
    assert after.dead == []


async def test_keys_out_of_reach_stop_the_run(own: Server, direct: Client) -> None:
    """The user may write some hashes and not others: an error, no dead letters, and nothing acknowledged unstored."""
    target = a_target(max_deliveries=2)
    given(direct, target, *ENTRIES)
    limit(direct, "resetkeys", "~s", "~{s}*", "~tweet:1", "~tweet:3")

    for _ in range(3):
        report = await run_as(own, target)

    after = state(direct, target)
    assert report.outcome is Outcome.FAILED
    assert "HSET on 'tweet:" in report.reason
    assert after.dead == []
    assert {row[1:] for row in after.pending.values()} == {(1, "idle")}
    for number in range(1, 5):
        assert b"%d-0" % number in after.pending or b"tweet:%d" % number in after.hashes


async def test_a_wrong_password_is_said_so_and_nothing_is_touched(own: Server, direct: Client) -> None:
    """An error in plain words, without the password in it."""
    target = a_target()
    given(direct, target, Held(tweet(1)))
    before = state(direct, target)
    limit(direct)

    report = await run_as(own, target, password="not it")

    assert report.outcome is Outcome.FAILED
    assert report.reason.startswith(f"AccessDenied: {own.address} refused the user name or password")
    assert "not it" not in report.reason
    assert state(direct, target) == before
