"""With HASH_VERSION_FIELD an older entry does not overwrite what a newer one stored (G8)."""

import pytest

from dev.proxy import Fault, Proxy
from tests.faults import dead_letter
from tests.support import Client, Endpoint, Held, a_runner, a_target, given, held, run, state, stored, tweet

pytestmark = pytest.mark.G8


async def test_an_older_entry_does_not_overwrite_a_newer_one(server: Endpoint, client: Client) -> None:
    """IDs compare as numbers, milliseconds first; what is superseded is acknowledged and counted (G8)."""
    target = a_target(hash_version_field="version")
    given(client, target, *held(range(1, 7)))
    newer = {1: b"6-0", 2: b"2-1", 3: b"3-18446744073709551615"}
    older = {4: b"3-99999", 5: b"4-18446744073709551615", 6: b"no ID at all"}
    for number, version in (newer | older).items():
        client.execute_command("HSET", f"tweet:{number}", "text", "there already", "version", version)

    report = await run(server, target)

    assert (report.acknowledged, report.superseded, report.stored) == (6, 3, 3)
    after = state(client, target)
    assert after.pending == {}
    for number, version in newer.items():
        assert after.hashes[b"tweet:%d" % number] == {b"text": b"there already", b"version": version}
    for number in older:
        wanted = stored(tweet(number))[b"tweet:%d" % number] | {b"version": b"%d-0" % number}
        assert after.hashes[b"tweet:%d" % number] == wanted


async def test_a_version_that_the_stream_has_not_come_to_makes_a_dead_letter(server: Endpoint, client: Client) -> None:
    """The stream was made anew and its IDs began again: nobody can say which is newer, so a person has to."""
    target = a_target(hash_version_field="version")
    given(client, target, *held(range(1, 5)), Held(tweet(5), consumer=None))
    for number, version in {1: b"1795646278098-0", 2: b"5-0", 3: b"5-1"}.items():
        client.execute_command("HSET", f"tweet:{number}", "version", version)

    report = await run(server, target)

    assert (report.acknowledged, report.superseded, report.stored, report.parked) == (2, 1, 1, 2)
    error = "IdsBeganAgain: its hash holds the version %s, which the stream has not come to"
    letters = [
        dead_letter(1, tweet(1), "ids_began_again", error % "1795646278098-0"),
        dead_letter(3, tweet(3), "ids_began_again", error % "5-1"),
    ]
    assert state(client, target).dead == letters


async def test_a_version_that_another_group_has_stored_ahead_of_ours_is_newer(server: Endpoint, client: Client) -> None:
    """Our group has not come to it yet, and the stream has."""
    target = a_target(hash_version_field="version")
    given(client, target, Held(tweet(1)), *(Held(tweet(number), consumer=None) for number in range(2, 6)))
    client.execute_command("HSET", "tweet:1", "version", "4-0")

    report = await run(server, target)

    assert (report.superseded, report.parked) == (1, 0)


async def test_an_entry_stored_again_is_not_superseded_by_itself(client: Client, proxy: Proxy) -> None:
    """The hash has this entry's own version: a retry stores it again, as the first try may have stored a half."""
    target = a_target(hash_version_field="version")
    given(client, target, *held(range(1, 4)))
    proxy.when("XACK", Fault.CUT_BEFORE)

    async with a_runner(proxy, target) as runner:
        report = await runner.run(30)

    assert (report.acknowledged, report.superseded) == (3, 0)
    assert {fields[b"version"] for fields in state(client, target).hashes.values()} == {b"1-0", b"2-0", b"3-0"}
