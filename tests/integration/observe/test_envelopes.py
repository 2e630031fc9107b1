"""What arrives at Application Insights, compared whole with what the run did."""

import json
import platform
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reclaim import __version__
from reclaim.entry import Entry
from reclaim.handlers.outcomes import STORED, Failed, Handled, Handler, Keyed
from reclaim.run.discovery import Looked
from reclaim.run.report import COUNTS, Outcome
from reclaim.trace import Operation
from tests.integration.observe.collector import (
    KEY,
    NOBODY,
    OPERATION,
    Envelope,
    a_collector,
    exporter_to,
    observed,
    observed_run,
    of_kind,
    values,
    without_times,
)
from tests.support import Client, Endpoint, Held, a_target, given, held, tweet

OPERATE = Path(__file__).parents[3] / "docs" / "operate.md"


def documented_metrics() -> set[str]:
    """The metrics in docs/operate.md's table, where `.stored` after `reclaim.claimed` is short for reclaim.stored."""
    text = OPERATE.read_text(encoding="utf-8")
    table = text.partition("| metric | unit |\n|---|---|\n")[2].partition("\n\n")[0]
    names = re.findall(r"`(?:reclaim)?\.(\w+)`", table)
    return {f"reclaim.{name}" for name in names}


DOCUMENTED = documented_metrics()
SOMEWHERE = type("Place", (), {"port": NOBODY})()


def envelope(kind: str, parent: str | None, data: dict[str, Any]) -> Envelope:
    """An envelope as it should be, without times."""
    parents = {"ai.operation.parentId": parent} if parent else {}
    names = {"ai.operation.name": "reclaim run"} if kind == "Request" else {}
    return {
        "name": f"Microsoft.ApplicationInsights.{kind}",
        "iKey": KEY,
        "tags": {
            "ai.cloud.role": "site",
            "ai.application.ver": __version__,
            "ai.internal.sdkVersion": f"reclaim:{__version__}",
            "ai.operation.id": OPERATION.trace_id,
            **parents,
            **names,
        },
        "data": {"baseType": f"{kind}Data", "baseData": {"ver": 2} | data},
    }


async def test_one_run_is_one_request_its_pages_and_its_metrics(server: Endpoint, client: Client) -> None:
    """Five tweets, one that can never be stored and a fresh one, in pages of three: every envelope as it should be."""
    target = a_target(page_size=3)
    given(client, target, *held(range(1, 5)), Held([b"user", b"nobody"]), Held(tweet(6)), Held(tweet(7), idle_ms=0))

    run = await observed_run(server, target)
    with a_collector() as collector:
        await exporter_to(collector).send([run], OPERATION)

    run_id = run.report.run_id
    common = {"target": "s/g", "consumer": "monitoring_app", "app_version": __version__}
    named = common | {"run_id": run_id}
    zeros = dict.fromkeys(
        [
            "superseded",
            "duplicate_fields",
            "not_deleted",
            "retried",
            "failed",
            "held",
            "given_back",
            "lost",
            "taken",
            "moved",
        ],
        0,
    )
    run_counts = zeros | {
        "claimed": 6, "stored": 5, "acknowledged": 5, "parked": 1, "lost_at_most": 0
    }  # fmt: skip
    page_counts = [
        {"claimed": 3, "acknowledged": 3, "parked": 0, "retried": 0, "failed": 0, "held": 0},
        {"claimed": 3, "acknowledged": 2, "parked": 1, "retried": 0, "failed": 0, "held": 0},
    ]
    request = {
        "id": f"{run_id}0000",
        "name": "reclaim run",
        "responseCode": "completed",
        "success": True,
        "properties": named
        | {"reason": "", "reasons": json.dumps({"MissingField: no field 'id' for 'tweet:{id}'": 1})},
        "measurements": run_counts | {"runs": 1, "pages": 2},
    }
    pages = [
        {
            "id": f"{run_id}000{number}",
            "name": "reclaim page",
            "type": "Redis",
            "target": "127.0.0.1:6379",
            "data": "s/g",
            "resultCode": "done",
            "success": True,
            "properties": named,
            "measurements": counts,
        }
        for number, counts in enumerate(page_counts, start=1)
    ]
    metrics = {f"reclaim.{name}": value for name, value in run_counts.items() if value} | {
        "reclaim.pending_before": 7,
        "reclaim.pending_after": 1,
        "reclaim.dead_letters": 1,
        "reclaim.circuit": 0,
        "reclaim.last_success_age_seconds": 0,
        "reclaim.run_seconds": run.report.seconds,
        "reclaim.entries_per_second": round(6 / run.report.seconds, 3),
        "reclaim.oldest_idle_before_ms": run.report.longest_idle_ms,
        "reclaim.oldest_idle_after_ms": run.after.oldest_idle_ms,
    }
    assert len(collector.batches) == 1, "one post"
    by_name = {one["data"]["baseData"]["metrics"][0]["name"]: one for one in of_kind(collector.envelopes, "Metric")}
    assert [without_times(one) for one in of_kind(collector.envelopes, "Request")] == [
        envelope("Request", OPERATION.parent_id, request)
    ]
    assert [without_times(one) for one in of_kind(collector.envelopes, "RemoteDependency")] == [
        envelope("RemoteDependency", f"{run_id}0000", page) for page in pages
    ]
    assert {name: without_times(one) for name, one in by_name.items()} == {
        name: envelope("Metric", f"{run_id}0000", {"metrics": [{"name": name, "value": value}], "properties": common})
        for name, value in metrics.items()
    }
    assert len(collector.envelopes) == 1 + 2 + len(metrics)
    assert 3_600_000 <= run.report.longest_idle_ms < 3_700_000
    assert run.after.oldest_idle_ms is not None
    assert run.after.oldest_idle_ms < 60_000
    assert all(one["tags"]["ai.cloud.roleInstance"] == platform.node() for one in collector.envelopes)


async def test_times_are_those_of_the_run(embedded: Endpoint, client: Client) -> None:
    """Pages lie within the run, one after another; metrics are of the moment it was over."""
    target = a_target(page_size=2)
    given(client, target, *held(range(6)))

    run = await observed_run(embedded, target)
    with a_collector() as collector:
        await exporter_to(collector).send([run], OPERATION)

    def span(one: Envelope) -> tuple[datetime, datetime]:
        began = datetime.fromisoformat(one["time"])
        hours, minutes, seconds = one["data"]["baseData"]["duration"].removeprefix("0.").split(":")
        return began, began + timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds))

    (whole,) = [span(one) for one in of_kind(collector.envelopes, "Request")]
    pages = [span(one) for one in of_kind(collector.envelopes, "RemoteDependency")]
    ends = [whole[0], *(moment for page in pages for moment in page), whole[1]]
    assert len(pages) == 3
    assert ends == sorted(ends)
    assert whole == (
        datetime.fromisoformat(run.report.started_at),
        datetime.fromisoformat(run.report.started_at) + timedelta(seconds=run.report.seconds),
    )
    assert {datetime.fromisoformat(one["time"]) for one in of_kind(collector.envelopes, "Metric")} == {whole[1]}


class Picky(Handler):
    """A handler that fails every second entry."""

    def order_key(self, entry: Entry) -> bytes:
        return entry.id

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        return [Failed(ValueError("no")) if int(entry.id[:1]) % 2 else STORED for _, entry in entries]


async def test_a_page_with_entries_not_stored_is_marked(embedded: Endpoint, client: Client) -> None:
    """The page is a failed dependency, though the run went well."""
    target = a_target(page_size=2, handler="tests:unused")
    given(client, target, *held(range(4)))

    run = await observed_run(embedded, target, Picky())
    with a_collector() as collector:
        await exporter_to(collector).send([run], OPERATION)

    pages = [one["data"]["baseData"] for one in of_kind(collector.envelopes, "RemoteDependency")]
    (request,) = [one["data"]["baseData"] for one in of_kind(collector.envelopes, "Request")]
    assert [(page["success"], page["resultCode"]) for page in pages] == [(False, "entries_not_stored")] * 2
    assert sum(page["measurements"]["failed"] for page in pages) == 2
    assert (request["success"], request["measurements"]["failed"]) == (True, 2)


async def test_a_failed_run_is_a_failed_request_without_what_nobody_knows() -> None:
    """Redis is away: no pending, no dead letters, no circuit; the counts are zero and not sent, the reason is."""
    run = await observed_run(SOMEWHERE, a_target(retry_attempts=1))
    with a_collector() as collector:
        await exporter_to(collector, clock=iter([100.0, 107.5]).__next__).send([run], OPERATION)

    (request,) = [one["data"]["baseData"] for one in of_kind(collector.envelopes, "Request")]
    unknown = {"pending_before", "pending_after", "oldest_idle_before_ms", "oldest_idle_after_ms", "dead_letters"}
    assert (request["success"], request["responseCode"]) == (False, "failed")
    assert request["properties"]["reason"].startswith("Unreachable: no connection to 127.0.0.1:1")
    of_no_target = {name for name in DOCUMENTED if name.startswith("reclaim.found_")} | {"reclaim.telemetry_dropped"}
    assert DOCUMENTED - values(collector.envelopes).keys() - of_no_target == {
        f"reclaim.{name}" for name in {*unknown, *COUNTS, "circuit"}
    }
    assert not any(request["measurements"][name] for name in COUNTS)
    assert values(collector.envelopes)["reclaim.last_success_age_seconds"] == 7.5


async def test_the_age_of_the_last_success_grows_until_a_run_goes_well() -> None:
    """Per target, by this process' own clock."""
    now = 0.0
    failed, well = observed(outcome=Outcome.FAILED), observed()
    with a_collector() as collector:
        exporter = exporter_to(collector, clock=lambda: now)
        for now, run in ((10.0, failed), (30.0, well), (55.0, failed)):  # noqa: B007  # the clock reads it
            exporter.told_of(run.report)
            await exporter.send([run], OPERATION)

    ages = [values(batch)["reclaim.last_success_age_seconds"] for batch in collector.batches]
    assert ages == [10, 0, 25]


async def test_several_targets_share_one_operation_and_one_post() -> None:
    """Each has its own request and its own metrics."""
    runs = [observed(target=f"s{n}/g", run_id=f"{n:012x}") for n in range(3)]
    with a_collector() as collector:
        await exporter_to(collector).send(runs, OPERATION)

    assert len(collector.batches) == 1
    requests = of_kind(collector.envelopes, "Request")
    assert [one["data"]["baseData"]["properties"]["target"] for one in requests] == ["s0/g", "s1/g", "s2/g"]
    assert {one["tags"]["ai.operation.id"] for one in collector.envelopes} == {OPERATION.trace_id}
    metrics = [one["data"]["baseData"] for one in of_kind(collector.envelopes, "Metric")]
    assert len({(one["metrics"][0]["name"], one["properties"]["target"]) for one in metrics}) == len(metrics)


async def test_many_targets_go_in_posts_of_five_hundred() -> None:
    """A post stays well below what the service takes."""
    with a_collector() as collector:
        await exporter_to(collector).send([observed(run_id=f"{n:012x}") for n in range(60)], OPERATION)

    assert [len(batch) for batch in collector.batches[:-1]] == [500] * (len(collector.batches) - 1)
    assert len(of_kind(collector.envelopes, "Request")) == 60


async def test_the_metrics_that_are_sent_are_those_in_the_document() -> None:
    """What is sent is in the table, and nothing else."""
    with a_collector() as collector:
        exporter = exporter_to(collector)
        exporter.dropped.count = 1
        exporter.looked(Looked(idle=1, with_work=1, run_now=1, oldest_idle_ms=1))
        counts = dict.fromkeys(COUNTS, 1)
        await exporter.send([observed(pending_before={}, pending_after={"a": 1}, **counts)], OPERATION)

    assert values(collector.envelopes).keys() == DOCUMENTED


@pytest.mark.parametrize(
    ("trace_parent", "expected"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", OPERATION),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-of-the-future", OPERATION),
        (None, None),
        ("", None),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("|4bf92f35.00f067aa.", None),
    ],
)
def test_the_invocations_trace_is_taken_up(trace_parent: str | None, expected: Operation | None) -> None:
    """Where it is missing or malformed, an operation of our own begins."""
    operation = Operation.of(trace_parent)

    if expected:
        assert operation == expected
    else:
        assert operation.parent_id is None
        assert len(operation.trace_id) == 32
        assert operation.trace_id != Operation.of(trace_parent).trace_id
