"""What a run decides before anything is stored: what is planned, which order keys wait, and whose turn it is (G3)."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclaim.entry import Entry, id_number
from reclaim.handlers.outcomes import Keyed
from reclaim.run.decisions import HELD_BACK, Decision, Judged, Plan, apart, plan, unhandled_in_turn, without_taken
from reclaim.run.order import HeldKeys, rounds
from reclaim.run.rules import Rules
from reclaim.run.turn import Turn
from reclaim.state.pending import Row
from reclaim.verdicts import Verdict

OURS = b"ours"
RULES = Rules(3, OURS)
keys = st.sampled_from([b"a", b"b", b"c"])


def keyed(number: int, key: bytes = b"a", deliveries: int = 1) -> Keyed:
    return key, Entry(b"%d-0" % number, (b"id", key), OURS, deliveries=deliveries)


def held_by(*entries: Keyed) -> HeldKeys:
    """The order keys that these entries hold back."""
    held = HeldKeys()
    for key, entry in entries:
        held.hold(key, entry)
    return held


# --- the budget of deliveries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deliveries", "is_last", "is_spent"), [(2, False, False), (3, True, False), (4, True, True), (9, True, True)]
)
def test_a_delivery_is_the_last_one_or_one_too_many(deliveries: int, *, is_last: bool, is_spent: bool) -> None:
    """At the last one a failure is the end; at a later one the entry is not handled any more."""
    entry = keyed(1, deliveries=deliveries)

    assert (RULES.is_last(entry[1]), RULES.is_spent(entry[1])) == (is_last, is_spent)
    assert RULES.is_spent_by_any([keyed(2), entry]) is is_spent


@pytest.mark.parametrize(("most", "least"), [(2, 2), (3, 2), (4, 3), (10, 9)])
def test_an_entry_may_have_killed_a_run_from_its_last_delivery_but_one_on(most: int, least: int) -> None:
    """But never at its first: every entry that a killed run had claimed would be claimed alone."""
    rules = Rules(most, OURS)

    assert [count for count in range(12) if rules.is_suspect(Row(b"1-0", OURS, 1, count))] == list(range(least, 12))


# --- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.G3
@given(st.lists(st.tuples(keys, st.integers(1, 5)), max_size=20), st.dictionaries(keys, st.integers(1, 20)))
def test_every_entry_is_planned_held_or_parked(lines: list[tuple[bytes, int]], held: dict[bytes, int]) -> None:
    """Held from the entry on that its key waits for; parked if it was delivered too often; stored otherwise."""
    page = [keyed(number, key, deliveries) for number, (key, deliveries) in enumerate(lines, 1)]
    waiting = held_by(*(keyed(number, key) for key, number in held.items()))

    planned = plan(page, waiting, RULES)

    expected = {}
    for number, (key, deliveries) in enumerate(lines, 1):
        is_held = number >= held.get(key, 99)
        expected[b"%d-0" % number] = Verdict.HELD if is_held else Verdict.PARK if deliveries > 3 else Verdict.DONE
    found = {entry.id: Verdict.DONE for _, entry in planned.to_store}
    assert found | {one.entry.id: one.verdict for one in planned.decided} == expected
    assert len(planned.to_store) + len(planned.decided) == len(page)


@pytest.mark.G3
def test_a_key_is_held_from_the_smallest_entry_on_that_is_not_done() -> None:
    """An earlier one may go on: nothing before it waits."""
    held = held_by(keyed(5), keyed(3), keyed(4))

    assert [number for number in range(1, 8) if held.holds(*keyed(number))] == [3, 4, 5, 6, 7]
    assert not held.holds(*keyed(7, b"b"))
    assert (held.is_empty, HeldKeys().is_empty) == (False, True)


def test_what_somebody_else_has_taken_holds_back_the_later_ones_of_its_key() -> None:
    """Other keys are left as they are."""
    lane = [keyed(1), keyed(2), keyed(3, b"b"), keyed(4)]

    planned = without_taken(lane, {b"2-0"})

    assert planned.to_store == [lane[0], lane[2]]
    assert [(one.entry.id, one.verdict) for one in planned.decided] == [(b"2-0", Verdict.HELD), (b"4-0", Verdict.HELD)]


def test_entries_are_told_apart_by_their_keys() -> None:
    """Those of keys that pages before have too come later."""
    page = [keyed(1), keyed(2, b"b"), keyed(3)]

    assert apart(page, {b"b"}) == ([page[0], page[2]], [page[1]])
    assert apart(page, set()) == (page, ())


def test_nothing_is_parked_unhandled_after_an_entry_of_its_key_that_is_not_settled() -> None:
    """Whether that one failed or was not begun; one that is parked because it failed stays parked."""
    spent, failed = keyed(3, deliveries=4), keyed(4)
    park = Decision(*spent, Verdict.PARK, "too often")
    bad = Decision(*failed, Verdict.PARK, "bad", ValueError("bad"))

    waits = unhandled_in_turn(Judged(decisions=[park, bad]), [keyed(2)])
    goes = unhandled_in_turn(Judged(decisions=[park, bad]), [keyed(5)])

    assert waits.decisions == [Decision(*spent, Verdict.HELD, HELD_BACK), bad]
    assert goes.decisions == [park, bad]


@given(st.lists(keys, max_size=20))
def test_rounds_have_a_key_once_and_keep_its_order(of_keys: list[bytes]) -> None:
    """All entries are in one of them."""
    work = [keyed(number, key) for number, key in enumerate(of_keys, 1)]

    split = list(rounds(work))

    assert all(len({key for key, _ in some}) == len(some) > 0 for some in split)
    for key in set(of_keys):
        in_rounds = [id_number(entry.id) for some in split for at, entry in some if at == key]
        assert in_rounds == [id_number(entry.id) for at, entry in work if at == key]


# --- the turn --------------------------------------------------------------------------------------------------------


async def goes_on(wait: asyncio.Task[None]) -> bool:
    """Whether something that waits may go on now."""
    for _ in range(3):
        await asyncio.sleep(0)
    return wait.done()


def turns(*pages: Sequence[Keyed]) -> list[Turn]:
    """The turns of pages claimed one after another."""
    made: list[Turn] = []
    for page in pages:
        made.append(Turn(page, made))
    return made


async def test_a_page_has_its_turn_when_all_before_it_have_begun_everything() -> None:
    """The one just before it may have nothing to begin: that is not enough."""
    first, _, last = turns([keyed(1), keyed(2, b"b")], [], [keyed(3)])
    comes = asyncio.create_task(last.comes())

    first.begin(1)
    before = await goes_on(comes)
    first.begin(1)

    assert (before, await goes_on(comes)) == (False, True)


async def test_a_page_shares_the_keys_of_pages_that_are_not_settled() -> None:
    """What is settled before a page is claimed holds nothing back."""
    first, second = turns([keyed(1), keyed(2, b"b")], [keyed(3, b"b"), keyed(4, b"c")])

    assert second.shared_keys() == {b"b"}
    first.ended.set()
    assert Turn([keyed(5, b"b")], [first]).shared_keys() == set()


async def test_a_page_is_blocked_while_a_page_before_it_has_failures() -> None:
    """Until the pages before are settled: the failures may open the circuit."""
    first, second, last = turns([keyed(1)], [keyed(2)], [keyed(3)])
    assert not last.is_blocked

    first.has_failures = True
    unblocked = asyncio.create_task(last.unblocked())
    assert last.is_blocked
    first.ended.set()
    assert (last.is_blocked, await goes_on(unblocked)) == (True, False)
    second.ended.set()

    assert (last.is_blocked, await goes_on(unblocked)) == (False, True)


def test_a_plan_with_nothing_decided_is_the_page_itself() -> None:
    """The usual case costs no copy."""
    page = [keyed(1), keyed(2)]

    assert plan(page, HeldKeys(), RULES) == Plan(page)
    assert plan(page, HeldKeys(), RULES).to_store is page
