"""DEAD_LETTER_MAXLEN is a limit at which parking stops: no dead letter is ever pushed out (G2)."""

import asyncio
import logging

import pytest

from reclaim.app import App
from reclaim.entry import Entry
from reclaim.retry import Retries
from reclaim.run.report import Outcome
from reclaim.state.connection import connect
from reclaim.state.dead_letters import DeadLetters, Parking, Reason
from reclaim.times import Deadline
from tests.faults import pending
from tests.integration.cli.program import in_pipe
from tests.support import (
    Client,
    Endpoint,
    Held,
    a_target,
    age_all,
    drop_lease,
    env_for,
    given,
    lived_in,
    run,
    settings_for,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G2

BAD = [b"user", b"nobody"]
WIDE = [part for number in range(4_000) for part in (b"f%d" % number, b"x")]  # more than a script can pass on


@pytest.mark.parametrize("bad", [BAD, WIDE], ids=["narrow", "wide"])
async def test_entries_wait_where_there_is_no_room_and_others_go_on(
    server: Endpoint, client: Client, bad: list[bytes]
) -> None:
    """They are refunded, so that they wait uncharged; those dead letters that were there are there still."""
    target = a_target(dead_letter_maxlen=2)
    given(client, target, *[Held(bad)] * 5, Held(tweet(1)))

    first = await run(server, target)
    second = await run(server, target)

    assert (first.outcome, first.parked, first.held, first.acknowledged) == (Outcome.DEAD_LETTERS_FULL, 2, 3, 1)
    assert (second.outcome, second.parked, second.held) == (Outcome.DEAD_LETTERS_FULL, 0, 3)
    assert "there are 2 dead letters, as many as DEAD_LETTER_MAXLEN allows" in str(second.reasons)
    after = state(client, target)
    assert (after.hashes, after.pending) == (stored(tweet(1)), pending(3, 4, 5, consumer="monitoring_app"))
    assert [letter[b"id"] for letter in after.dead] == [b"1-0", b"2-0"]


async def test_they_are_parked_once_there_is_room(embedded: Endpoint, client: Client) -> None:
    target = a_target(dead_letter_maxlen=2)
    given(client, target, *[Held(BAD)] * 4, Held(tweet(1)))
    await run(embedded, target)
    client.execute_command("XTRIM", target.keys.dead, "MAXLEN", 0)

    report = await run(embedded, target)

    assert (report.outcome, report.parked) == (Outcome.COMPLETED, 2)
    assert [letter[b"id"] for letter in state(client, target).dead] == [b"3-0", b"4-0"]


async def test_many_that_park_at_once_never_go_beyond_the_limit(server: Endpoint, client: Client) -> None:
    """The check and the addition are one step, for wide entries too."""
    target = a_target(dead_letter_maxlen=7)
    given(client, target, *(Held(WIDE if number % 2 else BAD, consumer=target.consumer) for number in range(20)))
    entries = [Parking(_entry(number, WIDE if number % 2 else BAD), Reason.BAD_ENTRY, "bad") for number in range(20)]
    server_ = connect(settings_for(server, target))
    try:
        letters = DeadLetters(server_, target)
        calls = (letters.park([one], Retries(1, 0), Deadline(30, asyncio.get_running_loop().time)) for one in entries)
        unparked = await asyncio.gather(*calls)
    finally:
        await server_.aclose()

    assert sum(len(one.errors) for one in unparked) == 13
    assert (len(state(client, target).dead), len(state(client, target).pending)) == (7, 13)


def _entry(number: int, fields: list[bytes]) -> Entry:
    return Entry(b"%d-0" % (number + 1), fields, b"worker", 0, 1)


def test_the_exit_code_is_1_and_the_status_says_it(embedded: Endpoint, client: Client) -> None:
    target = a_target()
    lived_in(client, target)
    given(client, target, *[Held(BAD)] * 3)
    env = env_for(embedded, target, DEAD_LETTER_MAXLEN="1")

    ended = in_pipe(env, "run")

    assert ended.code == 1
    assert "dead letters full, 3 claimed, 1 parked, 2 held" in ended.out
    assert "there is no room for more dead letters" in ended.err
    status = in_pipe(env, "status")
    assert (status.code, "no more entries are parked" in status.out) == (1, True)


async def test_it_is_told_once_until_there_was_room(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    target = a_target(dead_letter_maxlen=1)
    caplog.set_level(logging.WARNING)
    given(client, target, Held(tweet(1)), *[Held(BAD)] * 2)
    app = App(settings_for(embedded, target))
    try:
        for _ in range(3):
            await app.reports()
        client.execute_command("XTRIM", target.keys.dead, "MAXLEN", 0)
        assert [report.outcome for report in await app.reports()] == [Outcome.COMPLETED]
        given(client, target, Held(BAD))
        age_all(client, target)
        drop_lease(client, target)
        assert [report.outcome for report in await app.reports()] == [Outcome.DEAD_LETTERS_FULL]
    finally:
        await app.aclose()

    assert sum("reclaim.dead_letters.full" in line for line in caplog.messages) == 2
