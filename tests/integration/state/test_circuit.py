"""The circuit that all instances share: what opens it, who may probe, what closes it, and who is told."""

import asyncio
import re

import pytest
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError

from dev.proxy import ErrorReply, Fault, Proxy
from reclaim.state.circuit import MAX_COOLDOWN_MS, Change, CircuitState, Effect, State
from tests.integration.state.circuits import end_cooldown, end_probe, instances, on_server, server_ms, spread_failures
from tests.support import Client, Endpoint, a_target, drop_lease

MOST_FAILURES = 2000  # that CIRCUIT_FAILURES may be
TARGET = a_target()  # CIRCUIT_FAILURES 100, CIRCUIT_WINDOW_SEC 30, CIRCUIT_COOLDOWN_SEC 60
OPEN = {
    "state": "open",
    "since_ms": 0,
    "by": "failures",
    "who": "run one",
    "reason": "100 failures within 30 s",
    "failures": "100",
    "failed_probes": "0",
    "until_ms": 60,
    "cooldown_ms": "60000 ms",
}
HALF_OPEN = OPEN | {"state": "half_open", "until_ms": 0, "probe": "token one", "probe_until_ms": 30}
BY_PERSON = {
    "state": "open",
    "since_ms": 0,
    "by": "person",
    "who": "Anna",
    "reason": "maintenance",
    "failures": "0",
    "failed_probes": "0",
    "until_ms": "0 ms",
    "cooldown_ms": "0 ms",
}


# --- what opens it ---------------------------------------------------------------------------------------------------


async def test_without_failures_it_is_closed_and_there_is_no_key(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        admission = await one.enters()

        assert (admission.go, admission.probing, admission.opening, admission.why) == (True, False, None, "")
        assert not await one.is_stopped()
        assert await one.circuit.show() == CircuitState(State.CLOSED, limit=100, window_sec=30)
    drop_lease(client, TARGET)
    assert on_server(client, TARGET) == {}


@pytest.mark.G5
async def test_a_hundred_failures_within_thirty_seconds_over_four_instances_open_it_once(
    server: Endpoint, client: Client
) -> None:
    async with instances(server, TARGET, "one", "two", "three", "four") as four:
        told = [(await four[number % 4].fails()).effect for number in range(120)]

        assert told == [Effect.IS_CLOSED] * 99 + [Effect.OPENED] + [Effect.IS_OPEN] * 20
        assert all([await one.is_stopped() for one in four])
    assert on_server(client, TARGET) == {"circuit": OPEN | {"who": "run four"}, "failures": 100}


async def test_ninety_nine_do_not(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        assert (await one.fails(99)).effect is Effect.IS_CLOSED
        assert not await one.is_stopped()
    assert on_server(client, TARGET) == {"failures": 99}
    assert 0 < client.execute_command("PTTL", TARGET.keys.failures) <= 30_001


@pytest.mark.parametrize(("over_ms", "effect", "left"), [(29_000, Effect.OPENED, 100), (31_000, Effect.IS_CLOSED, 96)])
async def test_a_hundred_spread_over_more_than_the_window_do_not(
    server: Endpoint, client: Client, over_ms: int, effect: Effect, left: int
) -> None:
    async with instances(server, TARGET) as (one,):
        await one.fails(99)
        spread_failures(client, TARGET, over_ms)

        assert (await one.fails()).effect is effect
        assert (await one.circuit.show()).failures == left


async def test_what_was_opened_says_when_why_and_until_when(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        change = await one.fails(500)
        now = server_ms(client)

        assert change == Change(
            Effect.OPENED,
            change.id,
            since_ms=change.since_ms,
            by="failures",
            who="run one",
            reason="100 failures within 30 s",
            until_ms=change.since_ms + 60_000,
            failures=500,
        )
        assert len(change.id) == 16
        assert 0 <= now - change.since_ms < 5_000
        refused = await one.enters()
    assert not refused.go
    assert refused.opening == change
    assert re.fullmatch(r"the circuit is open for another (60\.0|5\d\.\d) s \(100 failures within 30 s\)", refused.why)


@pytest.mark.G7
async def test_many_failures_in_one_call_cost_little_and_keep_few(server: Endpoint, client: Client) -> None:
    """The quickest of five rounds counts: a busy machine makes one of them slow, but not all."""
    target = a_target(circuit_failures=MOST_FAILURES)
    rounds: list[tuple[int, int]] = []
    async with instances(server, target) as (one,):
        for _ in range(5):
            client.execute_command("CONFIG", "RESETSTAT")
            assert (await one.fails(MOST_FAILURES - 1)).effect is Effect.IS_CLOSED
            assert (await one.fails(5_000)).effect is Effect.OPENED
            assert client.execute_command("ZCARD", target.keys.failures) == MOST_FAILURES
            await one.circuit.close("again", "Anna")
            stats = client.execute_command("INFO", "commandstats").decode()
            calls, usec = re.search(r"cmdstat_eval:calls=(\d+),usec=(\d+)", stats).groups()
            rounds.append((int(usec), int(calls)))

    assert {calls for _, calls in rounds} == {3}
    assert min(rounds)[0] < 3 * 10_000  # G7 allows each of the three calls of a round 10 ms


async def test_while_it_is_open_failures_are_not_counted(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        await one.fails(100)
        assert (await one.fails(2_000)).effect is Effect.IS_OPEN
    assert on_server(client, TARGET) == {"circuit": OPEN, "failures": 100}


async def test_failures_forgotten_by_the_server_leave_no_key(server: Endpoint, client: Client) -> None:
    target = a_target(circuit_window_sec=0.02)
    async with instances(server, target) as (one,):
        await one.fails(3)
        await asyncio.sleep(0.1)
    assert on_server(client, target) == {}


# --- replies that are lost -------------------------------------------------------------------------------------------


async def test_a_count_sent_again_counts_once_and_tells_the_same(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        for failures, effect in ((60, Effect.IS_CLOSED), (40, Effect.OPENED)):
            ask = one.circuit.record(failures, "one")
            told = [(await one.server.ask(ask))[0] for _ in range(3)]
            assert [change.effect for change in told] == [effect] * 3
            assert len({change.id for change in told}) == 1
    assert on_server(client, TARGET) == {"circuit": OPEN, "failures": 100}


async def test_counts_sent_again_by_turns_count_once_with_a_share(server: Endpoint) -> None:
    """Two shards each send their call again, when the other's has come."""
    target = a_target(circuit_share=0.5)
    async with instances(server, target, "one", "two") as (one, two):
        asks = [one.circuit.record(30, "one"), two.circuit.record(30, "two")]
        told = [(await one.server.ask(ask))[0].effect for ask in asks * 2]
        last = [(await one.fails(39)).effect, (await two.fails(1)).effect]

    assert (told, last) == ([Effect.IS_CLOSED] * 4, [Effect.IS_CLOSED, Effect.OPENED])


async def test_a_run_whose_reply_was_lost_asks_again_and_still_probes(proxy: Proxy, client: Client) -> None:
    async with instances(proxy, TARGET) as (one,):
        await one.fails(100)
        end_cooldown(client, TARGET)
        proxy.when("EVAL", Fault.CUT_AFTER)
        with pytest.raises(RedisConnectionError):
            await one.enters()
        assert on_server(client, TARGET)["circuit"] == HALF_OPEN

        assert (await one.enters()).probing


async def test_a_success_sent_again_tells_the_same(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        await one.fails(100)
        end_cooldown(client, TARGET)
        await one.enters()
        ask = one.circuit.probe_succeeded(one.token, "one")
        told = [(await one.server.ask(ask))[0].effect for _ in range(2)]
    assert told == [Effect.CLOSED] * 2


@pytest.mark.parametrize("before", ["closed", "open"])
async def test_a_person_whose_reply_was_lost_is_told_what_was_done(proxy: Proxy, before: str) -> None:
    """So that it is an alert all the same."""
    async with instances(proxy, TARGET) as (one,):
        if before == "open":
            await one.fails(100)
        told = []
        for act in (one.circuit.open, one.circuit.close):
            proxy.when("EVAL", Fault.CUT_AFTER)
            told.append((await act("a test", "Anna")).effect)

    assert told == [Effect.OPENED if before == "closed" else Effect.HELD, Effect.CLOSED]


# --- the probe -------------------------------------------------------------------------------------------------------


async def test_while_the_cool_down_lasts_nobody_may_work(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        await one.fails(100)
        admission = await one.enters()

    assert (admission.go, admission.probing) == (False, False)
    assert 30 < (admission.seconds_left or 0) <= 60
    assert on_server(client, TARGET) == {"circuit": OPEN, "failures": 100, "lease": "token one"}


async def test_after_it_one_run_probes_and_the_others_wait(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET, "one", "two") as (one, two):
        await one.fails(100)
        end_cooldown(client, TARGET)

        first, second = await one.enters(), await two.enters()

        assert (first.go, first.probing) == (True, True)
        assert (second.go, second.probing) == (False, False)
        assert await two.is_stopped()
        status = await two.circuit.show()
    assert on_server(client, TARGET) == {"circuit": HALF_OPEN, "failures": 100, "lease": "token one"}
    assert (status.state, status.probe) == (State.HALF_OPEN, "token one")
    assert 10 < (status.seconds_left or 0) <= 30


async def test_a_run_without_the_lease_does_not_take_the_probe(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET, "one", "two") as (one, two):
        await one.fails(100)
        end_cooldown(client, TARGET)
        client.execute_command("SET", TARGET.keys.lease, one.token)

        assert not (await two.enters()).go
    assert on_server(client, TARGET)["circuit"] == OPEN | {"until_ms": 0}


async def test_a_probe_that_succeeds_closes_it_and_empties_the_window(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        await one.fails(100)
        end_cooldown(client, TARGET)
        await one.enters()

        change = await one.succeeds()

        assert (change.effect, change.by, change.who) == (Effect.CLOSED, "probe", "run one")
        assert not await one.is_stopped()
        assert (await one.succeeds()).effect is Effect.IS_CLOSED
        assert (await one.fails(99)).effect is Effect.IS_CLOSED
    assert on_server(client, TARGET) == {
        "circuit": {
            "state": "closed",
            "since_ms": 0,
            "by": "probe",
            "who": "run one",
            "reason": "its probe succeeded",
        },
        "failures": 99,
        "lease": "token one",
    }


async def test_a_probe_that_fails_opens_it_again_for_twice_as_long(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        opened = await one.fails(100)
        end_cooldown(client, TARGET)
        await one.enters()

        change = await one.fails_its_probe()

        assert (change.effect, change.id) == (Effect.REOPENED, opened.id)
        assert (await one.fails_its_probe()).effect is Effect.NOT_PROBING
        assert not (await one.enters()).go
    longer = {"until_ms": 120, "cooldown_ms": "120000 ms", "failed_probes": "1"}
    assert on_server(client, TARGET) == {"circuit": OPEN | longer, "failures": 100, "lease": "token one"}


@pytest.mark.parametrize(
    ("cooldown_sec", "longest_ms"), [(1, 16_000), (60, 960_000), (600, MAX_COOLDOWN_MS), (7200, 7_200_000)]
)
async def test_the_cool_down_grows_up_to_a_limit(
    embedded: Endpoint, client: Client, cooldown_sec: float, longest_ms: int
) -> None:
    target = a_target(circuit_cooldown_sec=cooldown_sec)
    async with instances(embedded, target) as (one,):
        await one.fails(100)
        grown = []
        for _ in range(7):
            end_cooldown(client, target)
            assert (await one.enters()).probing
            await one.fails_its_probe()
            grown.append(int(client.execute_command("HGET", target.keys.circuit, "cooldown_ms")))
        assert (await one.circuit.show()).failed_probes == 7
    assert grown == [min(1000 * cooldown_sec * 2**times, longest_ms) for times in range(1, 8)]


async def test_a_probe_without_a_result_leaves_it_to_the_next_run(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET, "one", "two") as (one, two):
        await one.fails(100)
        end_cooldown(client, TARGET)
        await one.enters()

        assert (await one.withdraws()).effect is Effect.WITHDRAWN
        assert on_server(client, TARGET)["circuit"] == OPEN | {"until_ms": 0}
        drop_lease(client, TARGET)
        assert (await two.enters()).probing


async def test_a_probe_that_died_is_taken_over_after_its_time_and_its_result_comes_too_late(
    server: Endpoint, client: Client
) -> None:
    async with instances(server, TARGET, "one", "two") as (one, two):
        await one.fails(100)
        end_cooldown(client, TARGET)
        await one.enters()
        drop_lease(client, TARGET)

        assert not (await two.enters()).go  # the probe's time is not over
        end_probe(client, TARGET)
        assert (await two.enters()).probing

        for late in (one.succeeds, one.fails_its_probe, one.withdraws):
            assert (await late()).effect is Effect.NOT_PROBING
        assert (await two.circuit.show()).probe == "token two"
        assert (await two.succeeds()).effect is Effect.CLOSED


async def test_a_slow_probe_that_nobody_took_over_still_counts(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        await one.fails(100)
        end_cooldown(client, TARGET)
        await one.enters()
        end_probe(client, TARGET)

        assert (await one.succeeds()).effect is Effect.CLOSED


async def test_other_runs_failures_do_not_disturb_a_probe(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET, "one", "two") as (one, two):
        await one.fails(100)
        end_cooldown(client, TARGET)
        await one.enters()

        assert (await two.fails(100)).effect is Effect.IS_OPEN
    assert on_server(client, TARGET) == {"circuit": HALF_OPEN, "failures": 100, "lease": "token one"}


# --- a person --------------------------------------------------------------------------------------------------------


async def test_what_a_person_opened_only_a_person_closes(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        opened = await one.circuit.open("maintenance", "Anna")
        again = await one.circuit.open("something else", "Bob")
        admission = await one.enters()
        status = await one.circuit.show()

        assert [opened.effect, again.effect] == [Effect.OPENED, Effect.IS_OPEN]
        assert admission.why == "the circuit is open until a person closes it (Anna opened it: maintenance)"
        assert (status.seconds_left, status.who) == (None, "Anna")
        assert (await one.succeeds()).effect is Effect.NOT_PROBING
        assert on_server(client, TARGET) == {"circuit": BY_PERSON, "lease": "token one"}

        closed = await one.circuit.close("done", "Bob")
        assert [closed.effect, (await one.circuit.close("done", "Eve")).effect] == [Effect.CLOSED, Effect.IS_CLOSED]
        assert (await one.enters()).go
    closed_by_bob = {"state": "closed", "since_ms": 0, "by": "person", "who": "Bob", "reason": "done"}
    assert on_server(client, TARGET) == {"circuit": closed_by_bob, "lease": "token one"}


async def test_without_a_cool_down_only_a_person_closes_it(server: Endpoint, client: Client) -> None:
    target = a_target(circuit_cooldown_sec=0)
    async with instances(server, target) as (one,):
        change = await one.fails(100)
        admission = await one.enters()

        assert (change.until_ms, admission.go, admission.seconds_left) == (None, False, None)
        assert on_server(client, target)["circuit"] == OPEN | {"until_ms": "0 ms", "cooldown_ms": "0 ms"}
        assert (await one.circuit.close("mended", "Anna")).effect is Effect.CLOSED
        assert (await one.fails(99)).effect is Effect.IS_CLOSED  # it begins to count anew


async def test_a_person_can_keep_open_what_failures_opened_and_stop_a_probe(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        opened = await one.fails(100)
        end_cooldown(client, TARGET)
        await one.enters()

        held = await one.circuit.open("look at it first", "Anna")

        assert (held.effect, held.id, held.until_ms) == (Effect.HELD, opened.id, None)
        assert (await one.succeeds()).effect is Effect.NOT_PROBING
        assert (await one.fails_its_probe()).effect is Effect.NOT_PROBING
        assert not (await one.enters()).go
    circuit = on_server(client, TARGET)["circuit"]
    assert circuit.pop("held") != opened.id
    assert circuit == OPEN | {
        "by": "person",
        "who": "Anna",
        "reason": "look at it first",
        "until_ms": "0 ms",
    }


async def test_a_person_can_close_what_failures_opened_at_once(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        await one.fails(100)
        assert (await one.circuit.close("it works", "Anna")).effect is Effect.CLOSED
        assert (await one.enters()).go
        assert "failures" not in on_server(client, TARGET)


async def test_texts_are_kept_as_they_are_but_not_without_end(server: Endpoint) -> None:
    async with instances(server, TARGET) as (one,):
        await one.circuit.open("Störung 🔥\n" + "x" * 2_000, "Ännä")
        status = await one.circuit.show()
    assert (status.reason[:9], len(status.reason), status.who) == ("Störung 🔥", 500, "Ännä")


# --- what others wrote, and what goes wrong --------------------------------------------------------------------------


async def test_a_state_set_by_hand_holds_until_a_person_closes_it(server: Endpoint, client: Client) -> None:
    client.execute_command("HSET", TARGET.keys.circuit, "state", "open")
    async with instances(server, TARGET) as (one,):
        admission = await one.enters()
        assert (admission.go, admission.seconds_left) == (False, None)
        assert admission.why == "the circuit is open until a person closes it (no reason given)"
        assert (await one.fails(200)).effect is Effect.IS_OPEN
        assert (await one.circuit.show()).state is State.OPEN
        assert (await one.circuit.close("", "Anna")).effect is Effect.CLOSED


async def test_a_state_that_is_none_counts_as_closed(server: Endpoint, client: Client) -> None:
    client.execute_command("HSET", TARGET.keys.circuit, "state", "on")
    async with instances(server, TARGET) as (one,):
        assert (await one.enters()).go
        assert not await one.is_stopped()
        assert (await one.circuit.show()).state is State.CLOSED


async def test_a_key_deleted_by_hand_closes_it(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET) as (one,):
        await one.fails(100)
        client.execute_command("DEL", TARGET.keys.circuit, TARGET.keys.failures)
        assert (await one.enters()).go


async def test_an_error_of_the_server_is_raised(proxy: Proxy) -> None:
    async with instances(proxy, TARGET) as (one,):
        for act in (one.enters, one.fails, one.circuit.show):
            proxy.when("EVAL", ErrorReply("LOADING Redis is loading"))
            with pytest.raises(BusyLoadingError):
                await act()


async def test_targets_do_not_share_a_circuit(server: Endpoint) -> None:
    other = a_target(group="other")
    async with instances(server, TARGET) as (one,), instances(server, other) as (two,):
        await one.fails(100)
        assert (await two.enters()).go


# --- a clock that goes back ------------------------------------------------------------------------------------------

DAYS_MS = 10 * 86_400_000


async def test_a_cool_down_does_not_wait_for_a_clock_that_went_back(server: Endpoint, client: Client) -> None:
    """What was to last a minute would last for days; so it is over, and a run probes."""
    async with instances(server, TARGET) as (one,):
        await one.fails(100)
        client.execute_command("HINCRBY", TARGET.keys.circuit, "until_ms", DAYS_MS)

        status = await one.circuit.show()
        admission = await one.enters()

    assert (status.state, status.seconds_left) == (State.OPEN, 0)
    assert (admission.go, admission.probing) == (True, True)


async def test_nor_does_a_probe_that_died_nor_a_wait_that_a_service_asked_for(server: Endpoint, client: Client) -> None:
    async with instances(server, TARGET, "one", "two") as (one, two):
        await one.fails(100)
        end_cooldown(client, TARGET)
        await one.enters()
        client.execute_command("DEL", TARGET.keys.lease)
        client.execute_command("HINCRBY", TARGET.keys.circuit, "probe_until_ms", DAYS_MS)
        client.execute_command("HSET", TARGET.keys.circuit, "wait_until_ms", server_ms(client) + DAYS_MS)

        admission = await two.enters()

    assert (admission.go, admission.probing) == (True, True)


async def test_a_new_wait_takes_the_place_of_one_from_before_the_clock_went_back(
    server: Endpoint, client: Client
) -> None:
    client.execute_command("HSET", TARGET.keys.circuit, "wait_until_ms", server_ms(client) + DAYS_MS)
    async with instances(server, TARGET) as (one,):
        (seconds,) = await one.server.ask(one.circuit.wait(60.0, "the service"))
        admission = await one.enters()

    assert 50 < seconds <= 60
    assert (admission.go, admission.asked) == (False, "the service")


async def test_a_person_who_closes_the_circuit_ends_a_wait_too(server: Endpoint, client: Client) -> None:
    """Though it is closed: runs try nothing meanwhile. Nobody else's closing ends the wait."""
    async with instances(server, TARGET) as (one,):
        await one.server.ask(one.circuit.wait(600.0, "the service"))
        by_probe = await one.succeeds()
        waits = await one.enters()
        told = [(await one.circuit.close("it is back", "Ada")).effect for _ in range(2)]
        admission = await one.enters()

    assert (by_probe.effect, waits.go) == (Effect.IS_CLOSED, False)
    assert told == [Effect.CLOSED, Effect.IS_CLOSED]
    assert (admission.go, admission.asked) == (True, None)
    assert client.execute_command("HGET", TARGET.keys.circuit, "wait_until_ms") is None


@pytest.mark.parametrize("name", ["until_ms", "cooldown_ms"])
async def test_nonsense_in_place_of_a_moment_fails_no_run(server: Endpoint, client: Client, name: str) -> None:
    """Somebody else has written there: without an end a person has to close it; without a length it ends as it says."""
    async with instances(server, TARGET) as (one,):
        await one.fails(100)
        client.execute_command("HSET", TARGET.keys.circuit, name, "nonsense")
        admission = await one.enters()

    assert admission.go is False
    assert (admission.seconds_left is None) == (name == "until_ms")


@pytest.mark.parametrize("share", [0, 0.5])
async def test_failures_from_before_the_clock_went_back_count_no_more(
    server: Endpoint, client: Client, share: float
) -> None:
    """Else they would count until the clock comes to where it was."""
    target = a_target(circuit_share=share)
    async with instances(server, target) as (one,):
        await one.fails(99)
        for member in client.execute_command("ZRANGE", target.keys.failures, 0, -1):
            client.execute_command("ZADD", target.keys.failures, server_ms(client) + DAYS_MS, member)
        for name in client.execute_command("HKEYS", target.keys.circuit):
            what, _, part = name.partition(b":")
            if what in {b"failed", b"settled"}:
                times = client.execute_command("HGET", target.keys.circuit, name)
                client.execute_command("HDEL", target.keys.circuit, name)
                client.execute_command("HSET", target.keys.circuit, b"%b:%d" % (what, int(part) + DAYS_MS), times)
        change = await one.fails(1)

    assert change.effect is Effect.IS_CLOSED
