"""Several targets in one app: one that fails does not touch another; and leases and old consumers are removed."""

import asyncio
import importlib
import json
import sys
from pathlib import Path

import pytest

from dev.proxy import Fault, Proxy
from reclaim.app import App
from reclaim.errors import RunFailed
from reclaim.run.report import Outcome
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    env_for,
    given,
    held,
    run,
    state,
    stored,
    tweet,
)

GOOD = a_target(stream="good")
ENTRIES = held(range(1, 4))


def env(place: Endpoint | Proxy, *others: str) -> dict[str, str]:
    """Settings of an app with the good target and others, all of the group ``g``."""
    targets = [{"stream": stream, "group": "g"} for stream in ("good", *others)]
    shared = env_for(place, RECLAIM_TARGETS=json.dumps(targets), RETRY_MAX_DELAY_SEC="0.01")
    return {name: value for name, value in shared.items() if not name.startswith("STREAM_")}


async def test_a_target_without_a_group_does_not_touch_the_others(server: Endpoint, client: Client) -> None:
    """The app fails after all targets have run, and names the one whose group is missing."""
    given(client, GOOD, *ENTRIES)
    app = App.from_env(env(server, "nowhere"))
    try:
        with pytest.raises(RunFailed, match=r"^nowhere/g: group missing: the stream 'nowhere' does not exist"):
            await app.run()
    finally:
        await app.aclose()

    assert state(client, GOOD).hashes == stored(*ENTRIES)
    assert state(client, GOOD).pending == {}


async def test_a_target_of_the_wrong_type_does_not_touch_the_others(server: Endpoint, client: Client) -> None:
    """The app fails after all targets have run, and names the one that failed. No lease is left behind."""
    given(client, GOOD, *ENTRIES)
    client.execute_command("SET", "bad", "a string")
    app = App.from_env(env(server, "bad"))
    try:
        with pytest.raises(RunFailed, match=r"bad/g: .*WRONGTYPE"):
            await app.run()
    finally:
        await app.aclose()

    after = state(client, GOOD)
    assert (after.hashes, after.pending) == (stored(*ENTRIES), {})
    assert not [key for key in after.other_keys if key.endswith(b":lease")]


@pytest.mark.G4
async def test_a_target_that_hangs_does_not_hold_up_the_others(client: Client, proxy: Proxy) -> None:
    """One target's commands are never answered; the other is done all the same."""
    given(client, GOOD, *ENTRIES)
    given(client, a_target(stream="silent"), *ENTRIES)
    proxy.when("XPENDING", Fault.HANG, args=lambda args: args[0] == b"silent", times=None)
    app = App.from_env({**env(proxy, "silent"), "RUN_BUDGET_SEC": "1"})
    try:
        with pytest.raises(RunFailed, match="silent/g"):
            await app.run()
    finally:
        await app.aclose()

    assert state(client, GOOD).pending == {}
    assert len(client.execute_command("XPENDING", "silent", "g", "-", "+", 10)) == 3


async def test_a_run_is_skipped_while_another_has_the_lease_and_says_whose_it_is(
    server: Endpoint, client: Client
) -> None:
    """Nothing is touched, the lease least of all."""
    target = a_target()
    given(client, target, *ENTRIES)
    client.execute_command("SET", target.keys.lease, "run 42 on somewhere", "PX", 9000)
    before = state(client, target)

    report = await run(server, target)

    assert report.outcome is Outcome.LEASE_HELD
    assert report.reason.startswith("run 42 on somewhere has the lease, for ")
    assert state(client, target) == before


async def test_two_runs_at_once_are_one_run(server: Endpoint, client: Client) -> None:
    """The second reports that the first has the lease; every entry is handled once."""
    target = a_target()
    given(client, target, *ENTRIES)
    inner = []

    async with a_runner(server, target) as first, a_runner(server, target) as second:
        store = first.handler.store

        async def store_while_another_runs(entries: list) -> list:
            inner.append(await second.run(30))
            return await store(entries)

        first.handler.store = store_while_another_runs
        report = await first.run(30)

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 3)
    assert {one.outcome for one in inner} == {Outcome.LEASE_HELD}
    assert state(client, target) == State(hashes=stored(*ENTRIES), length=3)


async def test_a_dead_holders_lease_is_over_after_its_time(server: Endpoint, client: Client, proxy: Proxy) -> None:
    """While a run is at work its lease has no more than 15 s to live; when they are over, another can begin."""
    target = a_target()
    given(client, target, *ENTRIES)
    ttls: list[int] = []
    proxy.when("HSET", lambda: ttls.append(client.execute_command("PTTL", target.keys.lease)))
    await run(proxy, target)
    client.execute_command("XADD", "s", "9-0", "id", "9")
    client.execute_command("XREADGROUP", "GROUP", "g", "worker", "STREAMS", "s", ">")
    client.execute_command("XCLAIM", "s", "g", "worker", 0, "9-0", "IDLE", 3_600_000, "JUSTID")
    client.execute_command("SET", target.keys.lease, "a dead run", "PX", 1)
    await asyncio.sleep(0.005)

    report = await run(server, target)

    assert 0 < ttls[0] <= 15_000
    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 1)


async def test_consumers_idle_for_long_with_nothing_pending_are_removed(server: Endpoint, client: Client) -> None:
    """One that still has entries is kept, and so is our own."""
    target = a_target(consumer_ttl_hours=1e-9)
    given(client, target, Held(tweet(1), consumer="done"), Held(tweet(2), consumer="busy", idle_ms=0))
    client.execute_command("XACK", "s", "g", "1-0")
    for consumer in ("old", target.consumer):
        client.execute_command("XREADGROUP", "GROUP", "g", consumer, "COUNT", 1, "STREAMS", "s", ">")
    await asyncio.sleep(0.005)

    report = await run(server, target)

    left = {dict(zip(one[::2], one[1::2], strict=True))[b"name"] for one in consumers(client)}
    assert left - {b"monitoring_app"} == {b"busy"}
    assert set(report.consumers_removed) >= {"done"}
    assert "monitoring_app" not in report.consumers_removed
    assert len(state(client, target).pending) == 1


async def test_our_own_consumer_is_kept_however_idle_it_is(server: Endpoint, client: Client) -> None:
    """It is ours, and the next run needs it."""
    target = a_target(consumer_ttl_hours=1e-9)
    given(client, target, Held(tweet(1), consumer=target.consumer))
    client.execute_command("XACK", "s", "g", "1-0")
    client.execute_command("XADD", "s", "2-0", "id", "2")
    client.execute_command("XREADGROUP", "GROUP", "g", "busy", "STREAMS", "s", ">")
    await asyncio.sleep(0.005)

    report = await run(server, target)

    names = {dict(zip(one[::2], one[1::2], strict=True))[b"name"] for one in consumers(client)}
    assert (names, report.consumers_removed) == ({b"monitoring_app", b"busy"}, ())


async def test_a_consumer_that_was_here_lately_is_kept(server: Endpoint, client: Client) -> None:
    """A day must pass, unless CONSUMER_TTL_HOURS says otherwise."""
    target = a_target()
    given(client, target, Held(tweet(1), consumer="done"), Held(tweet(2), consumer="busy"))
    client.execute_command("XACK", "s", "g", "1-0")

    report = await run(server, target)

    assert report.consumers_removed == ()
    assert len(consumers(client)) == 3


def consumers(client: Client) -> list:
    """What the server says of the group's consumers."""
    found: list = client.execute_command("XINFO", "CONSUMERS", "s", "g")
    return found


RESOURCE = """
from contextlib import asynccontextmanager

told = []


@asynccontextmanager
async def opened():
    told.append("entered")
    yield lambda entry: told.append(f"{entry.stream} {entry.id.decode()}")
    told.append("left")
"""


@pytest.mark.parametrize("streams", [["good", "too"], ["g*", "t*"]], ids=["named", "found"])
async def test_targets_with_the_same_function_share_what_it_works_with(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, streams: list[str]
) -> None:
    """Once entered, once left: each pool takes connections of a database."""
    (tmp_path / "a_shared_resource.py").write_text(RESOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "a_shared_resource", raising=False)
    for stream in ("good", "too"):
        given(client, a_target(stream=stream), *held(range(1, 2)))
    settings = env_for(
        embedded,
        HANDLER="a_shared_resource:opened",
        RECLAIM_TARGETS=json.dumps(
            [{"stream": stream, "group": "g", "lanes": lanes} for lanes, stream in enumerate(streams, 1)]
        ),
    )
    app = App.from_env({name: value for name, value in settings.items() if not name.startswith("STREAM_")})
    await app.run()
    await app.aclose()

    first, *handled, last = importlib.import_module("a_shared_resource").told
    assert (first, sorted(handled), last) == ("entered", ["good 1-0", "too 1-0"], "left")
