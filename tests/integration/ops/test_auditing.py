"""What a person does leaves a line of the log, when it begins and when it is over."""

import logging

import pytest
from redis.exceptions import ResponseError

from dev.proxy import Action, ErrorReply, Fault, Proxy
from reclaim.app import App
from reclaim.bounded import LINE_BYTES
from reclaim.ops import letter_acts, operations
from reclaim.state.audit import MAXLEN, Actor, Audit
from tests.support import Client, Endpoint, a_target, given, settings_for

TARGET = a_target()


async def test_it_is_logged_who_did_what_and_how_it_ended(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Both lines are bounded, however many IDs are meant."""
    given(client, TARGET)
    app = App(settings_for(embedded, TARGET))
    try:
        with caplog.at_level(logging.INFO, logger="reclaim"):
            ids = [b"%d-0" % (n + 1) for n in range(5_000)]
            await letter_acts.discard_dead_letters(app, ids, by=Actor("ann", "cli", "here"), why="a test")
    finally:
        await app.aclose()

    begun, done = (line for line in caplog.messages if line.startswith("reclaim audit: "))
    assert max(len(begun), len(done)) < LINE_BYTES
    assert all(said in begun for said in ("'ann'", "'cli'", "'here'", "'a test'", "'begun'", "'count': 5000"))
    assert all(said in done for said in ("'ann'", "'done'", "'discarded': 0"))


async def test_the_audit_is_capped_and_passes_over_what_is_not_its_own(embedded: Endpoint, client: Client) -> None:
    """What a newer release or somebody else has put there is left as it is."""
    with client.pipeline(transaction=False) as pipeline:
        for n in range(2 * MAXLEN):
            pipeline.execute_command("XADD", TARGET.keys.audit, f"{n + 1}-0", "x", "y")
        pipeline.execute_command("XADD", TARGET.keys.audit, "*", "format", "99", "what", "discard")
        pipeline.execute()
    app = App(settings_for(embedded, TARGET))
    try:
        audit = Audit(app.server, TARGET)
        await audit.end(await audit.begin("replay", Actor("ann"), "", {"ids": "all"}), "done", {"replayed": 1})
        records, before = await audit.latest(10)
    finally:
        await app.aclose()

    assert [(one.what, one.who, one.outcome, one.counts) for one in records] == [
        ("replay", "ann", "done", {"replayed": 1})
    ]
    assert before is not None
    assert client.execute_command("XLEN", TARGET.keys.audit) < 1.2 * MAXLEN


async def test_a_record_that_no_other_can_follow_stays_as_it_was_begun(server: Endpoint, client: Client) -> None:
    """Somebody has added a record with the greatest ID that there is, and deleted it."""
    app = App(settings_for(server, TARGET))
    try:
        audit = Audit(app.server, TARGET)
        begun = await audit.begin("replay", Actor("ann"), "", {"ids": "all"})
        client.execute_command("XADD", TARGET.keys.audit, "18446744073709551615-18446744073709551615", "x", "y")
        client.execute_command("XDEL", TARGET.keys.audit, "18446744073709551615-18446744073709551615")
        with pytest.raises(ResponseError):
            await audit.end(begun, "done", {"replayed": 1})
        records, _ = await audit.latest(10)
    finally:
        await app.aclose()

    assert [(one.what, one.who, one.outcome) for one in records] == [("replay", "ann", "begun")]


@pytest.mark.parametrize(
    "fault", [ErrorReply("READONLY You can't write against a read only replica."), Fault.CUT_AFTER]
)
async def test_what_a_person_does_outlasts_a_failover(client: Client, embedded_proxy: Proxy, fault: Action) -> None:
    """The first attempt to record it meets a replica, or its reply is lost."""
    target = a_target()
    given(client, target)
    app = App(settings_for(embedded_proxy, target))
    embedded_proxy.when("XADD", fault)
    try:
        changed = await operations.open_circuit(app, "a test", "me")
    finally:
        await app.aclose()

    assert changed.effect.changes
    records = client.execute_command("XRANGE", target.keys.audit, "-", "+")
    assert [b"ended_ms" in flat for _, flat in records][-1:] == [True]
