"""What was tried before comes in a second round, and gets its turn however long the list behind it is (G4)."""

import time

import pytest

from dev.proxy import Proxy
from reclaim.entry import Entry
from tests.faults import by_function, of_user, step
from tests.support import Client, a_runner, a_target, age_all, given, state

pytestmark = pytest.mark.G4

ENTRIES, CLAIM_SEC, BUDGET_SEC = 30, 5.0, 60.0


async def test_entries_that_wait_for_a_deferred_one_do_not_use_up_each_run(
    embedded_proxy: Proxy, client: Client
) -> None:
    """The first entry of the only order key failed once. All others wait for it; a run has time for twelve claims."""
    target = a_target(page_size=1, delivery_backoff_sec=0, retry_attempts=1)
    given(client, target, *(of_user(number, "ada") for number in range(1, ENTRIES + 1)))
    is_down, seen = True, list[int]()

    async def handle(entry: Entry) -> None:
        if is_down:
            raise ConnectionRefusedError(111, "connection refused")
        seen.append(int(entry.get("id") or b""))

    name, args = step("claim")
    claim = embedded_proxy.when(name, lambda: None, args=args, times=None)

    def clock() -> float:
        """Each claim takes so many seconds."""
        return time.monotonic() + CLAIM_SEC * claim.hits

    async with a_runner(embedded_proxy, target, by_function(handle), clock=clock) as runner:
        await runner.run(BUDGET_SEC)
        is_down = False
        for _ in range(3):
            age_all(client, target)
            await runner.run(BUDGET_SEC)

    assert seen[:3] == [1, 2, 3]
    assert len(state(client, target).pending) < ENTRIES - 2
