"""A run's report as a line of JSON: whole where it fits, shortened where it does not; and its sentence for a person."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclaim.cli.report_line import sentence
from reclaim.cli.views import RUN_COLUMNS, run_row
from reclaim.reasons import OTHER_REASONS
from reclaim.run.report import OTHER_CONSUMERS, REPORT_BYTES, Outcome, RunReport, failures_in
from reclaim.run.tally import Tally

OPERATION = "0" * 32


def a_report(outcome: Outcome = Outcome.COMPLETED, reason: str = "", **changes: Any) -> RunReport:
    report = Tally("0123456789ab", "s/g", time.monotonic).report(outcome, reason)
    return replace(report, **{"seconds": 0.5, **changes})


def test_a_report_that_fits_is_told_whole() -> None:
    pending = {f"consumer-{number}": number for number in range(1, 51)}
    reasons = {f"{letter}: " + "x" * 50: 2 for letter in "abcdefghij"}
    report = a_report(pending_before=pending, consumers_removed=("a", "b"), alive_consumers=("c",), reasons=reasons)

    said = json.loads(report.to_json())

    assert (said["pending_before"], said["pending_after"], said["reasons"]) == (pending, None, reasons)
    assert (said["consumers_removed"], said["consumers_removed_count"]) == (["a", "b"], 2)
    assert (said["alive_consumers"], said["alive_consumers_count"]) == (["c"], 1)
    assert "parked_reasons" not in said


def test_of_many_names_the_first_ten_are_told_and_how_many_there_are() -> None:
    removed = tuple(f"orders-worker-7d9f8b6c5d-{number:05}" for number in range(5_000))

    said = json.loads(a_report(consumers_removed=removed, alive_consumers=removed).to_json())

    assert (said["consumers_removed"], said["consumers_removed_count"]) == (list(removed[:10]), 5_000)
    assert (said["alive_consumers"], said["alive_consumers_count"]) == (list(removed[:10]), 5_000)


NAMES = st.text(st.characters(codec=None), max_size=8)  # each is made 500 times as long in the test
COUNTS = st.dictionaries(NAMES, st.integers(1, 9), max_size=30)


@given(NAMES, NAMES, COUNTS, COUNTS, st.lists(NAMES, max_size=20))
def test_a_report_is_a_line_of_json_that_fits_whatever_is_in_it(
    target: str, reason: str, pending: dict[str, int], reasons: dict[str, int], names: list[str]
) -> None:
    pending, reasons = ({name * 500: count for name, count in counts.items()} for counts in (pending, reasons))
    names = [name * 500 for name in names]
    report = a_report(
        target=target * 500,
        reason=reason * 500,
        pending_before=pending,
        pending_after=pending,
        reasons=reasons,
        consumers_removed=tuple(names),
        alive_consumers=tuple(names),
    )

    line = report.to_json(operation_id=OPERATION)
    said = json.loads(line)

    assert len(line.encode()) <= REPORT_BYTES
    assert "\n" not in line
    for told, counts, others in (
        (said["pending_before"], pending, OTHER_CONSUMERS),
        (said["reasons"], reasons, OTHER_REASONS),
    ):
        assert sum(told.values()) == sum(counts.values())
        assert len(told) <= len(counts) + 1
        assert len(told) == len(counts) or others in told or len(set(told)) < len(counts)
    assert said["consumers_removed_count"] == len(names)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (a_report(claimed=1, acknowledged=1), "s/g: completed, 1 claimed, 1 acknowledged, 0.50 s"),
        (
            a_report(claimed=2, acknowledged=2, duplicate_fields=1, not_deleted=2),
            "s/g: completed, 2 claimed, 2 acknowledged, 1 duplicate fields, 2 not deleted, 0.50 s",
        ),
        (
            a_report(claimed=2, acknowledged=2, moved=2),
            "s/g: completed, 2 claimed, 2 acknowledged, 2 moved, 0.50 s",
        ),
        (
            a_report(claimed=9, failed=9, reasons={"a": 1, "b": 4, "c": 2, "d": 2}),
            "s/g: completed, 9 claimed, 9 failed, 0.50 s: b (4); c (2); d (2); other reasons (1)",
        ),
        (
            a_report(Outcome.FAILED, "Unreachable: no connection", claimed=2, retried=2, reasons={"TimeoutError": 2}),
            "s/g: failed, 2 claimed, 2 retried, 0.50 s: Unreachable: no connection; TimeoutError (2)",
        ),
    ],
)
def test_a_person_is_told_the_top_reasons_of_a_run(report: RunReport, said: str) -> None:
    assert sentence(report) == said


def test_a_person_is_told_what_a_run_did_however_long_the_targets_name_is() -> None:
    """It is one line of the log, and so is why the run failed."""
    report = a_report(Outcome.FAILED, "no connection", target="s" * 50_000 + "/g")

    assert sentence(report) == f"{'s' * 199}…: failed, 0.50 s: no connection"
    assert failures_in([report]) == f"{'s' * 199}…: no connection"
    assert failures_in([replace(report, outcome=Outcome.COMPLETED, parked=1)], strict=True).endswith(
        "…: 1 dead letter was made"
    )


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({}, "?"),
        ({"reason": "", "reasons": {}}, ""),
        ({"reason": "", "reasons": {"a": 1, "b": 2}}, "b (2); a (1)"),
        ({"reason": "asked to stop", "reasons": {"a": 1}}, "asked to stop; a (1)"),
        ({"reason": "", "reasons": {"a": "many", "b": None, "c": True, "d": 2}}, "d (2)"),
        ({"reason": "", "reasons": ["a"]}, ""),
    ],
)
def test_the_list_of_runs_tells_the_top_reasons_whatever_somebody_wrote_there(run: dict[str, Any], reason: str) -> None:
    assert dict(zip(RUN_COLUMNS, run_row(run), strict=True))["reason"] == reason


def test_the_runs_that_failed_are_told_in_one_line() -> None:
    failed = [a_report(Outcome.FAILED, "x" * 10**6, target=f"s/{number}") for number in range(1_000)]

    assert failures_in([a_report()]) == ""
    assert failures_in([a_report(), replace(failed[0], reason="no connection")]) == "s/0: no connection"
    assert failures_in(failed).endswith("…; and 990 more")
    assert len(failures_in(failed)) < 4_000
