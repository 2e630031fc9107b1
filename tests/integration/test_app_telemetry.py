"""Telemetry as the app wires it: from the invocation's trace to the envelopes and the log."""

import json
import logging
import threading
from dataclasses import replace
from types import SimpleNamespace

import azure.functions as func
import pytest

import function_app
from reclaim import app as app_module
from reclaim.app import App
from reclaim.errors import RunFailed
from reclaim.http import routes as ops
from reclaim.run.report import RunReport
from reclaim.run.runner import Runner
from reclaim.settings import Insights
from tests.integration.observe.collector import KEY, NOBODY, OPERATION, a_collector, answer, of_kind, values
from tests.support import Client, Endpoint, Held, a_target, env_for, functions, given, held, lived_in, settings_for

TRACE_PARENT = f"00-{OPERATION.trace_id}-{OPERATION.parent_id}-01"
CONTEXT = SimpleNamespace(trace_context=SimpleNamespace(trace_parent=TRACE_PARENT))


async def test_an_invocation_is_the_parent_of_its_runs_and_its_log_names_them(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The host's trace goes on in ours, and the run's line names the same operation and run."""
    caplog.set_level(logging.INFO)
    given(client, a_target(), *held(range(5)))
    with a_collector() as collector:
        env = env_for(embedded, APPLICATIONINSIGHTS_CONNECTION_STRING=collector.connection_string)
        app = App.from_env(env | {"WEBSITE_SITE_NAME": "site"})
        monkeypatch.setattr("reclaim.app.app_of_loop", lambda: app)
        await function_app.reclaim.build().get_user_function()(None, CONTEXT)
        await app.aclose()

    (request,) = of_kind(collector.envelopes, "Request")
    (record,) = [one for one in caplog.records if one.getMessage().startswith("reclaim run")]
    report = json.loads(record.getMessage().removeprefix("reclaim run "))
    assert (record.__dict__["target"], record.__dict__["run_id"]) == ("s/g", report["run_id"])
    assert request["tags"]["ai.operation.id"] == OPERATION.trace_id == report["operation_id"]
    assert request["tags"]["ai.operation.parentId"] == OPERATION.parent_id
    assert request["tags"]["ai.cloud.role"] == "site"
    assert request["data"]["baseData"]["id"] == report["run_id"] + "0000"
    assert values(collector.envelopes)["reclaim.acknowledged"] == 5
    assert logging.getLogger("reclaim").handlers == []


async def test_a_run_by_http_is_a_part_of_the_callers_operation(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the timer."""
    given(client, a_target(), *held(range(2)))
    with a_collector() as collector:
        app = App.from_env(env_for(embedded, APPLICATIONINSIGHTS_CONNECTION_STRING=collector.connection_string))
        monkeypatch.setattr(ops, "app_of_loop", lambda: app)
        run_now = functions()["run_now"]
        request = func.HttpRequest("POST", "http://h/api/runs", body=b"{}")
        answer = await run_now.get_user_function()(request, CONTEXT)
        await app.aclose()

    assert answer.status_code == 200
    (sent,) = of_kind(collector.envelopes, "Request")
    assert sent["tags"]["ai.operation.id"] == OPERATION.trace_id
    assert sent["tags"]["ai.operation.parentId"] == OPERATION.parent_id


async def test_an_alert_that_does_not_arrive_is_logged_with_its_run(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever reads the line wants to know of which run and target it speaks."""
    target = a_target(max_deliveries=1)
    lived_in(client, target)
    given(client, target, Held([b"user", b"no id"]))
    settings = replace(settings_for(embedded, target), alert_webhook_url=f"http://127.0.0.1:{NOBODY}/")
    app = App(settings)
    (report,) = await app.run(operation=OPERATION)
    await app.aclose()

    assert report.parked == 1
    lines = [record for record in caplog.records if "alert" in record.getMessage()]
    assert lines
    assert {record.__dict__["run_id"] for record in lines} == {report.run_id}


async def test_a_slow_endpoint_delays_the_invocation_by_its_bound(embedded: Endpoint, client: Client) -> None:
    """The answer never comes; the run does not wait, and is done before."""
    given(client, a_target(), *held(range(5)))
    over = threading.Event()
    with a_collector(answer(200, after=over)) as collector:
        insights = Insights(KEY, f"http://127.0.0.1:{collector.port}")
        app = App(replace(settings_for(embedded), insights=insights))
        (report,) = await app.run()
        await app.aclose()
        over.set()

    assert report.acknowledged == 5


@pytest.mark.parametrize(("is_on", "left_sec"), [(True, 17.0), (False, 20.0)])
async def test_runs_get_the_budget_without_telemetrys_share(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch, *, is_on: bool, left_sec: float
) -> None:
    """So that both together end within the budget."""
    given(client, a_target())
    budgets: list[float] = []
    run = Runner.run

    async def recording(runner: Runner, budget_sec: float, *more: object) -> RunReport:
        budgets.append(budget_sec)
        return await run(runner, budget_sec, *more)

    monkeypatch.setattr(Runner, "run", recording)
    with a_collector() as collector:
        insights = Insights(KEY, f"http://127.0.0.1:{collector.port}") if is_on else None
        app = App(replace(settings_for(embedded), insights=insights))
        await app.reports(budget_sec=20.0)
        await app.aclose()

    assert budgets == [left_sec]


async def test_a_failed_run_is_exported_before_the_invocation_fails() -> None:
    """Redis is away: what the operator wants to know most."""
    with a_collector() as collector:
        insights = Insights(KEY, f"http://127.0.0.1:{collector.port}")
        place = SimpleNamespace(port=NOBODY)
        app = App(replace(settings_for(place, a_target(retry_attempts=1)), insights=insights))
        with pytest.raises(RunFailed):
            await app.run()
        await app.aclose()

    assert [one["data"]["baseData"]["success"] for one in of_kind(collector.envelopes, "Request")] == [False]


async def test_every_target_is_exported_in_one_post(embedded: Endpoint, client: Client) -> None:
    """Two targets, one invocation, one operation."""
    targets = (a_target(), a_target(stream="s2"))
    for target in targets:
        given(client, target, *held(range(3)))
    with a_collector() as collector:
        insights = Insights(KEY, f"http://127.0.0.1:{collector.port}")
        app = App(replace(settings_for(embedded, *targets), insights=insights))
        await app.run(operation=OPERATION)
        await app.aclose()

    requests = of_kind(collector.envelopes, "Request")
    assert [one["data"]["baseData"]["properties"]["target"] for one in requests] == ["s/g", "s2/g"]
    assert {one["tags"]["ai.operation.parentId"] for one in requests} == {OPERATION.parent_id}
    assert len(collector.batches) == 1


def test_without_telemetry_there_is_nothing_to_export_with() -> None:
    """The app does not even import what it would take."""
    assert app_module._exporter(settings_for(SimpleNamespace(port=1))) is None
