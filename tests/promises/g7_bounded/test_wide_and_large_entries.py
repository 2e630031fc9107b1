"""Entries of thousands of fields, and entries too large to have many of in memory (G2, G4, G7)."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from redis.exceptions import ResponseError

from dev.proxy import ErrorReply, Proxy
from reclaim.run.replay import Replay
from reclaim.run.report import Outcome
from tests.faults import LOADING, Recorder, by_function, of_user, pending, step
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    age_all,
    as_dict,
    given,
    held,
    run,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G7

GREATEST = b"18446744073709551615-18446744073709551615"
OURS = "monitoring_app"
FIELDS = 5_000  # more than a Lua script can unpack at once
MIB = 2**20


def wide(number: int) -> list[bytes]:
    """A tweet with thousands of fields more, none of them text."""
    more = [part for at in range(FIELDS) for part in (b"f%d\xff" % at, b"%d\x00" % at)]
    return tweet(number) + more


@contextmanager
def at_most_mib(limit: int) -> Iterator[None]:
    """Fail if Python takes more memory than this for what happens inside."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit * MIB, f"{peak // MIB} MiB"


# --- thousands of fields ---------------------------------------------------------------------------------------------


async def test_a_wide_entry_is_stored(server: Endpoint, client: Client) -> None:
    """With all of its fields."""
    target = a_target()
    given(client, target, Held(wide(1)))

    report = await run(server, target)

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 1)
    assert state(client, target) == State(hashes=stored(wide(1)), length=1)


@pytest.mark.G2
async def test_a_wide_entry_is_parked_with_its_bytes_untouched(server: Endpoint, client: Client) -> None:
    """The key of its hash holds a string, so it can never be stored. The other entry is."""
    target = a_target()
    given(client, target, Held(wide(1)), Held(tweet(2)))
    client.execute_command("SET", b"tweet:1", b"a string")

    report = await run(server, target)

    assert (report.outcome, report.parked, report.acknowledged, report.retried) == (Outcome.COMPLETED, 1, 1, 0)
    after = state(client, target)
    (letter,) = after.dead
    fields = {name.removeprefix(b"field:"): value for name, value in letter.items() if name.startswith(b"field:")}
    assert (letter[b"id"], letter[b"reason"], letter[b"error"][:10]) == (b"1-0", b"bad_entry", b"ResponseEr")
    assert fields == as_dict(wide(1))
    assert (after.pending, after.hashes, after.other_keys) == ({}, stored(tweet(2)), [b"tweet:1"])


async def test_a_wide_entry_is_stored_with_its_version(server: Endpoint, client: Client) -> None:
    """All of its fields, and the version beside them."""
    target = a_target(hash_version_field="version")
    given(client, target, Held(wide(1)), Held(tweet(2)))

    report = await run(server, target)

    assert (report.outcome, report.stored, report.acknowledged) == (Outcome.COMPLETED, 2, 2)
    assert state(client, target) == State(
        hashes={
            b"tweet:1": as_dict(wide(1)) | {b"version": b"1-0"},
            b"tweet:2": as_dict(tweet(2)) | {b"version": b"2-0"},
        },
        length=2,
    )


@pytest.mark.G8
async def test_a_wide_entry_does_not_overwrite_a_newer_one(server: Endpoint, client: Client) -> None:
    """The version protects the newer value here too (G8)."""
    target = a_target(hash_version_field="version")
    given(client, target, Held(wide(1)), Held(tweet(2), consumer=None))
    newer = [*tweet(1, text=b"newer"), b"version", b"2-0"]
    client.execute_command("HSET", b"tweet:1", *newer)

    report = await run(server, target)

    assert (report.superseded, report.stored, report.acknowledged) == (1, 0, 1)
    assert state(client, target) == State(hashes=stored(newer), length=2)


@pytest.mark.parametrize("version_field", [None, "version"])
async def test_a_wide_entry_that_cannot_be_stored_does_not_stay_for_ever(
    server: Endpoint, client: Client, version_field: str | None
) -> None:
    """However it fails: after as many runs as there are deliveries it is done or dead, and the other entry is done."""
    target = a_target(hash_version_field=version_field, max_deliveries=2)
    given(client, target, Held(wide(1)), Held(tweet(2)))
    client.execute_command("SET", b"tweet:1", b"a string")

    for _ in range(2):
        await run(server, target)
        age_all(client, target)

    after = state(client, target)
    assert (after.pending, [letter[b"id"] for letter in after.dead]) == ({}, [b"1-0"])
    assert after.hashes[b"tweet:2"].items() >= as_dict(tweet(2)).items()


# --- dead letters that cannot be made --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["narrow", "wide"])
async def test_dead_letters_that_cannot_be_made_do_not_open_the_circuit(
    server: Endpoint, client: Client, shape: str
) -> None:
    """Their key holds a string: the bad entries stay pending, uncharged, and the good ones of later pages go on."""
    target = a_target(circuit_failures=5, page_size=5)
    no_id = wide(1)[2:] if shape == "wide" else tweet(1)[2:]
    good = held(range(20, 30))
    given(client, target, *[Held(no_id)] * 10, *good)
    client.execute_command("SET", target.keys.dead, b"a string")

    reports = [await run(server, target)]
    age_all(client, target)
    reports.append(await run(server, target))
    client.execute_command("DEL", target.keys.dead)  # or the state could not be told

    assert [report.outcome for report in reports] == [Outcome.COMPLETED] * 2
    assert [report.acknowledged for report in reports] == [10, 0]
    assert [(report.parked, report.retried) for report in reports] == [(0, 10)] * 2
    assert [report.circuit_changes for report in reports] == [()] * 2
    assert state(client, target) == State(
        pending=pending(*range(1, 11), consumer=OURS), hashes=stored(*good), length=20
    )


@pytest.mark.G2
@pytest.mark.parametrize("shape", ["narrow", "wide"])
@pytest.mark.parametrize("is_there", [True, False], ids=["there", "deleted"])
async def test_dead_letters_that_have_come_to_the_greatest_id_lose_no_entry(
    server: Endpoint, client: Client, shape: str, *, is_there: bool
) -> None:
    """Somebody has added a letter with the greatest ID that there is; no other can follow it, if it is deleted too."""
    target = a_target()
    given(client, target, Held(wide(1)[2:] if shape == "wide" else tweet(1)[2:]), Held(tweet(2)))
    letters = exhausted(client, target.keys.dead, is_there=is_there)

    report = await run(server, target)

    assert (report.acknowledged, report.parked, report.retried) == (1, 0, 1)
    assert state(client, target).pending == pending(1, consumer=OURS)
    assert client.execute_command("XRANGE", target.keys.dead, "-", "+") == letters


@pytest.mark.G2
@pytest.mark.parametrize("shape", ["narrow", "wide"])
@pytest.mark.parametrize("is_there", [True, False], ids=["there", "deleted"])
async def test_a_replay_that_fails_loses_no_dead_letter_that_no_other_can_follow(
    server: Endpoint, client: Client, shape: str, *, is_there: bool
) -> None:
    """Its new error cannot be written: the letter stays as it was."""
    target = a_target()
    given(client, target, Held(wide(1)[2:] if shape == "wide" else tweet(1)[2:]), Held(tweet(2)))
    await run(server, target)
    (letter,) = client.execute_command("XRANGE", target.keys.dead, "-", "+")
    letters = [letter, *exhausted(client, target.keys.dead, is_there=is_there)]

    async with a_runner(server, target) as runner:
        with suppress(ResponseError):
            await Replay(target, runner.server, runner.handler).run()

    assert client.execute_command("XRANGE", target.keys.dead, "-", "+") == letters


def exhausted(client: Client, key: str | bytes, *, is_there: bool) -> list[Any]:
    """Add entries of somebody else's to a stream, up to the last ID; return those that stay."""
    if not is_there:
        last = client.execute_command("XADD", key, "*", "somebody", "else's")
    client.execute_command("XADD", key, GREATEST, "somebody", "else's")
    if is_there:
        return [[GREATEST, [b"somebody", b"else's"]]]
    client.execute_command("XDEL", key, GREATEST)
    return [[last, [b"somebody", b"else's"]]]


@pytest.mark.parametrize("error", ["ERR something odd", LOADING], ids=["odd", "loading"])
async def test_dead_letters_that_are_refused_do_not_open_the_circuit(client: Client, proxy: Proxy, error: str) -> None:
    """Whatever the server answers, neither the entries nor the handler have failed."""
    target = a_target(circuit_failures=5, page_size=5, retry_attempts=2)
    good = held(range(20, 30))
    given(client, target, *[Held(tweet(1)[2:])] * 10, *good)
    name, args = step("park")
    rule = proxy.when(name, ErrorReply(error), args=args, times=None)

    report = await run(proxy, target)

    assert rule.hits >= 10
    assert (report.outcome, report.acknowledged, report.parked, report.retried) == (Outcome.COMPLETED, 10, 0, 10)
    assert report.circuit_changes == ()
    assert state(client, target) == State(
        pending=pending(*range(1, 11), consumer=OURS), hashes=stored(*good), length=20
    )


# --- large and many --------------------------------------------------------------------------------------------------


async def test_large_entries_that_we_hold_do_not_come_into_memory_at_once(embedded: Endpoint, client: Client) -> None:
    """An earlier run left 60 MB of them with us: their order keys are needed, not all of their bodies at a time."""
    target = a_target(min_idle_ms=600_000)
    ours = [Held(tweet(number, text=b"x" * 200_000), consumer=OURS, idle_ms=0) for number in range(1000, 1300)]
    good = held(range(10))
    given(client, target, *ours, *good)

    with at_most_mib(30):
        report = await run(embedded, target)

    assert (report.outcome, report.claimed, report.acknowledged) == (Outcome.COMPLETED, 10, 10)
    assert state(client, target) == State(
        pending=pending(*range(1, 301), consumer=OURS, age="fresh"), hashes=stored(*good), length=310
    )


async def test_an_entry_waits_for_a_large_one_of_its_key_that_we_hold(server: Endpoint, client: Client) -> None:
    """The earlier entry may be the first of many, one in the middle, or the last."""
    target = a_target(min_idle_ms=600_000)
    ours = [Held(tweet(number, text=b"x" * 200_000), consumer=OURS, idle_ms=0) for number in range(1, 61)]
    later = [Held(tweet(number, text=b"later")) for number in (1, 30, 60)]
    other = Held(tweet(99))
    given(client, target, *ours, *later, other)

    report = await run(server, target)

    assert (report.outcome, report.held, report.acknowledged) == (Outcome.COMPLETED, 3, 1)
    assert state(client, target) == State(
        pending=pending(*range(1, 61), consumer=OURS, age="fresh") | pending(61, 62, 63, consumer=OURS),
        hashes=stored(other),
        length=64,
    )


async def test_an_entry_waits_for_one_of_its_order_key_that_we_hold(server: Endpoint, client: Client) -> None:
    """The same with a user's handler."""
    target = a_target(min_idle_ms=600_000)
    given(client, target, of_user(1, "a", consumer=OURS, idle_ms=0), of_user(2, "a"), of_user(3, "b"))
    record = Recorder()

    report = await run(server, target, by_function(record))

    assert (record.seen, report.held, report.acknowledged) == ([3], 1, 1)
    assert state(client, target) == State(
        pending=pending(1, consumer=OURS, age="fresh") | pending(2, consumer=OURS), length=3
    )
