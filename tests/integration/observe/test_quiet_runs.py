"""What an idle target costs: round trips, posts, and bytes a month, counted as they arrive."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from dev.proxy import Proxy
from reclaim.app import App
from reclaim.observe.quiet import TELL_EVERY_SEC, QuietRuns
from tests.integration.observe.collector import OK, Collector, Envelope, a_collector, answer, of_kind, values
from tests.integration.observe.rows import Insights
from tests.integration.observe.test_alert_queries import fired
from tests.support import Client, Endpoint, HasPort, a_target, given, held, settings_for

TICK_SEC = 20
HOUR, MONTH = 3600 // TICK_SEC, 30 * 24 * 3600 // TICK_SEC  # ticks
MOST_BYTES_A_MONTH = 100_000_000


class Clock:
    """A clock that goes on by a tick when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def an_app(place: HasPort, collector: Collector, clock: Clock) -> AsyncIterator[App]:
    """An app that sends telemetry, whose quiet runs come when the clock says."""
    app = App(replace(settings_for(place), insights=replace(collector.insights, logs=True)))
    assert app.exporter is not None
    app.exporter._quiet = QuietRuns(clock)
    app.exporter.send_log_if_asked()
    try:
        yield app
    finally:
        await app.aclose()


async def ticks(app: App, clock: Clock, count: int) -> None:
    """So many runs, one every 20 s."""
    for _ in range(count):
        await app.run()
        clock.now += TICK_SEC


def runs_told(collector: Collector) -> list[tuple[str, int]]:
    """The outcomes that arrived, each with how many runs it stands for."""
    spans = [one["data"]["baseData"] for one in of_kind(collector.envelopes, "Request")]
    return [(span["responseCode"], span["measurements"]["runs"]) for span in spans]


@pytest.mark.G7
async def test_an_idle_target_sends_less_than_a_hundred_megabytes_a_month(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The bytes of an hour of ticks, the log with them, times the hours of thirty days; and every run is counted."""
    caplog.set_level(logging.INFO, "reclaim")
    given(client, a_target())
    clock = Clock()
    with a_collector() as collector:
        async with an_app(embedded, collector, clock) as app:
            await ticks(app, clock, HOUR)
        sent_bytes = sum(int(headers["Content-Length"]) for _, headers in collector.posts)

    per_report = round(TELL_EVERY_SEC / TICK_SEC)
    assert len(collector.posts) == HOUR // per_report
    assert runs_told(collector) == [
        ("nothing_pending", 1),
        *[("nothing_pending", per_report)] * (HOUR // per_report - 1),
    ]
    assert len(of_kind(collector.envelopes, "Message")) == HOUR // per_report, "the log's lines are thinned with them"
    assert sent_bytes * MONTH / HOUR < MOST_BYTES_A_MONTH / 2, "half of what is promised: names may be longer"


@pytest.mark.G7
async def test_a_quiet_run_with_telemetry_costs_two_round_trips(client: Client, proxy: Proxy) -> None:
    """Telemetry asks Redis nothing then."""
    given(client, a_target())
    clock = Clock()
    with a_collector() as collector:
        async with an_app(proxy, collector, clock) as app:
            await ticks(app, clock, 2)
            proxy.reply_delay_sec = 0.01  # the count is exact then
            proxy.forget()
            await ticks(app, clock, 1)

    assert proxy.round_trips == 2
    assert len(collector.posts) == 1


async def test_what_happens_after_quiet_runs_is_told_at_once(embedded: Endpoint, client: Client) -> None:
    """Entries become pending: their run is told, before it the quiet ones, and after it how the target stands now."""
    clock = Clock()
    target = a_target()
    given(client, target)
    with a_collector() as collector:
        async with an_app(embedded, collector, clock) as app:
            await ticks(app, clock, 5)
            given(client, target, *held(range(3)))
            collector.batches.clear()
            await ticks(app, clock, 3)

    assert runs_told(collector) == [("nothing_pending", 4), ("completed", 1), ("nothing_pending", 1)]
    assert [len(of_kind(batch, "Metric")) > 0 for batch in collector.batches] == [True, True]
    assert values(collector.batches[0])["reclaim.acknowledged"] == 3
    assert values(collector.batches[1])["reclaim.pending_after"] == 0


async def test_a_report_that_did_not_arrive_is_followed_by_another(embedded: Endpoint, client: Client) -> None:
    """Alerts look back 15 minutes: a lost report must not leave a gap of 20."""
    clock = Clock()
    given(client, a_target())
    with a_collector(answer(500)) as collector:
        async with an_app(embedded, collector, clock) as app:
            await ticks(app, clock, 3)
            collector.answer = OK
            await ticks(app, clock, 3)

    assert [outcome for outcome, _ in runs_told(collector)] == ["nothing_pending"] * 4, "three in vain, then one"


@pytest.mark.parametrize(("took_min", "alerts"), [(3, {}), (6, {"no-good-run": ["s/g", "every target"]})])
async def test_no_alert_fires_though_a_target_is_idle(
    embedded: Endpoint, client: Client, took_min: int, alerts: dict[str, list[str]]
) -> None:
    """As alerts see it just before the next report arrives: ten minutes after the last, and three on its way."""
    clock = Clock()
    given(client, a_target())
    told: list[tuple[float, list[Envelope]]] = []
    with a_collector() as collector:
        async with an_app(embedded, collector, clock) as app:
            for _ in range(HOUR // 2):
                at, before = clock.now, len(collector.batches)
                await ticks(app, clock, 1)
                told += [(at, batch) for batch in collector.batches[before:]]

    insights = Insights()
    seen_at = told[-1][0] + TELL_EVERY_SEC + took_min * 60
    for at, envelopes in told:
        insights.take(envelopes, minutes_ago=(seen_at - at) / 60)

    assert len(told) >= 3
    assert {name: sorted(targets) for name, targets in fired(insights).items()} == {
        name: sorted(targets) for name, targets in alerts.items()
    }
