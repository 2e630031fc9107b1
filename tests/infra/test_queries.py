"""The queries of telemetry: files, page, alert rules and workbook have the same ones, and they are right."""

import os
import re
from pathlib import Path

import pytest

from dev.bicep import Reader, read
from dev.queries import ALERTS, FOLDER, PAGE, QUESTIONS, alert, complaints, page, parser_is_missing, query
from reclaim.run.report import Outcome

INFRA = Path(__file__).parents[2] / "infra"
TEXT = PAGE.read_text(encoding="utf-8")
ALL = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.kql"))}

# Metrics that no query reads: the page lists them for queries of one's own.
UNREAD = {
    *("reclaim.claimed", "reclaim.stored", "reclaim.superseded", "reclaim.given_back", "reclaim.taken"),
    "reclaim.moved",
    *("reclaim.duplicate_fields", "reclaim.not_deleted", "reclaim.pending_before", "reclaim.oldest_idle_before_ms"),
    *("reclaim.run_seconds", "reclaim.last_success_age_seconds"),
    *("reclaim.found_idle", "reclaim.found_with_work", "reclaim.found_run", "reclaim.found_oldest_idle_ms"),
}

WRONG = {
    "a column that does not exist": "requests | where nam == 'x'",
    "a table that does not exist": "request | take 1",
    "a function that does not exist": "requests | extend x = tostrin(name)",
    "a word that mv-expand takes for its own": "requests | mv-expand kind = bag_keys(customDimensions)",
    "a bracket that is not closed": "requests | summarize count(",
    "a number searched as a text": "customMetrics | where value has 'x'",
    "an aggregate that is none": "customMetrics | summarize tostring(value) by name",
}


def documented_metrics() -> set[str]:
    """The metrics in the page's table, where `.stored` after `reclaim.claimed` is short for reclaim.stored."""
    table = TEXT.partition("| metric | unit |\n|---|---|\n")[2].partition("\n\n")[0]
    return {f"reclaim.{name}" for name in re.findall(r"`(?:reclaim)?\.(\w+)`", table)}


def test_the_page_shows_the_files() -> None:
    """Else: `python -m dev.queries`."""
    assert page(TEXT) == TEXT


def test_every_file_is_shown() -> None:
    assert ALL.keys() == {*QUESTIONS, *(f"alert-{name}" for name in ALERTS)}


def test_every_query_says_in_its_first_line_what_it_asks() -> None:
    assert [name for name, text in ALL.items() if not re.match(r"// [^\n]+\n[^/]", text)] == []


def test_every_alert_is_a_rule_and_looks_no_further_back_than_the_rule() -> None:
    """Azure gives a rule's query only the rows of its window."""
    file = read(INFRA / "alerts.bicep")
    rules = [rule.properties for rule in Reader(file).value(file.variables["rules"][0])]
    spans = {"PT15M": {"15m"}, "P1D": {"15m", "1d"}}

    assert [rule["name"] for rule in rules] == ALERTS
    assert re.findall(r"queries/alert-([\w-]+)\.kql", file.text) == ALERTS
    for rule in rules:
        assert set(re.findall(r"ago\((\w+)\)", alert(rule["name"]))) == spans[rule["window"]]


def test_every_alert_names_the_target_that_it_is_about() -> None:
    """The rules split their alerts by it."""
    assert [name for name in ALERTS if "target = " not in alert(name)] == []


def test_the_workbook_asks_what_the_page_asks() -> None:
    """But for the two queries that are about one run, or about the log."""
    file = read(INFRA / "workbook.bicep")
    questions = [one.properties["title"] for one in Reader(file).value(file.variables["questions"][0])]
    asked = re.findall(r"queries/([\w-]+)\.kql", file.text)

    assert asked == [name for name in QUESTIONS if name not in {"one-run", "log-lines"}]
    assert questions == [query(name).splitlines()[0].removeprefix("// ") for name in asked]


def test_queries_read_metrics_that_are_sent() -> None:
    """And each metric that is sent is read, or listed here. Another test compares the page with what is sent."""
    read_by_queries = {name for text in ALL.values() for name in re.findall(r'"(reclaim\.\w+)"', text)}

    assert documented_metrics() == read_by_queries | UNREAD
    assert read_by_queries & UNREAD == set()


def test_queries_that_list_good_outcomes_list_all_of_them() -> None:
    lists = [
        re.findall(r'"(\w+)"', one) for text in ALL.values() for one in re.findall(r"resultCode in \((.*?)\)", text)
    ]

    assert len(lists) == 2
    for one in lists:
        assert sorted(one) == sorted(outcome.value for outcome in Outcome if outcome.went_well)


@pytest.fixture(scope="module")
def parser() -> None:
    """Microsoft's parser. In CI it must be there."""
    missing = parser_is_missing()
    if missing and os.environ.get("CI", "").lower() == "true":
        pytest.fail(missing)
    elif missing:
        pytest.skip(missing)


@pytest.mark.usefixtures("parser")
def test_microsofts_parser_accepts_every_query() -> None:
    said = complaints(list(ALL.values()))

    assert {name: one for name, one in zip(ALL, said, strict=True) if one} == {}


@pytest.mark.usefixtures("parser")
def test_microsofts_parser_refuses_what_is_wrong() -> None:
    said = complaints(list(WRONG.values()))

    assert [what for what, one in zip(WRONG, said, strict=True) if not one] == []
