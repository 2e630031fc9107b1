"""What of a run, or of a change of the circuit, is worth an alert: decisions, without a server."""

from dataclasses import replace

import pytest

from reclaim.observe.alerts import Alert, Kind, alert_of, alerts_of, ended_by
from reclaim.run.report import Outcome
from reclaim.state.circuit import Change, Effect
from tests.integration.observe.webhook import TARGET, a_report

OPENED = Change(
    Effect.OPENED, "ab12", 1_800_000_000_000, "failures", "run x", "100 failures within 30 s", 1_800_000_060_000, 107
)


GONE = "the stream or its group is gone, or was made anew, and with it entries that were pending"


def kinds(alerts: list[Alert]) -> list[str]:
    return [alert.kind.removeprefix("reclaim.") for alert in alerts]


@pytest.mark.parametrize(
    ("counts", "kind", "why", "facts"),
    [
        (
            {
                "parked": 12,
                "parked_reasons": {"a": 1, "b" * 300: 2, **{str(n): 1 for n in range(9)}},
                "reasons": {"only failed": 5},
            },
            "entries.dead_lettered",
            f"12 entries became dead letters: {'b' * 119}… (2); a (1); 0 (1); other reasons (8)",
            {
                "dead_lettered": 12,
                "reasons": {"other reasons": 6, "b" * 199 + "…": 2, "a": 1, "0": 1, "1": 1, "2": 1},
            },
        ),
        (
            {"lost": 1, "lost_at_most": 7},
            "entries.lost",
            f"{GONE}: 1 known by ID, and at most 7 more",
            {"lost": 1, "lost_at_most": 7},
        ),
        (
            {"clock_went_back_ms": 3_600_000},
            "clock.went_back",
            "the server's clock went back by 3600 s: entries delivered before seem fresh for so much longer",
            {"seconds": 3600.0},
        ),
        (
            {"lost": 2},
            "entries.lost",
            "2 entries were trimmed or deleted from the stream while pending",
            {"lost": 2, "lost_at_most": 0},
        ),
        (
            {"longest_idle_ms": 600_000, "pending_before": {"a": 5, "b": 2}},
            "backlog.stale",
            "an entry has been idle for 600 s; ALERT_BACKLOG_SEC is 600",
            {"idle_sec": 600.0, "limit_sec": 600.0, "pending": 7},
        ),
    ],
)
def test_a_run_tells_what_it_found(counts: dict[str, int], kind: str, why: str, facts: dict[str, object]) -> None:
    report = a_report(**counts)
    told, *recovered = alerts_of(report, TARGET)

    assert kinds([told, *recovered]) == [kind, "run.recovered", "group.found"]
    assert (told.why, told.facts) == (why, {"run": report.run_id, **facts})
    assert (told.id, told.at.isoformat()) == (f"{report.run_id}-{kind}", "2026-11-22T10:00:01.500000+00:00")


def test_a_run_that_failed_says_so_with_what_it_found() -> None:
    failed = a_report(Outcome.FAILED, "Unreachable: no connection", lost=1, acknowledged=5)

    lost, alert = alerts_of(failed, TARGET)

    assert kinds([lost, alert]) == ["entries.lost", "run.failed"]
    assert (alert.why, alert.facts) == ("Unreachable: no connection", {"run": failed.run_id, "acknowledged": 5})


@pytest.mark.parametrize("outcome", [Outcome.LEASE_HELD, Outcome.LEASE_LOST])
def test_a_run_that_proves_nothing_tells_neither(outcome: Outcome) -> None:
    assert alerts_of(a_report(outcome), TARGET) == []


@pytest.mark.parametrize("outcome", [Outcome.GROUP_MISSING, Outcome.GROUP_GONE])
def test_a_group_that_is_not_there_is_told_until_it_is_found(outcome: Outcome) -> None:
    (alert,) = alerts_of(a_report(outcome, "the stream 's' does not exist"), TARGET)

    assert (alert.kind, alert.why) == (Kind.GROUP_MISSING, "the stream 's' does not exist")
    assert Kind.GROUP_FOUND.ends is Kind.GROUP_MISSING


def test_dead_letters_that_are_full_are_told_until_one_is_made_again() -> None:
    full = a_report(Outcome.DEAD_LETTERS_FULL, "there is no room", parked=2)

    assert kinds(alerts_of(full, TARGET)) == ["entries.dead_lettered", "dead_letters.full"]
    assert (ended_by(full), ended_by(a_report(parked=1)), ended_by(a_report())) == ([], [Kind.DEAD_LETTERS_FULL], [])


@pytest.mark.parametrize(
    ("limit_sec", "idle_ms", "told"),
    [(600, 599_999, False), (600, 600_000, True), (600, 600_001, True), (0, 10**9, False)],
)
def test_a_backlog_is_stale_from_the_limit_on_and_only_where_there_is_one(
    limit_sec: float, idle_ms: int, *, told: bool
) -> None:
    target = replace(TARGET, alert_backlog_sec=limit_sec)
    found = alerts_of(a_report(longest_idle_ms=idle_ms), target)
    assert ("backlog.stale" in kinds(found)) is told


def test_a_circuit_that_opened_says_why_and_until_when() -> None:
    alert = alert_of(OPENED, TARGET)

    assert alert is not None
    assert (alert.kind, alert.id, alert.why) == (Kind.CIRCUIT_OPENED, "circuit-ab12", "100 failures within 30 s")
    assert alert.at.isoformat() == "2027-01-15T08:00:00+00:00"
    assert alert.facts == {
        "by": "failures",
        "who": "run x",
        "failures": 107,
        "window_sec": 30.0,
        "cooldown_ends_at": "2027-01-15T08:01:00+00:00",
    }


def test_a_circuit_that_only_a_person_closes_has_no_end() -> None:
    alert = alert_of(replace(OPENED, until_ms=None), TARGET)
    assert alert is not None
    assert alert.facts["cooldown_ends_at"] is None


@pytest.mark.parametrize("effect", [one for one in Effect if one not in {Effect.OPENED, Effect.CLOSED}])
def test_a_failed_probe_or_no_change_at_all_is_not_told(effect: Effect) -> None:
    assert alert_of(replace(OPENED, effect=effect), TARGET) is None


def test_changes_of_the_circuit_come_first() -> None:
    changes = [replace(OPENED, effect=Effect.CLOSED, by="probe"), replace(OPENED, effect=Effect.REOPENED), OPENED]
    found = alerts_of(a_report(parked=1, circuit_changes=changes), TARGET)
    assert kinds(found) == ["circuit.closed", "circuit.opened", "entries.dead_lettered", "run.recovered", "group.found"]
