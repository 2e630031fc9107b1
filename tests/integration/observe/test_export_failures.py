"""An endpoint that is away, slow, or refuses: a run waits no longer than the bound, and what is lost is counted."""

import asyncio
import logging
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from importlib import import_module

import pytest

from reclaim.observe import export as export_module
from reclaim.observe.export import Exporter, Share
from reclaim.settings import Insights
from tests.integration.observe.collector import (
    KEY,
    NOBODY,
    OK,
    OK_BODY,
    OPERATION,
    Answer,
    a_collector,
    answer,
    drip,
    exporter_to,
    hang_up,
    observed,
    of_kind,
    values,
)

FOR_EVER_SEC = 600.0  # longer than a test may take
ITEMS = 7  # of a run that found nothing: its request, and its metrics but for the three that are not known


def threads() -> list[threading.Thread]:
    """The threads that telemetry has."""
    return [thread for thread in threading.enumerate() if thread.name == "reclaim telemetry"]


def drops_reported(exported: list[dict[str, object]]) -> float | None:
    """What an export says about those before it."""
    return values(exported).get("reclaim.telemetry_dropped")


@pytest.fixture(autouse=True, scope="module")
def imported() -> None:
    """Let opencensus be imported, so that the tests measure the export alone."""
    import_module("reclaim.observe.app_insights")


async def until(true: Callable[[], bool], within_sec: float = 10.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(within_sec):
        while not true():  # noqa: ASYNC110  # threads set no asyncio.Event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(answer(status, {"message": "no"}), id=str(status))
        for status in (400, 401, 402, 403, 404, 408, 429, 439, 500, 502, 503, 504)
    ]
    + [
        pytest.param(hang_up, id="hangs up"),
        pytest.param(answer(206, "nonsense"), id="206 without a list of errors"),
        pytest.param(answer(307), id="a redirection to nowhere"),
    ],
)
async def test_what_is_refused_is_dropped_and_the_next_export_says_how_much(
    how: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is sent again, on this run or the next; two lines tell of it, however many runs it lasts."""
    caplog.set_level(logging.INFO)
    with a_collector(how) as collector:
        exporter = exporter_to(collector)
        for _ in range(3):
            await exporter.send([observed()], OPERATION)
        assert len(collector.batches) == 3
        assert exporter.dropped.count == sum(len(batch) for batch in collector.batches)
        lost = exporter.dropped.count

        collector.answer = OK
        await exporter.send([observed()], OPERATION)

    assert drops_reported(collector.batches[-1]) == lost
    assert len(of_kind(collector.batches[-1], "Request")) == 1
    assert exporter.dropped.count == 0
    ours = [record for record in caplog.records if "telemetry" in record.getMessage()]
    assert [record.levelname for record in ours] == ["WARNING", "INFO"]
    assert [record for record in caplog.records if record.name.startswith("opencensus")] == []


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirection_is_not_followed(status: int) -> None:
    """It would take the items, and the token with them, to any host; the next export goes where it always went."""
    with a_collector() as other, a_collector() as collector:

        def redirect(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Location", f"http://127.0.0.1:{other.port}/v2.1/track")
            request.send_header("Content-Length", "0")
            request.end_headers()

        collector.answer = redirect
        exporter = exporter_to(collector)
        for _ in range(12):
            await exporter.send([observed()], OPERATION)
        lost = exporter.dropped.count
        collector.answer = OK
        await exporter.send([observed()], OPERATION)

    assert other.posts == []
    assert len(collector.posts) == 13
    assert drops_reported(collector.batches[-1]) == lost == sum(map(len, collector.batches[:-1]))
    assert exporter.dropped.count == 0


async def test_of_a_partial_success_only_the_rest_is_counted() -> None:
    """206: what was refused for good and what may be sent again are both dropped."""
    errors = [
        {"index": 0, "statusCode": 400, "message": "bad"},
        {"index": 3, "statusCode": 500, "message": "later"},
        {"index": 4, "statusCode": 429, "message": "later"},
    ]
    with a_collector(answer(206, {"itemsReceived": 7, "itemsAccepted": 4, "errors": errors})) as collector:
        exporter = exporter_to(collector)
        await exporter.send([observed()], OPERATION)

        assert exporter.dropped.count == 3
        assert len(collector.batches) == 1


async def test_a_closed_endpoint_costs_next_to_nothing() -> None:
    """Nobody listens: the run goes on at once."""
    exporter = Exporter(Insights(KEY, f"http://127.0.0.1:{NOBODY}"), "redis")

    await exporter.send([observed()], OPERATION, FOR_EVER_SEC)

    assert exporter.dropped.count > 0
    await until(lambda: not threads())


async def test_a_slow_endpoint_delays_a_run_by_the_bound_and_no_more() -> None:
    """The answer never comes: what was to be sent is dropped."""
    over = threading.Event()
    with a_collector(answer(200, after=over)) as collector:
        exporter = exporter_to(collector)
        await exporter.send([observed()], OPERATION)
        await until(lambda: not threads())  # the library gives up
        over.set()
        collector.answer = OK
        await exporter.send([observed()], OPERATION)

    assert [len(batch) for batch in collector.batches] == [ITEMS, ITEMS + 1]
    assert drops_reported(collector.batches[-1]) == ITEMS


async def test_one_export_is_under_way_at_most(caplog: pytest.LogCaptureFixture) -> None:
    """Runs that come meanwhile drop theirs at once, and count it; the one under way may still arrive."""
    over = threading.Event()
    with a_collector(answer(200, after=over)) as collector:
        exporter = exporter_to(collector)
        await exporter.send([observed()], OPERATION, 0.1)
        for _ in range(3):
            await exporter.send([observed()], OPERATION, FOR_EVER_SEC)
        assert len(threads()) == 1
        assert exporter.dropped.count == 3 * ITEMS + 2, "each says how many were dropped before, and is dropped too"
        over.set()
        await until(lambda: not threads())
        collector.answer = OK
        await exporter.send([observed()], OPERATION)

    assert [len(batch) for batch in collector.batches] == [ITEMS, ITEMS + 1]
    assert drops_reported(collector.batches[-1]) == 3 * ITEMS + 2
    assert exporter.dropped.count == 0
    assert sum("does not arrive" in record.getMessage() for record in caplog.records) == 1


async def test_an_answer_a_letter_at_a_time_holds_one_thread_and_no_run() -> None:
    """No timeout of the library ends such an answer; ours does not wait for it."""
    over = threading.Event()
    with a_collector(drip(over)) as collector:
        exporter = exporter_to(collector)
        try:
            await exporter.send([observed()], OPERATION, 0.2)
            for _ in range(20):
                await exporter.send([observed()], OPERATION, FOR_EVER_SEC)
            assert len(threads()) == 1
            assert len(collector.batches) == 1
            assert exporter.dropped.count >= 20 * ITEMS
        finally:
            over.set()
        collector.answer = OK
        await until(lambda: not threads())
        await exporter.send([observed()], OPERATION)
    assert exporter.dropped.count < 40, "of the export with the strange answer at most"


async def test_the_loop_goes_on_while_an_export_is_under_way() -> None:
    """Posting blocks a thread, and never the loop that other invocations share."""
    has_beaten = threading.Event()

    async def beat() -> None:
        for _ in range(10):
            await asyncio.sleep(0.01)
        has_beaten.set()

    with a_collector(answer(200, OK_BODY, after=has_beaten)) as collector:  # if the loop stands still, for ever
        heart = asyncio.create_task(beat())
        exporter = exporter_to(collector)
        await exporter.send([observed()], OPERATION, FOR_EVER_SEC)
        await heart

    assert (len(collector.batches), exporter.dropped.count) == (1, 0)


async def test_a_cancelled_invocation_is_not_held_up() -> None:
    """The cancellation comes through at once, and the next export finds everything in order."""
    over = threading.Event()
    with a_collector(answer(200, after=over)) as collector:
        exporter = exporter_to(collector)
        task = asyncio.create_task(exporter.send([observed()], OPERATION))
        await until(lambda: bool(collector.batches))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        over.set()
        await until(lambda: not threads())
        collector.answer = OK
        await exporter.send([observed()], OPERATION)
    assert (len(collector.batches), exporter.dropped.count) == (2, 0)


async def test_a_fault_of_ours_fails_no_run(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is wrong in here, the run is over and done with."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(export_module, "spans", broken)
    with a_collector() as collector:
        await exporter_to(collector).send([observed()], OPERATION)

    assert "telemetry failed" in caplog.text


async def test_without_a_thread_to_be_had_the_export_is_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process at its limit of threads reclaims all the same."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with a_collector() as collector:
        exporter = exporter_to(collector)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            await exporter.send([observed()], OPERATION)
        await exporter.send([observed()], OPERATION)

    assert "can't start new thread" in caplog.text
    assert len(collector.batches) == 1


@pytest.mark.parametrize(("budget_sec", "expected"), [(240, 2), (20, 2), (10, 1), (1, 0.1)])
def test_telemetrys_share_is_a_small_part_of_the_budget(budget_sec: float, expected: float) -> None:
    """Two seconds for the export, a tenth of a budget under twenty, and half as much again for the snapshots."""
    share = Share.of(budget_sec)

    assert (share.export_sec, share.snapshot_sec, share.total_sec) == (expected, expected / 2, 1.5 * expected)
