"""XACK fails until the retries are used up: the report and the alerts say what was done before, and no more."""

import pytest

from dev.proxy import Action, ErrorReply, Fault, Proxy
from reclaim.observe.alerts import Kind, alerts_of
from reclaim.run.report import Outcome
from tests.faults import LOADING, dead_letter, pending
from tests.support import Client, Held, State, a_target, given, held, run, state, stored, tweet

pytestmark = pytest.mark.G1

OURS = "monitoring_app"
NO_FIELD = "MissingField: no field 'id' for 'tweet:{id}'"
GOOD = held(range(1, 4))
BAD = [b"user", b"nobody"]
KINDS = {Kind.DEAD_LETTERED, Kind.RUN_FAILED}


@pytest.mark.parametrize(
    "fault",
    [Fault.CUT_BEFORE, ErrorReply(LOADING), ErrorReply("ERR something odd")],
    ids=["cut", "loading", "refused"],
)
async def test_dead_letters_are_counted_and_told_though_the_acknowledgement_fails(
    client: Client, embedded_proxy: Proxy, fault: Action
) -> None:
    """One entry is parked; the good ones are stored, not acknowledged, and given back."""
    target = a_target()
    given(client, target, *GOOD, Held(BAD))
    embedded_proxy.when("XACK", fault, args=lambda words: b"1-0" in words, times=None)

    report = await run(embedded_proxy, target)

    assert (report.outcome, report.parked, report.acknowledged, report.given_back) == (Outcome.FAILED, 1, 0, 3)
    assert {alert.kind for alert in alerts_of(report, target)} == KINDS
    assert state(client, target) == State(
        pending=pending(1, 2, 3, consumer=OURS),
        hashes=stored(*GOOD),
        length=4,
        dead=[dead_letter(4, BAD, "bad_entry", NO_FIELD)],
    )


async def test_what_was_acknowledged_unheard_is_not_called_given_back(client: Client, embedded_proxy: Proxy) -> None:
    """Every XACK takes effect, and its reply is lost."""
    target = a_target()
    given(client, target, *GOOD, Held(BAD))
    embedded_proxy.when("XACK", Fault.CUT_AFTER, args=lambda words: b"1-0" in words, times=None)

    report = await run(embedded_proxy, target)

    assert (report.outcome, report.parked, report.given_back) == (Outcome.FAILED, 1, 0)
    assert {alert.kind for alert in alerts_of(report, target)} == KINDS
    assert state(client, target) == State(
        hashes=stored(*GOOD), length=4, dead=[dead_letter(4, BAD, "bad_entry", NO_FIELD)]
    )


async def test_what_somebody_else_took_is_not_called_given_back(client: Client, embedded_proxy: Proxy) -> None:
    """Another consumer had claimed two of the three entries when the acknowledgement failed."""
    target = a_target()
    given(client, target, *GOOD)

    taken: list[list[bytes]] = []

    def is_due(words: list[bytes]) -> bool:
        if b"1-0" in words and not taken:
            taken.extend(client.execute_command("XCLAIM", "s", "g", "other", 0, "1-0", "2-0"))
        return b"1-0" in words

    embedded_proxy.when("XACK", ErrorReply(LOADING), args=is_due, times=None)
    report = await run(embedded_proxy, target)

    assert (report.outcome, report.acknowledged) == (Outcome.FAILED, 0)
    assert report.given_back == 1
    assert state(client, target) == State(
        pending=pending(1, 2, consumer="other", deliveries=3, age="fresh") | pending(3, consumer=OURS),
        hashes=stored(*GOOD),
        length=3,
    )


async def test_a_later_page_that_fails_does_not_undo_the_account_of_an_earlier_one(
    client: Client, embedded_proxy: Proxy
) -> None:
    """The first page is parked and acknowledged; the second one's XACK fails."""
    target = a_target(page_size=2)
    given(client, target, Held(tweet(1)), Held(BAD), Held(tweet(3)), Held(BAD))
    embedded_proxy.when("XACK", Fault.CUT_BEFORE, args=lambda words: b"3-0" in words, times=None)

    report = await run(embedded_proxy, target)

    assert (report.outcome, report.acknowledged, report.parked) == (Outcome.FAILED, 1, 2)
    assert report.given_back == 1
    assert state(client, target) == State(
        pending=pending(3, consumer=OURS),
        hashes=stored(tweet(1), tweet(3)),
        length=4,
        dead=[dead_letter(number, BAD, "bad_entry", NO_FIELD) for number in (2, 4)],
    )
