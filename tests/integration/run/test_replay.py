"""Dead letters handled once more: in entry ID order for each order key, in time, and nothing lost on the way.

The state before is a set of dead letters, in whatever order they became such; the act is one `Replay.run`.
"""

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields as fields_of
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from dev.proxy import ErrorReply, Fault, Proxy
from reclaim import handlers
from reclaim.entry import Entry
from reclaim.errors import LeaseHeld, RejectEntry, RetryEntry
from reclaim.handlers.outcomes import Handler
from reclaim.run.replay import Replay, ReplayReport
from reclaim.settings import Target
from reclaim.state.connection import connect
from reclaim.state.dead_letters import DeadLetters
from reclaim.state.lease import _RELEASE
from tests.faults import Recorder, by_function
from tests.support import Client, Endpoint, HasPort, State, a_target, settings_for, state, stored, tweet

Letter = tuple[int, Sequence[bytes]]  # the entry's number, and its fields
MIB = 2**20


class Clock:
    """Seconds that pass only while somebody sleeps; keeps how long that was each time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@asynccontextmanager
async def a_replay(
    place: HasPort, target: Target, handler: Handler | None = None, **changes: Any
) -> AsyncIterator[Replay]:
    """A replay for a target, with the handler that the target asks for unless another is given."""
    server = connect(settings_for(place, target))
    try:
        yield Replay(target, server, handler or handlers.make(server, target), **changes)
    finally:
        await server.aclose()


async def replayed(
    place: HasPort,
    target: Target,
    handler: Handler | None = None,
    ids: Sequence[bytes] | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> ReplayReport:
    """The report of one replay, by a Replay made for it."""
    changes = {} if clock is None else {"clock": clock, "sleep": clock.sleep}
    async with a_replay(place, target, handler, **changes) as replay:
        return await replay.run(ids, **options)


def parked(client: Client, target: Target, *letters: Letter) -> list[bytes]:
    """Make these dead letters, in this order; return their IDs."""
    with client.pipeline(transaction=False) as pipeline:
        for number, fields in letters:
            pipeline.execute_command("XADD", target.keys.dead, "*", *_flat(number, fields))
        return list(pipeline.execute())


def _flat(number: int, fields: Sequence[bytes], error: str = "ValueError: at first") -> list[object]:
    about = [
        "id",
        f"{number}-0",
        "reason",
        "failed",
        "error",
        error,
        "consumer",
        "worker",
        "deliveries",
        5,
        "at",
        "now",
    ]
    return [*about, *(word if at % 2 else b"field:" + word for at, word in enumerate(fields))]


def letter(number: int, fields: Sequence[bytes], error: str = "ValueError: at first") -> dict[bytes, bytes]:
    """A dead letter as a State shows it."""
    flat = [word if isinstance(word, bytes) else str(word).encode() for word in _flat(number, fields, error)]
    return {name: value for name, value in zip(flat[::2], flat[1::2], strict=True) if name not in {b"at", b"traceback"}}


def of_user(number: int, user: str) -> Letter:
    """A tweet of this user; these tests order by the user."""
    return number, tweet(number, user=user.encode())


def dead(client: Client, target: Target) -> list[dict[bytes, bytes]]:
    """The dead letters by their entries' IDs; nothing else is there."""
    after = state(client, target)
    assert after == State(dead=after.dead)
    return sorted(after.dead, key=lambda one: int(one[b"id"].partition(b"-")[0]))


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.G3
@pytest.mark.parametrize("per_second", [None, 30.0])
async def test_each_key_is_replayed_in_entry_id_order_across_pages(
    embedded: Endpoint, client: Client, per_second: float | None
) -> None:
    """However they were parked: all of them once, and no two of a key at the same time."""
    target = a_target(lanes=4)
    letters = [of_user(number, f"user_{number % 7}") for number in range(1, 351)]
    random.Random(3).shuffle(letters)
    parked(client, target, *letters)
    seen: dict[bytes, list[int]] = {}
    at_work: set[bytes] = set()
    most = 0

    async def handle(entry: Entry) -> None:
        nonlocal most
        user = entry.get("user") or b""
        assert user not in at_work
        at_work.add(user)
        most = max(most, len(at_work))
        await asyncio.sleep(0.0005)
        at_work.remove(user)
        seen.setdefault(user, []).append(int(entry.id.partition(b"-")[0]))

    report = await replayed(embedded, target, by_function(handle), clock=Clock(), per_second=per_second)

    assert report == ReplayReport(chosen=350, replayed=350)
    assert seen == {b"user_%d" % user: [n for n in range(1, 351) if n % 7 == user] for user in range(7)}
    assert most == 4
    assert state(client, target) == State()


async def test_the_newest_of_a_hash_is_there_in_the_end(server: Endpoint, client: Client) -> None:
    """For the handler that stores many at once too, and across pages."""
    target = a_target()
    letters = [(number, tweet(number % 3, text=b"%d" % number)) for number in range(1, 241)]
    random.Random(5).shuffle(letters)
    parked(client, target, *letters)

    report = await replayed(server, target)

    assert report == ReplayReport(chosen=240, replayed=240)
    newest = [tweet(number % 3, text=b"%d" % number) for number in (238, 239, 240)]
    assert state(client, target) == State(hashes=stored(*newest))


@pytest.mark.G8
async def test_an_older_one_does_not_overwrite_a_newer_one(server: Endpoint, client: Client) -> None:
    """With a version field (G8): what has been stored since stays, and the dead letter is done with."""
    target = a_target(hash_version_field="version")
    newer = [*tweet(7, text=b"newer"), b"version", b"9-0"]
    client.execute_command("HSET", b"tweet:7", *newer)
    parked(client, target, (1, tweet(7, text=b"older")), (2, tweet(8)))

    report = await replayed(server, target)

    assert report == ReplayReport(chosen=2, replayed=2)
    assert state(client, target) == State(hashes=stored(newer, [*tweet(8), b"version", b"2-0"]))


@pytest.mark.G1
async def test_one_that_fails_is_a_dead_letter_still_and_holds_the_later_ones_of_its_key(
    server: Endpoint, client: Client
) -> None:
    """With its new error; other keys go on, and the next replay begins with it."""
    target = a_target()
    one, two, three = of_user(1, "a"), of_user(2, "a"), of_user(3, "b")
    parked(client, target, three, two, one)
    record = Recorder(_1=ValueError("again"))

    report = await replayed(server, target, by_function(record))

    assert (sorted(record.seen), report) == (
        [1, 3],
        ReplayReport(chosen=3, replayed=1, failed=1, held=1, reasons={"ValueError: again": 1}),
    )
    assert dead(client, target) == [letter(*one, "ValueError: again"), letter(*two)]

    record = Recorder()
    report = await replayed(server, target, by_function(record))

    assert (record.seen, report) == ([1, 2], ReplayReport(chosen=2, replayed=2))
    assert state(client, target) == State()


@pytest.mark.G3
async def test_one_that_fails_holds_the_later_ones_of_its_key_on_later_pages(
    embedded: Endpoint, client: Client
) -> None:
    """More than a page of them; a single one of another key comes last, and is replayed."""
    target = a_target()
    letters = [of_user(number, "a") for number in range(1, 251)]
    parked(client, target, of_user(251, "b"), *reversed(letters))
    record = Recorder(_1=RejectEntry("still bad"))

    report = await replayed(embedded, target, by_function(record))

    assert (record.seen, report) == (
        [1, 251],
        ReplayReport(chosen=251, replayed=1, failed=1, held=249, reasons={"RejectEntry: still bad": 1}),
    )
    first, *others = letters
    assert dead(client, target) == [letter(*first, "RejectEntry: still bad"), *(letter(*other) for other in others)]


async def test_one_that_is_not_to_blame_is_left_as_it_was(server: Endpoint, client: Client) -> None:
    """It is tried as often as is allowed, and holds the later ones of its key."""
    target = a_target(retry_attempts=3)
    one, two = of_user(1, "a"), of_user(2, "a")
    ids = parked(client, target, one, two)
    record = Recorder(_1=RetryEntry("later"))

    report = await replayed(server, target, by_function(record))

    assert (record.seen, report) == (
        [1, 1, 1],
        ReplayReport(chosen=2, retried=1, held=1, reasons={"RetryEntry: later": 1}),
    )
    assert dead(client, target) == [letter(*one), letter(*two)]
    assert [row[0] for row in client.execute_command("XRANGE", target.keys.dead, "-", "+")] == ids


async def test_one_that_lacks_a_field_still_fails_and_holds_nothing(server: Endpoint, client: Client) -> None:
    """It has no order key."""
    target = a_target()
    bad = (1, [b"user", b"nobody"])
    parked(client, target, bad, (2, tweet(2)))

    report = await replayed(server, target)

    why = "MissingField: no field 'id' for 'tweet:{id}'"
    assert report == ReplayReport(chosen=2, replayed=1, failed=1, reasons={why: 1})
    assert state(client, target) == State(hashes=stored(tweet(2)), dead=[letter(*bad, why)])


async def test_two_of_one_entry_are_both_replayed_and_counted(server: Endpoint, client: Client) -> None:
    """The entry was parked twice, say by hand: neither hides the other."""
    target = a_target()
    parked(client, target, of_user(1, "a"), of_user(2, "a"), of_user(1, "a"))
    record = Recorder()

    report = await replayed(server, target, by_function(record))

    assert (record.seen, report) == ([1, 1, 2], ReplayReport(chosen=3, replayed=3))
    assert state(client, target) == State()


async def test_two_of_one_entry_that_fails_are_both_there_still(server: Endpoint, client: Client) -> None:
    """The first has the new error, the second was held."""
    target = a_target()
    one = of_user(1, "a")
    parked(client, target, one, one)

    report = await replayed(server, target, by_function(Recorder(_1=ValueError("again"))))

    assert report == ReplayReport(chosen=2, failed=1, held=1, reasons={"ValueError: again": 1})
    errors = [found[b"error"] for found in dead(client, target)]
    assert sorted(errors) == [b"ValueError: again", b"ValueError: at first"]


async def test_one_that_somebody_else_wrote_stops_no_other(server: Endpoint, client: Client) -> None:
    """What it says its entry's ID is, is none."""
    target = a_target()
    parked(client, target, (1, tweet(1)))
    client.execute_command("XADD", target.keys.dead, "*", "id", "no-id", "field:id", "7")

    report = await replayed(server, target)

    assert report == ReplayReport(chosen=2, replayed=2)
    assert state(client, target) == State(hashes=stored(tweet(1)) | {b"tweet:7": {b"id": b"7"}})


# --- which and how many ----------------------------------------------------------------------------------------------


async def test_a_limit_takes_those_with_the_smallest_entry_ids(server: Endpoint, client: Client) -> None:
    """Whenever they were parked."""
    target = a_target()
    letters = [(number, tweet(number)) for number in (4, 2, 5, 1, 3)]
    parked(client, target, *letters)

    report = await replayed(server, target, limit=2)

    assert report == ReplayReport(chosen=2, replayed=2)
    assert state(client, target) == State(
        hashes=stored(tweet(1), tweet(2)), dead=[letter(number, tweet(number)) for number in (4, 5, 3)]
    )


async def test_a_dry_run_changes_nothing(server: Endpoint, client: Client) -> None:
    """It says how many there would be; a run that has the lease is no hindrance."""
    target = a_target()
    parked(client, target, *((number, tweet(number)) for number in range(1, 151)))
    client.execute_command("SET", target.keys.lease, "a run", "PX", 60_000)
    before = state(client, target)

    report = await replayed(server, target, dry_run=True)
    some = await replayed(server, target, dry_run=True, limit=30)

    assert (report, some) == (ReplayReport(chosen=150), ReplayReport(chosen=30))
    assert state(client, target) == before


async def test_only_those_named_are_replayed(server: Endpoint, client: Client) -> None:
    """Each once, however often it is named; one that is not there is counted."""
    target = a_target()
    ids = parked(client, target, *((number, tweet(number)) for number in (3, 2, 1)))

    report = await replayed(server, target, ids=[ids[2], b"1-1", ids[0], ids[2], b"1-1"])

    assert report == ReplayReport(chosen=2, replayed=2, missing=1)
    assert state(client, target) == State(hashes=stored(tweet(3), tweet(1)), dead=[letter(2, tweet(2))])


async def test_those_that_came_later_are_not_among_all_up_to_one(server: Endpoint, client: Client) -> None:
    """So that what fails, and gets a new ID, is tried once and not for ever."""
    target = a_target()
    one, two, three = ((number, tweet(number)) for number in (1, 2, 3))
    _, upto = parked(client, target, one, two)
    parked(client, target, three)
    handler = by_function(Recorder(_1=ValueError("again")))

    reports = [await replayed(server, target, handler, upto=upto) for _ in range(2)]

    assert reports == [
        ReplayReport(chosen=2, replayed=1, failed=1, reasons={"ValueError: again": 1}),
        ReplayReport(),
    ]
    assert dead(client, target) == [letter(*one, "ValueError: again"), letter(*three)]


async def test_one_that_failed_holds_back_later_ones_of_its_key_among_those_up_to_one(
    server: Endpoint, client: Client
) -> None:
    """In the next replay too: it has a new ID by then, and is not among them any more."""
    target = a_target()
    one, two, other = of_user(1, "a"), of_user(2, "a"), of_user(3, "b")
    *_, upto = parked(client, target, one, two, other)
    record = Recorder(_1=ValueError("again"))

    reports = [await replayed(server, target, by_function(record), upto=upto) for _ in range(2)]

    assert record.seen == [1, 3]
    assert [(report.chosen, report.replayed, report.failed, report.held) for report in reports] == [
        (3, 1, 1, 1),
        (1, 0, 0, 1),
    ]
    assert dead(client, target) == [letter(*one, "ValueError: again"), letter(*two)]


async def test_many_that_are_named_are_looked_up_a_page_at_a_time(embedded_proxy: Proxy, client: Client) -> None:
    """Not each for itself: a thousand round trips would take longer than anybody waits."""
    target = a_target()
    ids = parked(client, target, *((number, tweet(number)) for number in range(1, 501)))

    report = await replayed(embedded_proxy, target, ids=ids, dry_run=True)

    assert report == ReplayReport(chosen=500)
    assert embedded_proxy.round_trips < 20


@pytest.mark.parametrize("bad", [b"1", b"x-0", b"1-0-0", b"18446744073709551616-0", b""])
async def test_what_is_no_id_is_an_error(embedded: Endpoint, client: Client, bad: bytes) -> None:
    """Nothing is replayed, not even what was named rightly."""
    target = a_target()
    (good,) = parked(client, target, (1, tweet(1)))

    with pytest.raises(ValueError, match="is not an entry ID"):
        await replayed(embedded, target, ids=[good, bad])

    assert state(client, target) == State(dead=[letter(1, tweet(1))])


async def test_without_dead_letters_there_is_nothing_to_do(server: Endpoint, client: Client) -> None:
    """Not even a lease to take."""
    target = a_target()
    client.execute_command("SET", target.keys.lease, "a run", "PX", 60_000)

    assert await replayed(server, target) == ReplayReport()


async def test_one_parked_meanwhile_is_left_alone(embedded: Endpoint, client: Client) -> None:
    """It was not there when the replay began."""
    target = a_target()
    parked(client, target, of_user(1, "a"), of_user(2, "b"))

    async def handle(entry: Entry) -> None:
        if entry.id == b"1-0":
            parked(client, target, of_user(3, "c"))

    report = await replayed(embedded, target, by_function(handle))

    assert report == ReplayReport(chosen=2, replayed=2)
    assert dead(client, target) == [letter(*of_user(3, "c"))]


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per_second", "count", "waits"), [(10.0, 25, [1.0, 1.0]), (0.5, 3, [2.0, 2.0]), (1000.0, 5, []), (10.0, 10, [])]
)
async def test_no_more_than_so_many_are_begun_each_second(
    embedded: Endpoint, client: Client, per_second: float, count: int, waits: list[float]
) -> None:
    """It waits between pages for as long as that takes; not after the last one."""
    target = a_target()
    parked(client, target, *((number, tweet(number)) for number in range(1, count + 1)))
    clock = Clock()
    begun: list[float] = []

    async def handle(_: Entry) -> None:
        begun.append(clock.now)

    report = await replayed(embedded, target, by_function(handle, "{id}"), clock=clock, per_second=per_second)

    at_once = max(1, int(per_second))
    assert report == ReplayReport(chosen=count, replayed=count)
    assert clock.waits == pytest.approx(waits)
    assert all(b - a >= at_once / per_second - 1e-6 for a, b in zip(begun, begun[at_once:], strict=False))


@pytest.mark.parametrize("per_second", [0, -1, float("nan"), float("inf")])
async def test_a_rate_that_is_none_is_an_error(embedded: Endpoint, client: Client, per_second: float) -> None:
    """Said before anything is done."""
    target = a_target()
    parked(client, target, (1, tweet(1)))

    with pytest.raises(ValueError, match="a number above 0"):
        await replayed(embedded, target, per_second=per_second)

    assert state(client, target) == State(dead=[letter(1, tweet(1))])


async def test_without_any_time_nothing_is_begun_and_all_is_left(server: Endpoint, client: Client) -> None:
    """And nothing is changed."""
    target = a_target()
    letters = [of_user(number, "a") for number in range(1, 131)]
    parked(client, target, *letters)
    record = Recorder()

    report = await replayed(server, target, by_function(record), budget_sec=0.0)

    assert (record.seen, report) == ([], ReplayReport(chosen=130, left=130))
    assert dead(client, target) == [letter(*one) for one in letters]


@pytest.mark.parametrize("users", [1, 7, 60], ids=["one key", "some keys", "a key each"])
async def test_nothing_is_begun_after_the_time_is_up(embedded: Endpoint, client: Client, users: int) -> None:
    """Also within a page; every dead letter is counted once, and what is not replayed is there still, as it was."""
    target = a_target(lanes=4)
    letters = [of_user(number, f"user_{number % users}") for number in range(1, 61)]
    parked(client, target, *letters)
    began: dict[int, float] = {}
    ended: list[int] = []
    clock = Clock()
    start = clock.now

    async def handle(entry: Entry) -> None:
        number = int(entry.id.partition(b"-")[0])
        began[number] = clock.now
        await asyncio.sleep(0)
        clock.now += 0.15
        ended.append(number)

    report = await replayed(embedded, target, by_function(handle), clock=clock, budget_sec=1.5)

    assert max(began.values()) < start + 1.5
    assert 0 < report.replayed == len(ended) <= len(began) < 60
    counts = {one.name: getattr(report, one.name) for one in fields_of(report) if one.name != "reasons"}
    assert sum(counts.values()) == 2 * report.chosen == 120, counts
    assert (report.failed, report.missing) == (0, 0)
    assert report.left + report.held >= 60 - len(began)
    assert dead(client, target) == [letter(*one) for one in letters if one[0] not in ended]


async def test_a_handler_that_hangs_ends_with_the_time(embedded: Endpoint, client: Client) -> None:
    """It will not even be cancelled; the lease is free afterwards, and nothing is gone."""
    target = a_target(lanes=2)
    letters = [of_user(number, f"user_{number}") for number in range(1, 6)]
    parked(client, target, *letters)
    is_over = False

    async def handle(_: Entry) -> None:
        while not is_over:
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    task = asyncio.ensure_future(replayed(embedded, target, by_function(handle), budget_sec=1.0))
    done, _ = await asyncio.wait([task], timeout=5)
    is_over = True
    await asyncio.wait([task])
    await asyncio.sleep(0.1)

    assert done
    assert task.result().replayed == 0
    assert [one[b"id"] for one in dead(client, target)] == [b"%d-0" % number for number in range(1, 6)]


async def test_a_run_that_has_the_lease_all_the_time_is_an_error(server: Endpoint, client: Client) -> None:
    """The replay waits for as long as it may, and names the run; the lease and the dead letters stay."""
    target = a_target()
    parked(client, target, (1, tweet(1)))
    client.execute_command("SET", target.keys.lease, "run 7 on elsewhere", "PX", 60_000)
    before, clock = state(client, target), Clock()

    with pytest.raises(LeaseHeld, match="run 7 on elsewhere has the lease"):
        await replayed(server, target, clock=clock, budget_sec=5.0)

    assert 4 <= sum(clock.waits) <= 5
    assert state(client, target) == before
    assert client.execute_command("GET", target.keys.lease) == b"run 7 on elsewhere"


async def test_a_replay_begins_as_soon_as_the_run_is_over(server: Endpoint, client: Client) -> None:
    """And gives the lease back in the end."""
    target = a_target()
    parked(client, target, (1, tweet(1)))
    client.execute_command("SET", target.keys.lease, "run 7 on elsewhere", "PX", 60_000)

    class Ends(Clock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if len(self.waits) == 2:
                client.execute_command("DEL", target.keys.lease)

    clock = Ends()
    report = await replayed(server, target, clock=clock)

    assert (report, len(clock.waits)) == (ReplayReport(chosen=1, replayed=1), 2)
    assert state(client, target) == State(hashes=stored(tweet(1)))


# --- size and faults -------------------------------------------------------------------------------------------------


@pytest.mark.G7
async def test_large_ones_are_replayed_without_having_them_all_in_memory(embedded: Endpoint, client: Client) -> None:
    """Forty of 1 MB each."""
    target = a_target(lanes=2)
    text = b"x" * MIB
    for number in range(1, 41):
        parked(client, target, (number, tweet(number, text=text)))

    tracemalloc.start()
    try:
        report = await replayed(embedded, target)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert report == ReplayReport(chosen=40, replayed=40)
    assert client.execute_command("XLEN", target.keys.dead) == 0
    assert state(client, target).hashes == stored(*(tweet(number, text=text) for number in range(1, 41)))
    assert peak < 80 * MIB, f"{peak // MIB} MiB"


@pytest.mark.G2
async def test_a_wide_one_is_replayed_and_another_fails_with_its_bytes_untouched(
    server: Endpoint, client: Client
) -> None:
    """5,000 fields each."""
    target = a_target()
    more = [part for at in range(5_000) for part in (b"f%d\xff" % at, b"%d\x00" % at)]
    parked(client, target, (1, tweet(1) + more), (2, tweet(2) + more))
    client.execute_command("SET", b"tweet:2", b"a string")

    report = await replayed(server, target)

    assert report == ReplayReport(chosen=2, replayed=1, failed=1, reasons=report.reasons)
    after = state(client, target)
    (found,) = after.dead
    assert found[b"error"].startswith(b"ResponseError: WRONGTYPE")
    assert report.reasons == {found.pop(b"error").decode(): 1}
    expected = letter(2, tweet(2) + more)
    del expected[b"error"]
    assert found == expected
    assert (after.hashes, after.other_keys) == (stored(tweet(1) + more), [b"tweet:2"])


async def test_a_removal_that_fails_leaves_what_was_stored_a_dead_letter(
    server: Endpoint, client: Client, proxy: Proxy
) -> None:
    """The replay says that Redis cannot be used; the next one stores it again and removes it."""
    target = a_target(retry_attempts=2)
    parked(client, target, (1, tweet(1)))
    proxy.when("XDEL", Fault.CUT_BEFORE, times=None)

    with pytest.raises(RedisConnectionError):
        await replayed(proxy, target)
    assert state(client, target) == State(hashes=stored(tweet(1)), dead=[letter(1, tweet(1))])
    proxy.clear()
    report = await replayed(server, target)

    assert report == ReplayReport(chosen=1, replayed=1)
    assert state(client, target) == State(hashes=stored(tweet(1)))


async def test_a_store_that_is_full_leaves_all_as_it_was(client: Client, proxy: Proxy) -> None:
    """None of the dead letters is to blame."""
    target = a_target(retry_attempts=2)
    letters = [(number, tweet(number)) for number in (1, 2, 3)]
    parked(client, target, *letters)
    proxy.when("HSET", ErrorReply("OOM command not allowed when used memory > 'maxmemory'."), times=None)

    report = await replayed(proxy, target)

    assert report == ReplayReport(chosen=3, retried=3, reasons=report.reasons)
    ((reason, count),) = report.reasons.items()
    assert (reason.partition(":")[0], count) == ("OutOfMemoryError", 3)
    assert dead(client, target) == [letter(*one) for one in letters]


async def test_discarding_all_leaves_what_was_parked_after_it_began(
    server: Endpoint, client: Client, proxy: Proxy
) -> None:
    """One becomes a dead letter as the second page is asked for: nobody has seen it yet."""
    target = a_target()
    parked(client, target, *((number, tweet(number)) for number in range(1, 251)))
    late: list[bytes] = []

    def park_one() -> None:
        if not late:
            late.extend(parked(client, target, (999, tweet(999))))

    for name in ("XRANGE", "XDEL", "XTRIM", "EVAL", "EVALSHA"):
        skip = int(name == "EVAL")  # the first one asks which is the last that is meant
        proxy.when(name, park_one, times=1, skip=skip, may_miss=True)  # `late` tells that one of them was met
    connected = connect(settings_for(proxy, target))
    discarded = await DeadLetters(connected, target).discard_all()
    await connected.aclose()

    assert (server.port > 0, len(late), discarded) == (True, 1, 250)
    assert state(client, target) == State(dead=[letter(999, tweet(999))])


async def test_the_order_is_that_of_numbers_and_not_of_text(embedded: Endpoint, client: Client) -> None:
    """9-0 comes before 10-0, and 10-2 before 10-10."""
    target = a_target()
    for entry_id in (b"10-10", b"9-0", b"10-2", b"100-0"):
        flat = _flat(0, tweet(1))
        flat[1] = entry_id
        client.execute_command("XADD", target.keys.dead, "*", *flat)
    seen: list[bytes] = []

    async def handle(entry: Entry) -> None:
        seen.append(entry.id)

    await replayed(embedded, target, by_function(handle))

    assert seen == [b"9-0", b"10-2", b"10-10", b"100-0"]


# --- a network that breaks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["XRANGE", "XDEL", "EVAL"])
@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER], ids=["before", "after"])
async def test_a_connection_that_breaks_once_ends_no_replay(
    embedded_proxy: Proxy, client: Client, name: str, fault: Fault
) -> None:
    """Whatever was under way; and all are counted."""
    target = a_target()
    parked(client, target, *((number, tweet(number)) for number in range(1, 61)))
    rule = embedded_proxy.when(name, fault)

    report = await replayed(embedded_proxy, target)

    assert (report, rule.hits) == (ReplayReport(chosen=60, replayed=60), 1)
    assert state(client, target) == State(hashes=stored(*(tweet(number) for number in range(1, 61))))


async def test_a_lease_that_cannot_be_released_is_no_failure(embedded_proxy: Proxy, client: Client) -> None:
    """It ends by itself; what was replayed is told."""
    target = a_target()
    parked(client, target, (1, tweet(1)))
    embedded_proxy.when("EVAL", Fault.CUT_BEFORE, args=lambda args: args[0] == _RELEASE.encode())

    report = await replayed(embedded_proxy, target)

    assert report == ReplayReport(chosen=1, replayed=1)


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER], ids=["before", "after"])
async def test_a_connection_that_breaks_once_ends_no_discarding(
    embedded_proxy: Proxy, client: Client, fault: Fault
) -> None:
    """Neither of all nor of those named."""
    target = a_target()
    ids = parked(client, target, *((number, tweet(number)) for number in range(1, 1201)))
    embedded_proxy.when("XDEL", fault)
    embedded_proxy.when("EVAL", fault)
    connected = connect(settings_for(embedded_proxy, target))

    named = await DeadLetters(connected, target).discard(ids[:600])
    await DeadLetters(connected, target).discard_all()
    await connected.aclose()

    assert named == 600
    assert state(client, target) == State()


async def test_large_ones_are_looked_through_a_few_at_a_time(embedded: Endpoint, client: Client) -> None:
    """A script that reads a hundred of a megabyte each blocks the server for half a second."""
    target = a_target()
    parked(client, target, *((number, [b"body", bytes(2**20)]) for number in range(5)), (5, tweet(5)), (6, tweet(6)))
    connected = connect(settings_for(embedded, target))

    pages = [len(some) async for some in DeadLetters(connected, target).ids()]
    await connected.aclose()

    assert pages == [1, 1, 1, 1, 1, 2]
