"""Log lines and traces find each other: by target, run and operation."""

import json
import logging
import re
from dataclasses import replace

import pytest

from reclaim.observe.export import Exporter
from reclaim.observe.log_buffer import MAX_LINES
from reclaim.trace import name_in_log_lines, run_under_way
from tests.integration.observe.collector import (
    OPERATION,
    Collector,
    a_collector,
    exporter_to,
    observed,
    of_kind,
    values,
)

logger = logging.getLogger("reclaim")


@pytest.fixture(autouse=True)
def named() -> None:
    """As the app does."""
    name_in_log_lines()
    name_in_log_lines()


def lines(collector: Collector) -> list[dict[str, object]]:
    """What log lines have arrived, without times."""
    return [
        one["data"]["baseData"] | {name.removeprefix("ai.operation."): one["tags"].get(name) for name in _JOINS}
        for one in of_kind(collector.envelopes, "Message")
    ]


_JOINS = ("ai.operation.id", "ai.operation.parentId")


def test_a_line_of_a_run_names_target_run_and_operation(caplog: pytest.LogCaptureFixture) -> None:
    """In its text, which is all that the host passes on, and as attributes for whoever reads those."""
    with OPERATION.under_way():
        logger.warning("before %d", 1)
        with run_under_way("s/g", "0123456789ab"):
            logger.warning("the claim of %s failed: 100%%", "1-0")
        logger.warning("after")
    logger.warning("none")

    names = f"[target=s/g run=0123456789ab operation={OPERATION.trace_id}]"
    assert [record.getMessage() for record in caplog.records] == [
        "before 1",
        f"the claim of 1-0 failed: 100% {names}",
        "after",
        "none",
    ]
    found = [
        (one.__dict__["target"], one.__dict__["run_id"], one.__dict__["operation_id"], one.__dict__["parent_id"])
        for one in caplog.records
    ]
    outside = ("", "", OPERATION.trace_id, OPERATION.parent_id)
    run = ("s/g", "0123456789ab", OPERATION.trace_id, "0123456789ab0000")
    assert found == [outside, run, outside, ("", "", "", "")]


def test_a_line_that_cannot_be_formatted_breaks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """It is the handler's to report, as always in logging."""
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with run_under_way("s/g", "0123456789ab"):
            logger.warning("%d entries", "no")
    finally:
        logger.removeHandler(handler)
        logger.propagate = True

    assert "--- Logging error ---" in capsys.readouterr().err


@pytest.mark.G7
@pytest.mark.parametrize("word", ["x", "😀", "\ud83d", "\n"])
def test_a_line_is_cut_where_it_is_too_long_and_still_named(caplog: pytest.LogCaptureFixture, word: str) -> None:
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    with OPERATION.under_way(), run_under_way("s/g" + word * 10**5, "0123456789ab"):
        logger.warning("the claim of %s failed", word * 10**6)
        try:
            raise ValueError(word * 10**6)
        except ValueError:
            logger.exception("telemetry failed: %s", word * 10**6)
    logger.warning("before any run: %s", word * 10**6)

    lines = [formatter.format(record) for record in caplog.records]
    assert max(len(line.encode()) for line in lines) <= 8_000
    assert [f"run=0123456789ab operation={OPERATION.trace_id}]" in line for line in lines] == [True, True, False]
    assert "ValueError" in lines[1] or word == "\n"
    assert [record.args for record in caplog.records] == [None, None, None]


def test_a_line_that_names_a_target_of_many_characters_still_says_what_happened(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its own words are not what is cut; and of what ends it as much is told as there is room for."""
    name = "s" * 20_000 + "/g"

    logger.warning("reclaim %s: %d entries are lost, of %s for one: look there", name, 7, "c" * 20_000)
    logger.warning("reclaim %s: not sent: %s", name, "e" * 6_500)

    first, second = [record.getMessage() for record in caplog.records]
    assert re.fullmatch("reclaim s{900,}…: 7 entries are lost, of c{900,}… for one: look there", first)
    assert re.fullmatch("reclaim s{900,}…: not sent: e{6500}", second)


async def test_the_plain_programs_lines_are_sent_on_request() -> None:
    """With the next export, each once, and with the names by which they join the run's request."""
    with a_collector() as collector:
        unasked, exporter = exporter_to(collector), Exporter(replace(collector.insights, logs=True), "redis")
        unasked.send_log_if_asked()
        logger.warning("nobody takes this")
        await unasked.send([observed()], OPERATION)
        assert lines(collector) == []

        exporter.send_log_if_asked()
        exporter.send_log_if_asked()
        with OPERATION.under_way(), run_under_way("s/g", "0123456789ab"):
            logger.warning("the claim failed")
        logger.error("what else")
        await exporter.send([observed()], OPERATION)
        await exporter.send([observed()], OPERATION)
        exporter.close()
        logger.warning("nobody takes this")
        await exporter.send([observed()], OPERATION)

    common = {"consumer": "", "app_version": "0.1.0", "logger": "reclaim"}
    assert lines(collector) == [
        {
            "ver": 2,
            "message": f"the claim failed [target=s/g run=0123456789ab operation={OPERATION.trace_id}]",
            "severityLevel": 2,
            "properties": common | {"target": "s/g", "run_id": "0123456789ab"},
            "id": OPERATION.trace_id,
            "parentId": "0123456789ab0000",
        },
        {
            "ver": 2,
            "message": "what else",
            "severityLevel": 3,
            "properties": common | {"target": "", "run_id": ""},
            "id": None,
            "parentId": None,
        },
    ]
    requests = of_kind(collector.envelopes, "Request")
    assert requests[0]["data"]["baseData"]["id"] == lines(collector)[0]["parentId"]


async def test_lines_beyond_the_last_thousand_are_counted() -> None:
    """They are kept in memory until the next run, but not without end."""
    with a_collector() as collector:
        exporter = Exporter(replace(collector.insights, logs=True), "redis")
        exporter.send_log_if_asked()
        for number in range(MAX_LINES + 7):
            logger.info("line %d", number)
            logger.warning("line %d", number)
        await exporter.send([observed()], OPERATION)
        exporter.close()

    assert len(lines(collector)) == MAX_LINES
    assert values(collector.envelopes)["reclaim.telemetry_dropped"] == 7


def test_the_report_may_say_more() -> None:
    """The run's own line is one JSON object, its operation in it."""
    line = json.loads(observed().report.to_json(operation_id=OPERATION.trace_id))

    assert (line["run_id"], line["target"], line["operation_id"]) == ("0123456789ab", "s/g", OPERATION.trace_id)
    assert line.keys() & {"error", "page_reports"} == set()
