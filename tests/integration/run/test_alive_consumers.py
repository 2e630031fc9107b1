"""An entry that is taken from a consumer that is alive is reported: it may be at work on the entry still."""

import logging
import time

import pytest

from dev.proxy import ErrorReply, Proxy
from reclaim.run.report import Outcome
from reclaim.state.consumers import MAX_LISTED
from tests.conftest import on_newest_and_oldest
from tests.support import Client, Endpoint, Held, a_runner, a_target, given, held, run, tweet

TARGET = a_target(min_idle_ms=60_000)


def is_alive(client: Client, consumer: str) -> None:
    """The consumer asks for more and gets an entry, which is as good as acknowledged. Before 7.2 only that counts."""
    client.execute_command("XADD", "s", "*", *tweet(999))
    ((_, entries),) = client.execute_command("XREADGROUP", "GROUP", "g", consumer, "COUNT", 1, "STREAMS", "s", ">")
    client.execute_command("XACK", "s", "g", *(entry_id for entry_id, _ in entries))


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.partition(" [")[0] for record in caplog.records if "alive" in (line := record.getMessage())]


@on_newest_and_oldest
async def test_a_consumer_that_has_just_asked_for_more_is_named_once_a_run(
    server: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    given(client, TARGET, *held(range(1, 4), consumer="quick"), Held(tweet(4), consumer="slow"))

    with caplog.at_level(logging.INFO):
        report = await run(server, TARGET)  # both have read their entries just now

    assert (report.acknowledged, report.alive_consumers) == (4, ("quick", "slow"))
    assert lines(caplog) == [
        (
            "reclaim s/g: entries were taken from consumers that are alive: quick, slow. If they were still at work on"
            " them, MIN_IDLE_TIME_SEC (60) is less than they need for an entry"
        )
    ]


@on_newest_and_oldest
async def test_a_consumer_that_asks_for_more_only_when_it_is_done_is_named_by_the_next_run(
    server: Endpoint, client: Client
) -> None:
    """While it is at work it looks dead: the entry's idle time is its own."""
    target = a_target(min_idle_ms=20)
    given(client, target, Held(tweet(1), consumer="busy"), Held(tweet(2), consumer="dead"))

    async with a_runner(server, target, clock=(clock := Clock())) as runner:
        wait_for_idle(client, 50)
        first = await runner.run(30.0)
        wait_for_idle(client, 1_000)
        given(client, target, Held(tweet(3), consumer="other"))
        is_alive(client, "busy")
        wait_for_idle(client, 50)
        clock.now += 0.9  # less than the dead one has been idle
        second = await runner.run(30.0)

    assert (first.acknowledged, first.alive_consumers) == (2, ())
    assert (second.acknowledged, second.alive_consumers) == (1, ("busy",))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def wait_for_idle(client: Client, idle_ms: int) -> None:
    """Until no consumer has asked for anything for so long."""
    while min(facts[5] for facts in client.execute_command("XINFO", "CONSUMERS", "s", "g")) < idle_ms:
        time.sleep(0.01)


async def test_in_a_group_of_very_many_consumers_nobody_is_named(embedded: Endpoint, client: Client) -> None:
    """The command that lists them would hold the server up."""
    given(client, TARGET, Held(tweet(1)))
    with client.pipeline(transaction=False) as pipeline:
        for number in range(MAX_LISTED):
            pipeline.execute_command("XREADGROUP", "GROUP", "g", f"gone-{number}", "STREAMS", "s", ">")
        pipeline.execute()

    report = await run(embedded, TARGET)

    assert (report.acknowledged, report.alive_consumers) == (1, ())


async def test_a_user_who_may_not_ask_is_told_nothing(embedded_proxy: Proxy, client: Client) -> None:
    given(client, TARGET, Held(tweet(1)))
    embedded_proxy.when(
        "XINFO", ErrorReply("NOPERM this user has no permissions"), args=lambda words: b"GROUPS" in words, times=None
    )

    report = await run(embedded_proxy, TARGET)

    assert (report.outcome, report.acknowledged, report.alive_consumers) == (Outcome.COMPLETED, 1, ())
