"""Entries that cannot be handled, hundreds of them and first in the list: the healthy ones get through (G4)."""

from collections.abc import Callable

import pytest

from reclaim.entry import Entry
from reclaim.run.report import Outcome
from reclaim.settings import Target
from reclaim.state.circuit import State as Circuit
from tests.conftest import on_newest_and_oldest
from tests.faults import by_function
from tests.integration.state.circuits import end_cooldown
from tests.support import Client, Endpoint, Held, a_runner, a_target, age_all, given, pending_count, state, tweet

pytestmark = pytest.mark.G4


class Handler:
    """A handler function that raises for bad entries, and notes what it was given and what it stored."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        self.error = error
        self.tried: list[int] = []
        self.stored: list[int] = []

    async def __call__(self, entry: Entry) -> None:
        number = int(entry.get("id") or b"")
        self.tried.append(number)
        if entry.get("location") == b"bad":
            raise self.error()
        self.stored.append(number)


def unparsable() -> Exception:
    """What a handler raises that cannot read an entry."""
    return ValueError("Expecting value: line 1 column 1 (char 0)")


def refused() -> Exception:
    """What a handler raises whose endpoint is dead."""
    return ConnectionRefusedError(111, "Connection refused")


def given_entries(client: Client, target: Target, count: int, is_bad: Callable[[int], bool]) -> None:
    """So many pending entries, each with an order key of its own."""
    held = (
        Held(tweet(number, user=b"u%d" % number, location=b"bad" if is_bad(number) else b""))
        for number in range(1, count + 1)
    )
    given(client, target, *held)


@on_newest_and_oldest
@pytest.mark.parametrize(("error", "bad"), [(unparsable, 150), (refused, 130)])
async def test_bad_entries_at_the_head_of_the_list_do_not_keep_healthy_ones_out(
    error: Callable[[], Exception], bad: int, server: Endpoint, client: Client
) -> None:
    """The first run opens the circuit. The probe takes healthy ones too, so that it closes; the rest is stored then."""
    target = a_target(lanes=25, page_size=25)
    given_entries(client, target, bad + 60, lambda number: number <= bad)
    handler = Handler(error)

    async with a_runner(server, target, by_function(handler)) as runner:
        first = await runner.run(30)
        assert (first.outcome, handler.stored) == (Outcome.CIRCUIT_OPEN, [])
        end_cooldown(client, target)
        second = await runner.run(30)
        assert handler.stored
        assert [change.effect.value for change in second.circuit_changes][:1] == ["closed"]
        for _ in range(2):
            end_cooldown(client, target)
            await runner.run(30)

    assert sorted(handler.stored) == list(range(bad + 1, bad + 61))
    assert state(client, target).dead == []


async def test_a_thousand_poison_entries_among_healthy_ones_die_and_the_healthy_ones_are_stored(
    embedded: Endpoint, client: Client
) -> None:
    """Each poison entry gets its four tries, each healthy one is stored once, and no run tries the same one twice."""
    target = a_target(lanes=32)
    given_entries(client, target, 1200, lambda number: number % 6 != 0)
    handler = Handler(unparsable)

    async with a_runner(embedded, target, by_function(handler)) as runner:
        runs = 0
        while pending_count(client, target) and runs < 120:
            before = len(handler.tried)
            await runner.run(30)
            tried = handler.tried[before:]
            assert len(set(tried)) == len(tried)
            runs += 1
            age_all(client, target)
            if (await runner.circuit.show()).state is not Circuit.CLOSED:
                end_cooldown(client, target)

    assert sorted(handler.stored) == [number for number in range(1, 1201) if number % 6 == 0]
    last = max(handler.tried.index(number) for number in handler.stored)
    assert last < 1300  # of the 4,200 tries: few poison entries came twice before, with a probe
    after = state(client, target)
    assert after.pending == {}
    assert {(letter[b"reason"], letter[b"deliveries"]) for letter in after.dead} == {(b"failed", b"5")}
    assert len(after.dead) == 1000


@pytest.mark.G3
async def test_a_probe_overtakes_no_earlier_entry_of_an_order_key(embedded: Endpoint, client: Client) -> None:
    """It takes the first one of each, from everywhere in the list."""
    target = a_target(lanes=8, circuit_failures=5)
    held = [
        Held(tweet(number, user=b"u%d" % (number % 50), location=b"bad" if number <= 10 else b""))
        for number in range(1, 401)
    ]
    given(client, target, *held)
    handler = Handler(unparsable)

    async with a_runner(embedded, target, by_function(handler)) as runner:
        await runner.run(30)
        end_cooldown(client, target)
        await runner.run(30)

    of_key: dict[int, list[int]] = {}
    for number in handler.stored:
        of_key.setdefault(number % 50, []).append(number)
    assert len(of_key) == 40
    assert all(numbers == sorted(numbers) == list(range(numbers[0], 401, 50)) for numbers in of_key.values())


async def test_a_probe_that_finds_nothing_pending_closes_the_circuit(embedded: Endpoint, client: Client) -> None:
    """All entries were finished by others, or discarded: the circuit does not stay open for ever."""
    target = a_target(circuit_failures=2)
    given_entries(client, target, 4, lambda _: True)
    async with a_runner(embedded, target, by_function(Handler(unparsable))) as runner:
        await runner.run(30)
        client.execute_command("XACK", "s", "g", "1-0", "2-0", "3-0", "4-0")

        early = await runner.run(30)
        end_cooldown(client, target)
        late = await runner.run(30)
        circuit = await runner.circuit.show()

    assert (early.outcome, late.outcome) == (Outcome.CIRCUIT_OPEN, Outcome.NOTHING_PENDING)
    assert (circuit.state, circuit.by, circuit.reason) == (Circuit.CLOSED, "probe", "nothing pending")


async def test_what_a_person_opened_stays_open_though_nothing_is_pending(embedded: Endpoint, client: Client) -> None:
    """Only a person closes it."""
    target = a_target()
    given_entries(client, target, 1, lambda _: False)
    client.execute_command("XACK", "s", "g", "1-0")
    async with a_runner(embedded, target, by_function(Handler(unparsable))) as runner:
        await runner.circuit.open("maintenance", "Ada")

        report = await runner.run(30)
        circuit = await runner.circuit.show()

    assert (report.outcome, circuit.state, circuit.by) == (Outcome.CIRCUIT_OPEN, Circuit.OPEN, "person")


async def test_a_probe_whose_entries_are_parked_closes_the_circuit(embedded: Endpoint, client: Client) -> None:
    """Something was settled: work goes on."""
    target = a_target(circuit_failures=4, max_deliveries=3)
    given_entries(client, target, 4, lambda _: True)
    async with a_runner(embedded, target, by_function(Handler(unparsable))) as runner:
        await runner.run(30)
        age_all(client, target)
        end_cooldown(client, target)

        report = await runner.run(30)
        circuit = await runner.circuit.show()

    assert (report.parked, circuit.state, circuit.reason) == (4, Circuit.CLOSED, "its probe succeeded")


async def test_entries_that_fail_again_come_after_those_never_tried(embedded: Endpoint, client: Client) -> None:
    """A run tries first what was never tried, then what is due again."""
    target = a_target(lanes=1, page_size=3)
    given_entries(client, target, 7, lambda number: number <= 3)
    handler = Handler(unparsable)
    async with a_runner(embedded, target, by_function(handler)) as runner:
        await runner.run(30)
        assert handler.tried == [1, 2, 3, 4, 5, 6, 7]
        age_all(client, target)
        given(client, target, *(Held(tweet(number, user=b"u%d" % number)) for number in (8, 9)))

        await runner.run(30)

    assert handler.tried[7:] == [8, 9, 1, 2, 3]


async def test_with_a_share_many_failures_among_far_more_entries_leave_the_circuit_closed(
    embedded: Endpoint, client: Client
) -> None:
    """CIRCUIT_SHARE: the failures must be so much of all entries in the window, beside their number."""
    outcomes = {}
    for share in (0.0, 0.2, 0.5):
        client.execute_command("FLUSHALL")
        target = a_target(lanes=8, circuit_failures=20, circuit_share=share)
        given_entries(client, target, 200, lambda number: number % 4 == 0)
        async with a_runner(embedded, target, by_function(Handler(unparsable))) as runner:
            outcomes[share] = (await runner.run(30)).outcome

    assert outcomes == {0.0: Outcome.CIRCUIT_OPEN, 0.2: Outcome.CIRCUIT_OPEN, 0.5: Outcome.COMPLETED}
