"""With HASH_VERSION_FIELD an older entry does not overwrite what a newer one stored (G8)."""

import pytest

from dev.proxy import Fault, Proxy
from tests.support import Client, Endpoint, a_runner, a_target, given, held, run, state, stored, tweet

pytestmark = pytest.mark.G8


async def test_an_older_entry_does_not_overwrite_a_newer_one(server: Endpoint, client: Client) -> None:
    """IDs compare as numbers, milliseconds first; what is superseded is acknowledged and counted (G8)."""
    target = a_target(hash_version_field="version")
    given(client, target, *held(range(1, 7)))
    newer = {1: b"10-0", 2: b"2-1", 3: b"18446744073709551615-0"}
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


async def test_an_entry_stored_again_is_not_superseded_by_itself(client: Client, proxy: Proxy) -> None:
    """The hash has this entry's own version: a retry stores it again, as the first try may have stored a half."""
    target = a_target(hash_version_field="version")
    given(client, target, *held(range(1, 4)))
    proxy.when("XACK", Fault.CUT_BEFORE)

    async with a_runner(proxy, target) as runner:
        report = await runner.run(30)

    assert (report.acknowledged, report.superseded) == (3, 0)
    assert {fields[b"version"] for fields in state(client, target).hashes.values()} == {b"1-0", b"2-0", b"3-0"}
