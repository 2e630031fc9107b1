"""A function of batches: each in ID order, with one entry of an order key; a bad entry harms only itself (G3, G4)."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from reclaim import Entry, RejectEntry, batch
from reclaim.entry import id_number
from reclaim.run.replay import Replay
from reclaim.run.report import Outcome
from tests.faults import by_function, of_user, pending
from tests.support import Client, Endpoint, State, a_runner, a_target, given, run, state

pytestmark = pytest.mark.G4

OURS = "monitoring_app"


def by_users(count: int) -> list:
    return [of_user(number, f"user_{number}") for number in range(1, count + 1)]


@pytest.mark.parametrize("is_async", [True, False])
async def test_entries_come_in_batches(embedded: Endpoint, client: Client, *, is_async: bool) -> None:
    """As many as the function takes, in ID order; async or not."""
    target = a_target(lanes=2)
    given(client, target, *by_users(25))
    seen: list[list[int]] = []

    def note(entries: Sequence[Entry]) -> None:
        seen.append([int(entry.text("id")) for entry in entries])

    @batch(most=10)
    async def handle(entries: Sequence[Entry]) -> None:
        note(entries)

    report = await run(embedded, target, by_function(handle if is_async else batch(most=10)(note)))

    assert report.acknowledged == 25
    assert sorted(seen) == [[*range(1, 11)], [*range(11, 21)], [*range(21, 26)]]
    assert state(client, target) == State(length=25)


@pytest.mark.G3
async def test_a_batch_has_one_entry_of_an_order_key(embedded: Endpoint, client: Client) -> None:
    """A key's next entry is in a later batch, and only if the one before is settled."""
    target = a_target(lanes=4)
    given(client, target, *(of_user(number, f"user_{number % 3}") for number in range(1, 16)))
    seen: list[bytes] = []

    @batch(most=10)
    async def handle(entries: Sequence[Entry]) -> dict[bytes, Exception]:
        users = [entry.text("user") for entry in entries]
        assert len(set(users)) == len(users)
        await asyncio.sleep(0)
        seen.extend(entry.id for entry in entries)
        return {entry.id: ValueError("no") for entry in entries if entry.id == b"5-0"}

    report = await run(embedded, target, by_function(handle))

    of_key = {key: [id_number(one) >> 64 for one in seen if int(one[:-2]) % 3 == key] for key in range(3)}
    assert of_key == {0: [3, 6, 9, 12, 15], 1: [1, 4, 7, 10, 13], 2: [2, 5]}
    assert (report.acknowledged, report.failed, report.held) == (11, 1, 3)
    assert set(state(client, target).pending) == {b"5-0", b"8-0", b"11-0", b"14-0"}


async def test_what_the_function_says_of_an_entry_is_its_outcome(embedded: Endpoint, client: Client) -> None:
    target = a_target(retry_attempts=1)
    given(client, target, *by_users(5))
    trouble = {b"1-0": RejectEntry("bad"), b"2-0": ValueError("x"), b"3-0": ConnectionError("away")}

    @batch()
    async def handle(_: Sequence[Entry]) -> dict[bytes, Any]:
        return trouble

    report = await run(embedded, target, by_function(handle))

    assert (report.parked, report.failed, report.retried, report.acknowledged) == (1, 1, 1, 2)
    after = state(client, target)
    assert after.pending == pending(2, consumer=OURS, deliveries=2, age="fresh") | pending(3, consumer=OURS)


@pytest.mark.parametrize(
    "answer", [{b"9-9": ValueError()}, {b"1-0": "no"}, ["1-0"], {"1-0": ValueError()}], ids=range(4)
)
async def test_an_answer_that_makes_no_sense_is_a_failure(embedded: Endpoint, client: Client, answer: Any) -> None:
    """Nobody knows what was done, so nothing is acknowledged (G1)."""
    target = a_target()
    given(client, target, *by_users(2))

    @batch()
    async def handle(_: Sequence[Entry]) -> Any:
        return answer

    report = await run(embedded, target, by_function(handle))

    assert (report.acknowledged, report.failed) == (0, 2)
    assert all(reason.startswith("BadAnswer: ") for reason in report.reasons)


async def test_an_exception_that_is_returned_for_a_batch_is_one_that_is_raised(
    embedded: Endpoint, client: Client
) -> None:
    """Nobody knows which entry was to blame, so each is tried alone."""
    target = a_target()
    given(client, target, *by_users(6))

    @batch()
    async def handle(entries: Sequence[Entry]) -> Any:
        return RejectEntry("poison") if any(entry.id == b"3-0" for entry in entries) else None

    report = await run(embedded, target, by_function(handle))

    assert (report.outcome, report.acknowledged, report.parked) == (Outcome.COMPLETED, 5, 1)
    assert [letter[b"id"] for letter in state(client, target).dead] == [b"3-0"]


@pytest.mark.parametrize("error", [ValueError("poison"), RejectEntry("poison"), SystemExit(1)], ids=range(3))
async def test_a_bad_entry_in_a_batch_harms_only_itself(
    embedded: Endpoint, client: Client, error: BaseException
) -> None:
    """The function raised, and nobody knows for which entry: each is tried alone, in the same run."""
    target = a_target(max_deliveries=2)
    given(client, target, *by_users(6))

    @batch()
    async def handle(entries: Sequence[Entry]) -> None:
        if any(entry.id == b"3-0" for entry in entries):
            raise error

    report = await run(embedded, target, by_function(handle))

    assert (report.outcome, report.acknowledged, report.parked) == (Outcome.COMPLETED, 5, 1)
    assert [letter[b"id"] for letter in state(client, target).dead] == [b"3-0"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_entry_that_hangs_in_a_batch_is_charged_alone(
    embedded: Endpoint, client: Client, *, is_async: bool
) -> None:
    target = a_target()
    given(client, target, *by_users(4))

    def hangs(entries: Sequence[Entry]) -> bool:
        return any(entry.id == b"2-0" for entry in entries)

    @batch()
    async def handle(entries: Sequence[Entry]) -> None:
        await asyncio.sleep(60 if hangs(entries) else 0)

    @batch()
    def sync(entries: Sequence[Entry]) -> None:
        time.sleep(3 if hangs(entries) else 0)

    function = handle if is_async else sync
    async with a_runner(embedded, target, by_function(function), hangs_sec=0.4) as runner:
        report = await runner.run(20)

    assert (report.acknowledged, report.failed) == (3, 1)
    assert state(client, target).pending == pending(2, consumer=OURS, deliveries=2, age="fresh")


@pytest.mark.G5
async def test_an_outage_in_a_batch_charges_nobody(embedded: Endpoint, client: Client) -> None:
    """Nor is it tried one by one: the whole batch is tried again."""
    target = a_target(retry_attempts=2)
    given(client, target, *by_users(4))
    sizes: list[int] = []

    @batch()
    async def handle(entries: Sequence[Entry]) -> None:
        sizes.append(len(entries))
        raise ConnectionError("away")

    report = await run(embedded, target, by_function(handle))

    assert (sizes, report.retried, report.failed) == ([4, 4], 4, 0)
    assert state(client, target).pending == pending(1, 2, 3, 4, consumer=OURS)


async def test_dead_letters_are_replayed_in_batches(embedded: Endpoint, client: Client) -> None:
    target = a_target(max_deliveries=2)
    given(client, target, *by_users(3))
    fails = True
    sizes: list[int] = []

    @batch()
    async def handle(entries: Sequence[Entry]) -> None:
        sizes.append(len(entries))
        if fails:
            raise ValueError

    async with a_runner(embedded, target, by_function(handle)) as runner:
        await runner.run(20)
        fails, sizes[:] = False, []
        report = await Replay(target, runner.server, runner.handler).run()

    assert (report.replayed, sizes) == (3, [3])


@pytest.mark.parametrize("most", [0, 1001, 2.5, "5", True, None])
def test_a_batch_has_bounds(most: Any) -> None:
    with pytest.raises(ValueError, match=f"most is {most!r}; allowed: a whole number from 1 to 1000"):
        batch(most=most)


@pytest.mark.parametrize("given", [lambda _: None, 50], ids=["no brackets", "no name"])
def test_a_mark_that_is_written_wrong_says_how_to_write_it(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^write @reclaim\.batch\(most=100\), with the brackets"):
        batch(given)
