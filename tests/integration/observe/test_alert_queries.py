"""The alerts of infra/queries, run on telemetry as the app sends it: each fires when it should, and only then."""

from dataclasses import replace
from typing import Any

import pytest
from duckdb_kql import KqlUnsupportedError

from dev.queries import ALERTS, QUESTIONS, alert, query
from reclaim.observe.measures import ObservedRun
from reclaim.observe.snapshot import Snapshot
from reclaim.run.report import Outcome
from tests.integration.observe.collector import (
    OK,
    OPERATION,
    Envelope,
    a_collector,
    answer,
    exporter_to,
    observed,
    observed_run,
)
from tests.integration.observe.rows import Insights
from tests.support import Client, Endpoint, Held, a_target, given, held

# What the library that runs KQL here does not know: Microsoft's parser alone judges these.
NOT_RUN = {"reasons": "bag_keys", "speed": "percentiles"}


async def sent(*runs: ObservedRun) -> list[Envelope]:
    """What arrives of some runs."""
    with a_collector() as collector:
        await exporter_to(collector).send(list(runs), OPERATION)
        return collector.envelopes


def fired(insights: Insights) -> dict[str, list[str]]:
    """The alerts that fire, each with its targets."""
    rows = {name: insights.ask(alert(name)) for name in ALERTS}
    return {name: [one["target"] for one in some] for name, some in rows.items() if some}


def standing(**snapshot: Any) -> ObservedRun:
    """A run that found nothing, and how the target stood afterwards."""
    return replace(observed(), after=replace(Snapshot(0, 0, "closed"), **snapshot))


async def test_no_alert_fires_while_all_is_well(embedded: Endpoint, client: Client) -> None:
    """A run that stores what it finds, and runs that find nothing."""
    target = a_target()
    given(client, target, *held(range(5)))
    insights = Insights()

    insights.take(await sent(await observed_run(embedded, target), observed()))

    assert fired(insights) == {}


async def test_a_dead_letter_is_an_alert(embedded: Endpoint, client: Client) -> None:
    target = a_target()
    given(client, target, *held(range(3)), Held([b"user", b"nobody"]))
    insights = Insights()

    insights.take(await sent(await observed_run(embedded, target)))

    assert fired(insights) == {"dead-letters": ["s/g"]}


async def test_a_lost_entry_is_an_alert(embedded: Endpoint, client: Client) -> None:
    """Somebody deletes an entry that is pending."""
    target = a_target()
    given(client, target, *held(range(3)))
    client.xdel("s", client.xrange("s", count=1)[0][0])
    insights = Insights()

    insights.take(await sent(await observed_run(embedded, target)))

    assert fired(insights) == {"entries-lost": ["s/g"]}


@pytest.mark.parametrize(
    ("change", "alerts"),
    [
        ({"lost": 1}, ["entries-lost"]),
        ({"lost_at_most": 1}, ["entries-lost"]),
        ({"parked": 1}, ["dead-letters"]),
        ({"failed": 5, "retried": 5, "held": 5, "given_back": 5, "taken": 5}, []),
    ],
)
async def test_counts_that_are_alerts(change: dict[str, Any], alerts: list[str]) -> None:
    insights = Insights()

    insights.take(await sent(observed(**change)))

    assert list(fired(insights)) == alerts


@pytest.mark.parametrize(
    ("snapshot", "alerts"),
    [
        ({"circuit": "open"}, ["circuit-open"]),
        ({"circuit": "half_open"}, []),
        ({"circuit": None}, []),
        ({"oldest_idle_ms": 900_001}, ["backlog"]),
        ({"oldest_idle_ms": 900_000}, []),
        ({"dead_letters": 7}, []),
    ],
)
async def test_states_that_are_alerts(snapshot: dict[str, Any], alerts: list[str]) -> None:
    insights = Insights()

    insights.take(await sent(standing(**snapshot)))

    assert list(fired(insights)) == alerts


async def test_a_circuit_that_has_closed_and_a_backlog_that_is_gone_are_none() -> None:
    """The latest value counts; and what is older than the window is not looked at."""
    insights = Insights()

    insights.take(await sent(standing(circuit="open", oldest_idle_ms=1_000_000)), minutes_ago=5)
    insights.take(await sent(standing()))
    insights.take(await sent(observed(lost=1, parked=1)), minutes_ago=16)

    assert fired(insights) == {}


@pytest.mark.parametrize("outcome", Outcome)
async def test_runs_that_do_not_go_well_for_a_quarter_of_an_hour_are_an_alert(outcome: Outcome) -> None:
    """Whatever the outcome says of it, one that went well within that time is enough."""
    insights = Insights()

    insights.take(await sent(observed()), minutes_ago=16)
    for minutes in range(15):
        insights.take(await sent(observed(outcome=outcome)), minutes_ago=minutes)

    expected = {} if outcome.went_well else {"no-good-run": ["s/g"]}
    if outcome is Outcome.DEAD_LETTERS_FULL:
        expected["dead-letters-full"] = ["s/g"]
    assert fired(insights) == expected


async def test_one_target_whose_runs_fail_is_named_alone() -> None:
    insights = Insights()

    insights.take(await sent(observed(), observed(target="a/b", outcome=Outcome.FAILED)))

    assert fired(insights) == {"no-good-run": ["a/b"]}


async def test_silence_is_an_alert() -> None:
    """Of an app that ran until 20 minutes ago; and of one that never ran."""
    insights = Insights()
    assert fired(insights) == {"no-good-run": ["every target"]}

    insights.take(await sent(observed()), minutes_ago=20)

    assert {name: sorted(targets) for name, targets in fired(insights).items()} == {
        "no-good-run": ["every target", "s/g"]
    }


@pytest.mark.parametrize(("runs", "alerts"), [(1, []), (10, ["telemetry"])])
async def test_telemetry_that_does_not_arrive_is_an_alert(runs: int, alerts: list[str]) -> None:
    """Once it arrives again, it says how many items were dropped: some ten a run."""
    insights = Insights()
    with a_collector(answer(500)) as collector:
        exporter = exporter_to(collector)
        await exporter.send([observed()] * runs, OPERATION)
        collector.answer = OK
        collector.batches.clear()
        await exporter.send([observed()], OPERATION)
        insights.take(collector.envelopes)

    assert list(fired(insights)) == alerts


@pytest.mark.parametrize("name", [name for name in QUESTIONS if name not in NOT_RUN])
async def test_questions_have_answers(name: str, embedded: Endpoint, client: Client) -> None:
    """Of a run that stored some entries and parked one."""
    target = a_target()
    given(client, target, *held(range(3)), Held([b"user", b"nobody"]))
    run = await observed_run(embedded, target)
    insights = Insights()

    insights.take(await sent(run))

    rows = insights.ask(query(name).replace("RUN", run.report.run_id))
    assert bool(rows) == (name not in {"pages", "log-lines"}), "no page was slow, and the host sends the log"


@pytest.mark.parametrize("name", NOT_RUN)
def test_what_cannot_be_run_here_is_said(name: str) -> None:
    """A newer version of the library may know it: then it belongs to the questions above."""
    with pytest.raises(KqlUnsupportedError, match=NOT_RUN[name]):
        Insights().ask(query(name))
