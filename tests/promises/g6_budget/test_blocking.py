"""A handler that blocks the event loop is named, also where the run does not end in time because of it (G6)."""

import asyncio
import logging
import time

import pytest

from reclaim.entry import Entry
from reclaim.run.report import Outcome
from tests.faults import by_function, of_user
from tests.support import Client, Endpoint, a_target, given, run

pytestmark = pytest.mark.G6

TARGET = a_target(handler="app:handle", lanes=2)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_a_handler_that_blocks_for_more_than_a_second_is_named(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log once, and in the report."""
    given(client, TARGET, *(of_user(number, f"{number}") for number in (1, 2, 3)))

    async def handle(entry: Entry) -> None:
        await asyncio.sleep(0)
        time.sleep(1.1 if entry.id in {b"1-0", b"3-0"} else 0.4)  # noqa: ASYNC251  # that is the fault

    report = await run(embedded, TARGET, by_function(handle))

    ((reason, times),) = report.reasons.items()
    assert (report.outcome, report.acknowledged, report.reason, times) == (Outcome.COMPLETED, 3, "", 2)
    assert reason.startswith("HANDLER app:handle blocked the event loop 2 times, for up to 1.")
    (line,) = warnings(caplog)
    assert line.startswith("reclaim s/g: HANDLER app:handle blocked the event loop for 1.")


async def test_a_run_that_is_late_because_its_handler_blocks_says_so(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    given(client, TARGET, *(of_user(number, f"{number}") for number in range(1, 5)))

    async def handle(_: Entry) -> None:
        time.sleep(1.3)  # noqa: ASYNC251  # that is the fault

    report = await run(embedded, TARGET, by_function(handle), budget_sec=2.0)

    assert report.outcome in {Outcome.FAILED, Outcome.OUT_OF_TIME}
    assert "HANDLER app:handle blocked the event loop" in " ".join([report.reason, *report.reasons])
    if report.outcome is Outcome.FAILED:
        assert report.reason.startswith("TimeoutError: the time was up before it was done; HANDLER app:handle blocked")
    assert not any(line.rstrip().endswith(":") for line in warnings(caplog))
    assert "HANDLER app:handle" in warnings(caplog)[0]
