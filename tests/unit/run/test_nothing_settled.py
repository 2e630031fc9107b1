"""The circuit's second rule, as far as one run goes: what counts as settling nothing, and what is refunded (G5)."""

import pytest

from reclaim.entry import Entry
from reclaim.errors import OutOfTime, RejectEntry
from reclaim.run.decisions import Decision, Judged, judge
from reclaim.run.nothing_settled import Charge, NothingSettled, refunds
from reclaim.run.rules import Rules
from reclaim.state.circuit import Streak
from reclaim.state.pending import Row
from reclaim.state.refunds import Reset
from reclaim.state.tries import Try

pytestmark = pytest.mark.G5

RULES = Rules(5, b"ours", min_idle_ms=10, backoff_ms=90)
NONE = Streak()


class Unknown(Exception):
    """An error that no table knows."""


def failed(number: int, error: Exception | None = None, key: bytes | None = None) -> Decision:
    return judge(b"%d" % number if key is None else key, Entry(b"%d-0" % number, ()), error or Unknown(), RULES)


def after(*decisions: Decision, done: int = 0) -> NothingSettled:
    """A run with one page."""
    run = NothingSettled()
    run.note(Judged([(b"k", Entry(b"9-9", ()))] * done, decisions), RULES)
    return run


def test_a_run_counts_if_five_entries_of_three_order_keys_met_one_class_of_error() -> None:
    """And nothing was settled."""
    run = after(failed(1), failed(2), failed(3), failed(4, key=b"3"), failed(5, key=b"3"))

    assert run.counts(NONE)
    assert run.error.endswith("test_nothing_settled.Unknown")


@pytest.mark.parametrize(
    "run",
    [
        after(),
        after(*map(failed, range(4))),
        after(*(failed(number, key=b"%d" % (number % 2)) for number in range(9))),
        after(*map(failed, range(9)), failed(9, KeyError("x"))),
        after(*map(failed, range(9)), done=1),
        after(*map(failed, range(9)), failed(9, RejectEntry("bad"))),
        after(*(failed(number, OutOfTime("late")) for number in range(9))),
    ],
    ids=["nothing tried", "four entries", "two keys", "two errors", "one stored", "one parked", "begun too late"],
)
def test_a_run_does_not_count(run: NothingSettled) -> None:
    """Each of these says that something else is wrong, or that something works."""
    assert not run.counts(NONE)


def test_after_two_runs_a_smaller_one_of_the_same_kind_counts() -> None:
    """The probes of the circuit that they opened."""
    run = after(failed(1))

    assert [run.counts(Streak(run.error, runs)) for runs in (1, 2, 3)] == [False, True, True]
    assert not run.counts(Streak("KeyError", 2))


def test_what_ends_the_row() -> None:
    """Something settled, or another error; not a run that tried nothing."""
    one = Streak(after(failed(1)).error, 1)

    assert after(done=1).ends(one)
    assert after(failed(1, KeyError("x"))).ends(one)
    assert not after(failed(1)).ends(one)
    assert not after().ends(one)
    assert not after(done=1).ends(NONE)


def test_the_charges_of_both_runs_are_undone() -> None:
    """1-0 was charged in both, 2-0 in this run, 3-0 in the one before, 4-0 long before."""
    tries = {
        b"1-0": Try(2, 50, 200, 3, "fail"),
        b"2-0": Try(3, 50, 200, 4, "fail"),
        b"3-0": Try(1, 100, 100, 2, "fail"),
        b"4-0": Try(1, 50, 50, 2, "fail"),
        b"5-0": Try(1, 50, 150, 2, "retry"),
    }
    rules = Rules(5, b"ours", min_idle_ms=10, backoff_ms=90, tries=tries)
    charges = [
        Charge(Row(b"1-0", b"ours", 95, 3), Try(1, 50, 120, 2, "fail"), tries[b"1-0"]),
        Charge(Row(b"2-0", b"ours", 500, 4), Try(2, 50, 60, 3, "fail"), tries[b"2-0"]),
    ]

    resets, records = refunds(charges, 100, rules)

    assert resets == [Reset(b"1-0", 3, 95, 1), Reset(b"2-0", 4, 500, 3), Reset(b"3-0", 2, 10, 1)]
    assert {one: (record.charged, record.deliveries, record.verdict) for one, record in records.items()} == {
        b"1-0": (0, 1, "retry"),
        b"2-0": (2, 3, "retry"),
        b"3-0": (0, 1, "retry"),
    }
