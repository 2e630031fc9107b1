"""Answers that come late: how late each one is, lets no entry overtake an earlier one of its order key (G3).

A run takes what was idle for long enough when it looked first. Reckoned from an answer that was long on its way, an
entry may seem to lack some milliseconds in one look, and not in the next.
"""

import random
from itertools import count

import pytest

from dev.proxy import Proxy
from reclaim.entry import Entry
from reclaim.run.report import Outcome
from reclaim.settings import Target
from reclaim.state import find
from reclaim.state.server_time import unix_ms
from tests.faults import Recorder, by_function, of_user
from tests.support import Client, Endpoint, State, a_target, age_all, given, held, pending_rows, run, state, stored

pytestmark = pytest.mark.G3

OURS = "monitoring_app"
MIN_IDLE_MS = 1000
LATE_SEC = 0.3
ENTRIES = 100
WAYS = [pytest.param(50_000, 0, id="native"), pytest.param(0, 0, id="dense"), pytest.param(0, 40, id="sparse")]


@pytest.mark.parametrize(("native_up_to", "fresh"), WAYS)
@pytest.mark.parametrize("late", range(6))
async def test_a_failed_entry_that_has_just_become_due_is_not_overtaken(
    proxy: Proxy, client: Client, monkeypatch: pytest.MonkeyPatch, native_up_to: int, fresh: int, late: int
) -> None:
    """The first entry of user a failed, and waits for the second round; the others are idle for much longer."""
    monkeypatch.setattr(find, "NATIVE_UP_TO", native_up_to)
    target = a_target(min_idle_ms=MIN_IDLE_MS, delivery_backoff_sec=0, lanes=2)
    given(client, target, *(of_user(number, "ab"[number % 2]) for number in range(1, 9)))
    given(client, target, *(of_user(number, "c", idle_ms=0) for number in range(9, 9 + fresh)))
    await run(proxy, target, by_function(Recorder(_2=ValueError("no"))))
    client.execute_command("XCLAIM", "s", "g", OURS, 0, "2-0", "IDLE", MIN_IDLE_MS, "RETRYCOUNT", 2, "JUSTID")
    answers_late(proxy, late)
    record = Recorder()

    for _ in range(2):
        await run(proxy, target, by_function(record))
        proxy.clear()
        age_all(client, target)

    assert [number for number in record.seen if number in {2, 4, 6, 8}] == [2, 4, 6, 8]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shards", [1, 3])
async def test_however_late_each_answer_is_all_are_handled_in_order(
    embedded_proxy: Proxy, client: Client, seed: int, shards: int
) -> None:
    """Entries that a consumer read one after another become due while runs look; so do those that have failed."""
    rng = random.Random(seed)
    target = a_target(min_idle_ms=MIN_IDLE_MS, delivery_backoff_sec=0, page_size=3, lanes=2, shards=shards)
    idle_ms = sorted((MIN_IDLE_MS + rng.randint(-40, 60) for _ in range(ENTRIES)), reverse=True)
    given(client, target, *(of_user(n, rng.choice("abcd"), idle_ms=idle) for n, idle in enumerate(idle_ms, 1)))
    answers_late_at_random(embedded_proxy, rng)
    seen: dict[bytes, list[int]] = {}
    failed: set[int] = set()

    async def handle(entry: Entry) -> None:
        number = int(entry.text("id"))
        if number % 20 == 0 and number not in failed:
            failed.add(number)
            raise ValueError("once")
        seen.setdefault(entry.get("user") or b"", []).append(number)

    for _ in range(8):
        for shard in target.parts:
            await run(embedded_proxy, shard, by_function(handle))
        failed_are_nearly_due(client, target, rng)

    assert {user: numbers for user, numbers in seen.items() if numbers != sorted(numbers)} == {}
    assert sum(map(len, seen.values())) > ENTRIES / 2


@pytest.mark.parametrize(
    ("right", "holder", "acknowledged"), [(0, "worker", 0), (1, "worker", 0), (2, "worker", 2), (2, OURS, 0)]
)
async def test_a_clock_that_is_set_back_during_a_run_ends_it(
    server: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch, right: int, holder: str, acknowledged: int
) -> None:
    """What had just become due would not be found any more, and its key's later entries would.

    So many readings are right. An entry of ours is looked at before all others.
    """
    target = a_target(page_size=2, retry_attempts=1)
    given(client, target, *held(range(1, 11), consumer=holder))
    readings = count()
    monkeypatch.setattr(find, "unix_ms", lambda reply: unix_ms(reply) - (0 if next(readings) < right else 60_000))

    report = await run(server, target)

    left = {holder: 10 - acknowledged}
    assert (report.outcome, report.acknowledged, report.pending_after) == (Outcome.FAILED, acknowledged, left)
    assert report.reason == "ConnectionError: the server's clock was set back while the run was under way"


async def test_a_run_goes_on_once_the_clock_has_caught_up(
    server: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks again, as after any transient error."""
    target = a_target(page_size=2)
    entries = held(range(1, 11))
    given(client, target, *entries)
    readings = count()
    monkeypatch.setattr(find, "unix_ms", lambda reply: unix_ms(reply) - (60_000 if next(readings) in {2, 3} else 0))

    report = await run(server, target)

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 10)
    assert state(client, target) == State(hashes=stored(*entries), length=10)


def is_look(args: list[bytes]) -> bool:
    return len(args) > 2


def answers_late(proxy: Proxy, at: int) -> None:
    """Let this look's answer be on its way for a long time; the looks that follow are answered at once."""
    looks = 0

    def pass_on() -> None:
        nonlocal looks
        proxy.reply_delay_sec = LATE_SEC if looks == at else 0.0
        looks += 1

    proxy.when("XPENDING", pass_on, args=is_look, times=None)
    proxy.when("EVAL", pass_on, args=lambda args: args[0] == find._SCAN.encode(), times=None, may_miss=True)


def answers_late_at_random(proxy: Proxy, rng: random.Random) -> None:
    """Let each look's answer be on its way for some milliseconds, or for none."""

    def choose() -> None:
        proxy.reply_delay_sec = rng.choice([0.0, 0.0, 0.005, 0.03])

    proxy.when("XPENDING", choose, args=is_look, times=None)


def failed_are_nearly_due(client: Client, target: Target, rng: random.Random) -> None:
    """Set the idle time of what our consumers have tried to nearly MIN_IDLE_MS, or a little more."""
    for entry_id, consumer, _, deliveries in pending_rows(client, target):
        if deliveries > 1:
            idle_ms = MIN_IDLE_MS + rng.randint(-20, 20)
            client.execute_command("XCLAIM", "s", "g", consumer, 0, entry_id, "IDLE", idle_ms, "JUSTID")
