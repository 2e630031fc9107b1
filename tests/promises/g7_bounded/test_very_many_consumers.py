"""Nobody asks for the list of a group's consumers where it is so long that it would block the server (G7)."""

import json
import logging

import pytest

from reclaim.app import App
from reclaim.ops import survey
from reclaim.ops.group_checks import examine_groups
from reclaim.ops.operations import read_status
from reclaim.run.report import Outcome
from reclaim.state.consumers import MAX_LISTED
from tests.support import Client, Endpoint, Held, a_target, given, settings_for, tweet

pytestmark = pytest.mark.G7

TARGET = a_target(consumer_ttl_hours=1e-9, min_idle_ms=1)
ANSWER_BYTES = 100_000


@pytest.fixture
def crowded(client: Client) -> Client:
    """A group with an entry to reclaim, and one consumer more than are listed."""
    given(client, TARGET, Held(tweet(1)), Held(tweet(2), consumer="other"))
    with client.pipeline(transaction=False) as pipeline:
        for number in range(MAX_LISTED - 1):
            pipeline.execute_command("XGROUP", "CREATECONSUMER", "s", "g", f"gone-{number:05}")
        pipeline.execute()
    client.execute_command("CONFIG", "RESETSTAT")
    return client


def was_listed(client: Client) -> bool:
    """Whether anybody has asked for the list."""
    return b"xinfo|consumers" in client.execute_command("INFO", "commandstats")


async def test_a_run_handles_its_entries_and_removes_nobody(
    embedded: Endpoint, crowded: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """It is to remove idle consumers, and to see which are alive; the log says why it does neither."""
    app = App(settings_for(embedded, TARGET))
    with caplog.at_level(logging.WARNING):
        try:
            (report,) = await app.reports()
        finally:
            await app.aclose()

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 2)
    assert (report.consumers_removed, report.alive_consumers) == ((), ())
    (said,) = [record.getMessage() for record in caplog.records if "idle consumers" in record.getMessage()]
    assert f"more than {MAX_LISTED:,}" in said
    assert not was_listed(crowded)


async def test_a_run_that_doubts_its_group_asks_for_what_tells_otherwise(embedded: Endpoint, crowded: Client) -> None:
    """The group has gone back, which has a harmless cause here; and one consumer fewer."""
    app = App(settings_for(embedded, TARGET))
    try:
        await app.reports()
        crowded.execute_command("XGROUP", "SETID", "s", "g", "1-0")
        (report,) = await app.reports()
    finally:
        await app.aclose()

    assert (report.outcome, report.lost, report.lost_at_most) == (Outcome.NOTHING_PENDING, 0, 0)
    assert not was_listed(crowded)


async def test_status_doctor_and_survey_say_so(embedded: Endpoint, crowded: Client) -> None:
    app = App(settings_for(embedded, TARGET))
    try:
        status = (await read_status(app)).found
        checks = await examine_groups(app.server, TARGET)
        found = await survey.survey(app.server)
    finally:
        await app.aclose()

    assert status["targets"][0]["pending"]["total"] == 2
    assert [one["idle_ms"] for one in status["targets"][0]["pending"]["by_consumer"]] == [None, None]
    assert len(json.dumps(status)) < ANSWER_BYTES
    (check,) = checks
    assert f"{MAX_LISTED + 1:,} consumers" in check.what
    (group,) = found.worst
    assert (group.pending, group.consumers, group.dead_consumers) == (2, MAX_LISTED + 1, None)
    assert not was_listed(crowded)
