"""How often an entry is tried, when it is due, and when it is claimed alone: pure rules (G4, G5)."""

import pytest

from reclaim.entry import Entry
from reclaim.run.rules import Rules
from reclaim.state.pending import Row
from reclaim.state.tries import Try

OURS = b"ours"
SEC = 1000


def rules(*, most: int = 5, min_idle_ms: int = 10 * SEC, backoff_ms: int = 90 * SEC, **records: Try) -> Rules:
    """Rules with records; `_7=Try(…)` is that of the entry 7-0."""
    tries = {f"{name.strip('_')}-0".encode(): record for name, record in records.items()}
    return Rules(most, OURS, min_idle_ms, backoff_ms, retry_for_ms=100 * SEC, tries=tries)


def row(deliveries: int, consumer: bytes = OURS, idle_ms: int = 3_600 * SEC) -> Row:
    return Row(b"7-0", consumer, idle_ms, deliveries)


def claimed(deliveries: int, consumer: bytes = OURS) -> Entry:
    """The same entry, claimed: `deliveries` were counted before."""
    return Entry(b"7-0", (), consumer, 0, deliveries + 1)


@pytest.mark.G5
@pytest.mark.parametrize(
    ("charged", "waits_sec"), [(0, 10), (1, 90), (2, 180), (3, 360), (4, 720), (5, 900), (6, 900), (1000, 900)]
)
def test_an_entry_waits_twice_as_long_after_each_charged_try(charged: int, waits_sec: int) -> None:
    """At the defaults; with five deliveries it takes 90 + 180 + 360 s, more than ten minutes, to die."""
    assert rules().wait_ms(charged) == waits_sec * SEC


@pytest.mark.parametrize(
    ("backoff_ms", "min_idle_ms", "charged", "waits_ms"),
    [(0, 10, 3, 10), (5, 10, 1, 10), (2_000 * SEC, 10, 1, 2_000 * SEC), (2_000 * SEC, 10, 5, 2_000 * SEC)],
    ids=["none", "no less than the least idle time", "longer than the cap", "longer than the cap, and never more"],
)
def test_the_wait_has_bounds(backoff_ms: int, min_idle_ms: int, charged: int, waits_ms: int) -> None:
    """DELIVERY_BACKOFF_SEC 0 turns it off; one over the cap of 15 minutes is a cap itself."""
    assert rules(backoff_ms=backoff_ms, min_idle_ms=min_idle_ms).wait_ms(charged) == waits_ms


@pytest.mark.G5
def test_an_entry_is_due_by_its_idle_time() -> None:
    """Without a record, or with tries that were all refunded, as soon as it is idle."""
    tried = rules(_7=Try(charged=2, deliveries=3))
    assert [tried.is_due(row(3, idle_ms=idle_sec * SEC)) for idle_sec in (10, 179, 180)] == [False, False, True]
    assert [rules().is_due(row(3, idle_ms=idle_sec * SEC)) for idle_sec in (9, 10)] == [False, True]
    assert rules(_7=Try(charged=0, deliveries=1)).is_due(row(1, idle_ms=10 * SEC))
    assert tried.is_due(row(3, consumer=b"", idle_ms=-1))  # XNACK gave it back


@pytest.mark.G4
def test_an_entry_that_a_run_left_without_a_verdict_is_due_as_soon_as_it_is_idle() -> None:
    """Its delivery count is above the recorded one: the process was killed."""
    assert rules(_7=Try(charged=2, deliveries=3)).is_due(row(4, idle_ms=10 * SEC))


@pytest.mark.G5
def test_deliveries_by_others_never_count() -> None:
    """Eleven of them, none ours: the entry has all its tries. With a record, the record alone counts."""
    assert rules().charged(row(11, consumer=b"worker")) == 0
    assert not rules().is_last(claimed(11, consumer=b"worker"))
    assert rules(_7=Try(charged=2, deliveries=3)).charged(row(9, consumer=b"worker")) == 2


def test_our_deliveries_that_ended_without_a_verdict_count() -> None:
    """With a record those above the recorded count, without one all but the first, which was its consumer's."""
    assert rules(_7=Try(charged=1, deliveries=12)).charged(row(14)) == 3
    assert rules().charged(row(4)) == 3


def test_an_entry_is_parked_at_its_last_charged_try() -> None:
    """That is one less than MAX_DELIVERIES; the first delivery was to the consumer that dropped it."""
    last = {charged: rules(_7=Try(charged=charged, deliveries=20)).is_last(claimed(20)) for charged in range(5)}
    spent = {charged: rules(_7=Try(charged=charged, deliveries=20)).is_spent(claimed(20)) for charged in range(5)}
    assert last == {0: False, 1: False, 2: False, 3: True, 4: True}
    assert spent == {0: False, 1: False, 2: False, 3: False, 4: True}


@pytest.mark.G5
def test_what_one_killed_run_had_claimed_is_not_spent_before_it_was_tried_alone() -> None:
    """Another entry may have killed that run before this one was begun."""
    assert not rules(most=2).is_spent(claimed(2))
    assert rules(most=2).is_suspect(row(2))
    assert rules(most=2).is_spent(claimed(3))
    assert not rules(most=3, _7=Try(charged=1, deliveries=2)).is_spent(claimed(3))
    assert rules(most=3, _7=Try(charged=1, deliveries=2)).is_spent(claimed(4))
    assert rules(most=2, _7=Try(charged=1, deliveries=2)).is_spent(claimed(2))  # it failed, with a verdict


@pytest.mark.G4
def test_only_what_a_run_of_ours_may_have_died_of_is_claimed_alone() -> None:
    """Not what failed as often, nor what others delivered as often."""
    assert rules().is_suspect(row(4))
    assert rules(_7=Try(charged=2, deliveries=3)).is_suspect(row(4))
    assert not rules(_7=Try(charged=3, deliveries=4)).is_suspect(row(4))
    assert not rules().is_suspect(row(11, consumer=b"worker"))
    assert not rules().is_suspect(row(2))  # it has tries left: at first it is claimed with others
    assert rules().was_suspect(claimed(4))


@pytest.mark.G5
def test_a_count_that_others_raised_is_written_down_before_the_claim() -> None:
    """Else it would be taken for tries of ours. Also where somebody has claimed the entry from us meanwhile."""
    assert rules().needs_record(row(11, consumer=b"worker"))
    assert not rules().needs_record(row(1, consumer=b"worker"))
    assert not rules().needs_record(row(11))
    assert rules(_7=Try(charged=1, deliveries=2)).needs_record(row(3, consumer=b"worker"))
    assert not rules(_7=Try(charged=1, deliveries=2)).needs_record(row(2, consumer=b"worker"))


def test_an_entry_is_retried_for_so_long_and_no_longer() -> None:
    """From our first try on. One that was never tried has no first try; 0 turns the limit off."""
    known = rules(_7=Try(first_ms=1 * SEC))
    assert [known.is_retried_too_long(claimed(1), now_sec * SEC) for now_sec in (101, 102)] == [False, True]
    assert not rules(_7=Try(first_ms=0)).is_retried_too_long(claimed(1), 10**12)
    assert not rules().is_retried_too_long(claimed(1), 10**12)
    assert not Rules(5, OURS, tries={b"7-0": Try(first_ms=1)}).is_retried_too_long(claimed(1), 10**12)
