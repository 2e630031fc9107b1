"""The decisions of a page, as the pure functions that they are (G3)."""

from collections.abc import Sequence
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclaim.entry import Entry, id_number
from reclaim.errors import OutOfTime, RejectEntry, RetryEntry
from reclaim.handlers.outcomes import STORED, SUPERSEDED, Failed, Handled, Keyed
from reclaim.run.decisions import HELD_BACK, Decision, Judged, again, decide, failures, judge, with_unparked
from reclaim.run.order import by_hash, by_key
from reclaim.run.rules import Rules
from reclaim.verdicts import Verdict

MAX_DELIVERIES = 3
OURS = b"ours"
RULES = Rules(MAX_DELIVERIES, OURS)
KEYS = (b"a", b"b", b"c", b"")


class Empty(Exception):
    """An error that is falsy, as one that is a collection of errors may be."""

    def __len__(self) -> int:
        return 0


class Untrue(Exception):
    """An error that says so itself."""

    def __bool__(self) -> bool:
        return False


ERRORS = (ValueError("x"), RejectEntry("x"), RetryEntry("x"), PermissionError("x"), Empty("x"), Untrue("x"))
outcomes = st.sampled_from([STORED, SUPERSEDED, *map(Failed, ERRORS)])
line = st.tuples(st.sampled_from(KEYS), st.integers(1, MAX_DELIVERIES + 1), outcomes)
pages = st.lists(line, max_size=25)


def keyed(number: int, key: bytes = b"a", deliveries: int = 1) -> Keyed:
    return key, Entry(b"%d-0" % number, (b"id", key), OURS, deliveries=deliveries)


def numbered(lines: Sequence[tuple[bytes, int, Handled]]) -> tuple[list[Keyed], list[Handled]]:
    """A lane and what came of each of its entries."""
    lane = [keyed(number, key, deliveries) for number, (key, deliveries, _) in enumerate(lines, 1)]
    return lane, [outcome for _, _, outcome in lines]


def verdicts(lane: Sequence[Keyed], judged: Judged) -> dict[bytes, list[Verdict]]:
    """What became of each key's entries, in order; every entry of the lane has exactly one verdict."""
    of_entry = {entry.id: Verdict.DONE for _, entry in judged.done}
    of_entry |= {one.entry.id: one.verdict for one in judged.decisions}
    assert len(judged.done) + len(judged.decisions) == len(of_entry) == len(lane)
    return {key: [of_entry[entry.id] for at, entry in lane if at == key] for key in {key for key, _ in lane}}


def numbers(some: Sequence[Keyed]) -> list[int]:
    return [id_number(entry.id) >> 64 for _, entry in some]


# --- decide ----------------------------------------------------------------------------------------------------------


@pytest.mark.G3
@given(pages)
def test_a_key_is_settled_up_to_its_first_entry_that_is_not_and_held_from_there_on(
    lines: list[tuple[bytes, int, Handled]],
) -> None:
    """For every page: done or parked, then one that is neither, then nothing but held ones."""
    lane, stored = numbered(lines)

    judged = decide(lane, stored, RULES)

    for of_key in verdicts(lane, judged).values():
        runs = [(settles, list(some)) for settles, some in groupby(of_key, key=lambda verdict: verdict.settles)]
        assert [settles for settles, _ in runs] in ([True], [False], [True, False])
        if not runs[-1][0]:
            first, *later = runs[-1][1]
            assert first in {Verdict.RETRY, Verdict.FAIL}
            assert set(later) <= {Verdict.HELD}


@pytest.mark.G1
@given(pages)
def test_what_is_done_was_stored_and_what_raised_is_not_done(lines: list[tuple[bytes, int, Handled]]) -> None:
    """G1: whatever is to be acknowledged."""
    lane, stored = numbered(lines)
    raised = {entry.id for (_, entry), outcome in zip(lane, stored, strict=True) if isinstance(outcome, Failed)}

    judged = decide(lane, stored, RULES)

    assert not raised & {entry.id for _, entry in judged.done}
    assert numbers(judged.done) == sorted(numbers(judged.done))


def test_a_page_of_which_all_was_stored_has_no_decisions() -> None:
    """The usual case."""
    lane = [keyed(1), keyed(2, b"b")]

    assert decide(lane, [STORED, STORED], RULES) == Judged(lane)


def test_what_was_superseded_is_done() -> None:
    """A newer entry is in its hash already."""
    lane = [keyed(1), keyed(2)]

    assert decide(lane, [SUPERSEDED, SUPERSEDED], RULES) == Judged(lane, [], superseded=2)


def test_what_was_stored_after_one_that_failed_is_held() -> None:
    """It will be stored once more, after the other."""
    lane, error = [keyed(1), keyed(2), keyed(3, b"b")], ValueError("bad")

    judged = decide(lane, [Failed(error), STORED, STORED], RULES)

    assert numbers(judged.done) == [3]
    assert judged.decisions == [
        Decision(*lane[0], Verdict.FAIL, "ValueError: bad", error),
        Decision(*lane[1], Verdict.HELD, HELD_BACK),
    ]


def test_one_that_is_parked_holds_nothing() -> None:
    """Bad for good, or out of deliveries."""
    lane = [keyed(1), keyed(2, deliveries=MAX_DELIVERIES), keyed(3)]

    judged = decide(lane, [Failed(RejectEntry("bad")), Failed(ValueError("again")), STORED], RULES)

    assert numbers(judged.done) == [3]
    assert [one.verdict for one in judged.decisions] == [Verdict.PARK, Verdict.PARK]


def test_only_what_the_entry_is_charged_for_uses_up_its_deliveries() -> None:
    """At its last delivery a failure is the end; an outage is not (G5)."""
    last = keyed(1, deliveries=MAX_DELIVERIES)

    assert judge(*last, ValueError(), RULES).verdict is Verdict.PARK
    assert judge(*last, RetryEntry(), RULES).verdict is Verdict.RETRY
    assert judge(*keyed(1, deliveries=MAX_DELIVERIES - 1), ValueError(), RULES).verdict is Verdict.FAIL


def test_the_circuit_counts_what_raised_but_not_bad_entries_nor_late_ones() -> None:
    """Nor what is held."""
    lane = [keyed(number, b"%d" % number) for number in range(1, 6)] + [keyed(6, b"1")]
    errors = [ValueError(), RetryEntry(), RejectEntry(), OutOfTime()]
    outcomes = [*map(Failed, errors), STORED, STORED]

    judged = decide(lane, outcomes, RULES)

    assert (len(judged.decisions), len(failures(judged.decisions, RULES))) == (5, 2)


# --- by_hash and by_key ----------------------------------------------------------------------------------------------


@pytest.mark.G3
@given(pages, st.integers(1, 8))
def test_lanes_keep_each_key_together_and_in_order(lines: list[tuple[bytes, int, Handled]], lanes: int) -> None:
    """No more of them than asked for, none of them empty, and every entry in one. Few entries would all be one lane."""
    work, _ = numbered(lines * 20)

    split = by_hash(work, lanes)

    assert len(split) <= lanes
    assert all(split)
    assert sorted(number for lane in split for number in numbers(lane)) == numbers(work)
    assert all(numbers(lane) == sorted(numbers(lane)) for lane in split)
    assert all(sum(key in {at for at, _ in lane} for lane in split) == 1 for key in {key for key, _ in work})


@pytest.mark.G3
@given(pages)
def test_chains_are_one_for_each_key_in_order(lines: list[tuple[bytes, int, Handled]]) -> None:
    """In the order in which the keys come first."""
    work, _ = numbered(lines)

    chains = by_key(work)

    assert [{key for key, _ in chain} for chain in chains] == [{key} for key in dict.fromkeys(key for key, _ in work)]
    assert all(numbers(chain) == sorted(numbers(chain)) for chain in chains)
    assert sorted(number for chain in chains for number in numbers(chain)) == numbers(work)


# --- again -----------------------------------------------------------------------------------------------------------


@pytest.mark.G3
@given(pages)
def test_a_further_attempt_takes_in_a_key_from_its_first_error_that_may_pass(
    lines: list[tuple[bytes, int, Handled]],
) -> None:
    """Everything after it, whatever came of that; nothing of other keys, nothing before it."""
    lane, stored = numbered(lines)
    first: dict[bytes, int] = {}
    for at, ((key, _), outcome) in enumerate(zip(lane, stored, strict=True)):
        if isinstance(outcome, Failed) and isinstance(outcome.error, RetryEntry):
            first.setdefault(key, at)

    wanted = again(lane, stored, RULES)

    assert wanted == [at for at, (key, _) in enumerate(lane) if at >= first.get(key, len(lane))]


def test_no_further_attempt_is_wanted_where_all_was_stored_or_failed_for_good() -> None:
    """Tenacity ends there."""
    assert again([keyed(1), keyed(2)], [STORED, SUPERSEDED], RULES) == []
    assert again([keyed(1), keyed(2)], [Failed(ValueError()), Failed(RejectEntry())], RULES) == []


# --- with_unparked ---------------------------------------------------------------------------------------------------


@pytest.mark.G3
@given(pages, st.data())
def test_without_a_dead_letter_nothing_later_of_the_key_is_acknowledged(
    lines: list[tuple[bytes, int, Handled]], data: st.DataObject
) -> None:
    """G3 holds though the parking fails; other keys are as they were, and every entry has its verdict still."""
    lane, stored = numbered(lines)
    judged = decide(lane, stored, RULES)
    parked = [one.entry.id for one in judged.decisions if one.verdict is Verdict.PARK]
    failing = data.draw(st.lists(st.sampled_from(parked), unique=True) if parked else st.just([]))
    stuck = {one.key for one in judged.decisions if one.entry.id in failing}
    before = verdicts(lane, judged)

    judged = with_unparked(judged, {one: ValueError("no room") for one in failing})

    after = verdicts(lane, judged)
    assert {key: of_key for key, of_key in after.items() if key not in stuck} == {
        key: of_key for key, of_key in before.items() if key not in stuck
    }
    for one in judged.decisions:
        if one.entry.id in failing:
            assert one.verdict is Verdict.RETRY
            assert not [
                number
                for key, entry in judged.done
                if key == one.key and (number := id_number(entry.id)) > id_number(one.entry.id)
            ]


def test_an_entry_without_a_dead_letter_says_why_and_holds_its_key() -> None:
    """It stays pending and is refunded; the other key is done."""
    lane = [keyed(1), keyed(2), keyed(3, b"b")]
    judged = decide(lane, [Failed(RejectEntry("bad")), STORED, STORED], RULES)

    judged = with_unparked(judged, {b"1-0": ValueError("no room")})

    assert numbers(judged.done) == [3]
    assert [(one.entry.id, one.verdict) for one in judged.decisions] == [
        (b"1-0", Verdict.RETRY),
        (b"2-0", Verdict.HELD),
    ]
    assert "no dead letter could be made: no room" in judged.decisions[0].reason
    assert failures(judged.decisions, RULES) == []


def test_where_all_was_parked_nothing_changes() -> None:
    """The usual case."""
    lane = [keyed(1), keyed(2)]
    judged = decide(lane, [Failed(RejectEntry("bad")), STORED], RULES)

    assert with_unparked(judged, {}) == judged


def test_what_is_no_outcome_at_all_is_never_done() -> None:
    """G1: a handler of ours that gives None, or the bare error, has not said that the entry is stored."""
    for wrong in (None, ValueError("not wrapped"), True):
        with pytest.raises(AttributeError):
            decide([keyed(1)], [wrong], RULES)
