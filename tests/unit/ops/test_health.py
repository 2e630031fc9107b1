"""The health of a target: facts, and the one sentence an operator reads at 3 a.m."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reclaim.ops.facts import Facts, Holder, Lost, Oldest, Pending
from reclaim.ops.health import Health, assess, span, worst
from reclaim.state.circuit import CircuitState, State
from reclaim.state.lost import LostEntry

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def a_run(seconds_ago: float = 10, outcome: str = "completed", **more: Any) -> dict[str, Any]:
    return {"id": "1-0", "started_at": ago(seconds_ago), "outcome": outcome, "seconds": 0.5, "reason": "", **more}


def pending(total: int, idle_sec: float, deliveries: int = 1) -> Pending:
    oldest = Oldest("1-0", "worker", round(1000 * idle_sec), deliveries)
    return Pending(total, 1, (Holder("worker", total, 5),), oldest)


def lost(*seconds_ago: float, count: int | None = None) -> Lost:
    latest = tuple(LostEntry("1-0", "worker", 1, 5, ago(seconds)) for seconds in seconds_ago)
    return Lost(len(latest) if count is None else count, latest)


WELL = Facts(
    target="s/g",
    stream="s",
    group="g",
    consumer="monitoring_app",
    min_idle_ms=10_000,
    tick_sec=20,
    pending=Pending(0),
    circuit=CircuitState(),
    runs=(a_run(),),
    dead_letters=0,
    lost=Lost(),
)
FAILED_RUN = a_run(20, "failed", reason="Unreachable: no connection to r:6380")
TOO_OLD = pending(1234, 720)  # 10 s of least idle time, three ticks and half a minute are 100 s


@pytest.mark.parametrize(
    ("facts", "health", "sentence"),
    [
        (WELL, "ok", "All is well: nothing is pending."),
        (
            replace(WELL, pending=pending(12, 4)),
            "ok",
            "All is well: 12 entries are pending, the oldest idle for 4 s; what is idle for 10 s is taken over.",
        ),
        (
            replace(WELL, pending=pending(1, 99)),
            "ok",
            "All is well: 1 entry is pending, the oldest idle for 99 s; the next run takes over.",
        ),
        (
            replace(WELL, pending=TOO_OLD, lease="run 1 on host"),
            "ok",
            "All is well: 1,234 entries are pending, and a run is at work on them.",
        ),
        (
            replace(WELL, pending=TOO_OLD, runs=(a_run(900),), circuit=CircuitState(State.CLOSED, ago(101))),
            "fail",
            (
                "1,234 entries are pending, the oldest idle for 12 min, and the last run that ended well was 15 min"
                " ago: check the timer."
            ),
        ),
        (
            replace(WELL, pending=TOO_OLD, runs=()),
            "fail",
            (
                "1,234 entries are pending, the oldest idle for 12 min, and no run that ended well is on record:"
                " check the timer."
            ),
        ),
        (
            replace(WELL, pending=TOO_OLD, runs=(a_run(reasons={"ConnectionError: no database": 3}),)),
            "warn",
            (
                "1,234 entries are pending, the oldest idle for 12 min, though runs end well"
                " (ConnectionError: no database (3))."
            ),
        ),
        (
            replace(WELL, pending=TOO_OLD, runs=(a_run(350, seconds=240.0),)),
            "fail",
            (
                "1,234 entries are pending, the oldest idle for 12 min, and the last run that ended well was 5 min ago:"
                " check the timer."
            ),
        ),
        (
            replace(WELL, pending=TOO_OLD, tick_sec=3600),
            "ok",
            "All is well: 1,234 entries are pending, the oldest idle for 12 min; the next run takes over.",
        ),
        (
            replace(WELL, pending=TOO_OLD, runs=(a_run(900),), circuit=CircuitState(State.CLOSED, ago(99))),
            "warn",
            "No run is on record for the last 15 min: check the timer.",
        ),
        (replace(WELL, runs=()), "warn", "No run is on record yet."),
        (replace(WELL, runs=(a_run(399),)), "ok", "All is well: nothing is pending."),
        (replace(WELL, runs=(a_run(7300),)), "warn", "No run is on record for the last 2 h: check the timer."),
        (
            replace(
                WELL, circuit=CircuitState(State.OPEN, ago(90), 42.4, "failures", "run 1", "100 failures within 30 s")
            ),
            "fail",
            (
                "The circuit has been open for 90 s (100 failures within 30 s) and nothing is taken over until it is"
                " tried again in 42 s."
            ),
        ),
        (
            replace(
                WELL, circuit=CircuitState(State.OPEN, ago(90), 0.0, "failures", "run 1", "100 failures within 30 s")
            ),
            "fail",
            (
                "The circuit has been open for 90 s (100 failures within 30 s) and nothing is taken over until the next"
                " run tries again."
            ),
        ),
        (
            replace(WELL, circuit=CircuitState(State.OPEN, ago(9000), None, "person", "ann", ""), pending=TOO_OLD),
            "fail",
            (
                "The circuit has been open for 2 h (ann opened it: no reason given) and nothing is taken over until a"
                " person closes it."
            ),
        ),
        (
            replace(
                WELL, circuit=CircuitState(State.HALF_OPEN, ago(90), 20.0, "failures", "run 1", "100 failures in 30 s")
            ),
            "warn",
            "The circuit is half open and one run is trying whether work succeeds again (100 failures in 30 s).",
        ),
        (replace(WELL, dead_letters=1), "warn", "1 dead letter waits for somebody to replay or discard."),
        (replace(WELL, dead_letters=12), "warn", "12 dead letters wait for somebody to replay or discard."),
        (
            replace(WELL, dead_letters=1001, dead_letter_maxlen=1000),
            "fail",
            (
                "There are 1,001 dead letters and DEAD_LETTER_MAXLEN is 1,000: no more entries are parked until"
                " somebody replays or discards some, or raises it."
            ),
        ),
        (replace(WELL, lost=lost(90_000)), "ok", "All is well: nothing is pending."),
        (
            replace(WELL, lost=lost(3 * 3600, 90_000)),
            "warn",
            "1 entry trimmed or deleted while pending, the latest 3 h ago.",
        ),
        (
            replace(WELL, lost=lost(60, 70, count=5)),
            "warn",
            "5 entries trimmed or deleted while pending, the latest 60 s ago.",
        ),
        (
            replace(WELL, lost=Lost(10_000, lost(60, 70).latest, full=True)),
            "warn",
            "10,000 entries or more trimmed or deleted while pending, the latest 60 s ago.",
        ),
        (replace(WELL, runs=(a_run(7300),), last_tick_at=ago(99)), "ok", "All is well: nothing is pending."),
        (
            replace(WELL, runs=(a_run(7300),), last_tick_at=ago(101)),
            "warn",
            "No run has begun for the last 101 s: check the timer.",
        ),
        (
            replace(WELL, runs=(FAILED_RUN, a_run(40))),
            "fail",
            "The last run 20 s ago failed: Unreachable: no connection to r:6380.",
        ),
        (
            replace(WELL, runs=(a_run(1, "lease_held"), FAILED_RUN, a_run(40, "failed"), a_run(60))),
            "fail",
            "The last 2 runs failed, the latest 20 s ago: Unreachable: no connection to r:6380.",
        ),
        (
            replace(
                WELL,
                pending=pending(4, 5),
                runs=(a_run(1), a_run(20, claimed=9, failed=3, retried=1, reasons={"KeyError: 'sku'": 3, "x": 1})),
            ),
            "warn",
            "The last run at work could not store 4 entries (KeyError: 'sku' (3); x (1)).",
        ),
        (
            replace(WELL, pending=pending(4, 5), runs=(a_run(1, claimed=1, failed=1, retried="?", reasons="?"),)),
            "warn",
            "The last run at work could not store 1 entry.",
        ),
        (replace(WELL, runs=(a_run(20, claimed=9, failed=3),)), "ok", "All is well: nothing is pending."),
        (replace(WELL, runs=(a_run(1), FAILED_RUN)), "ok", "All is well: nothing is pending."),
        (
            replace(WELL, group_missing=True, runs=()),
            "fail",
            "The stream s or its group g is not there, so nothing can be taken over.",
        ),
        (
            replace(
                WELL, pending=None, circuit=None, dead_letters=None, lost=None, runs=(), error="no connection to r"
            ),
            "fail",
            "No connection to r.",
        ),
        (
            replace(WELL, circuit=None, error="EVAL is not allowed."),
            "warn",
            "Not all could be read: EVAL is not allowed.",
        ),
        (
            replace(WELL, dead_letters=12, lost=lost(60), runs=(FAILED_RUN,)),
            "fail",
            (
                "The last run 20 s ago failed: Unreachable: no connection to r:6380; also, 12 dead letters wait for"
                " somebody to replay or discard; also, 1 entry trimmed or deleted while pending, the latest 60 s ago."
            ),
        ),
    ],
)
def test_one_sentence_says_how_it_is(facts: Facts, health: str, sentence: str) -> None:
    """The worst comes first; what explains something else is said alone."""
    assert assess(facts, NOW) == (Health(health), sentence)


@pytest.mark.parametrize(
    "run",
    [
        {},
        {"id": "1-0", "started_at": 5, "outcome": ["failed"], "seconds": "long", "reasons": 7},
        {"started_at": "yesterday", "outcome": "completed", "seconds": None, "reasons": None},
        {"started_at": "2026-11-22T02:59:50", "outcome": "completed"},
    ],
)
def test_a_report_of_another_version_is_no_error(run: dict[str, Any]) -> None:
    """Whatever stands in the history, the status comes."""
    health, sentence = assess(replace(WELL, pending=TOO_OLD, runs=(run,)), NOW)

    assert health in {Health.WARN, Health.FAIL}
    assert sentence.startswith("1,234 entries are pending")


def test_a_reason_that_is_too_long_is_cut() -> None:
    """The sentence stays one that is read at a glance."""
    run = a_run(20, "failed", reason="x" * 5000)

    assert len(assess(replace(WELL, runs=(run,)), NOW)[1]) < 300


def test_worst_of_several() -> None:
    """FAIL is worse than WARN, and WARN worse than OK."""
    assert worst([]) is Health.OK
    assert worst([Health.OK, Health.WARN]) is Health.WARN
    assert worst([Health.FAIL, Health.WARN, Health.OK]) is Health.FAIL


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.25, "0.2 s"),
        (1.9, "1 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 days"),
    ],
)
def test_spans_as_a_person_says_them(seconds: float, text: str) -> None:
    """One unit is enough."""
    assert span(seconds) == text
