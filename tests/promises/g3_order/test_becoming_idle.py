"""Entries that become idle while a run looks through a long list: none is taken before an earlier one of its key."""

import asyncio

import pytest

from reclaim.entry import Entry
from reclaim.state import find
from tests.faults import by_function, of_user
from tests.support import Client, Endpoint, a_target, given, run

pytestmark = pytest.mark.G3


@pytest.mark.parametrize("native_up_to", [0, 50_000])
@pytest.mark.parametrize("shards", [1, 2])
async def test_what_becomes_idle_in_the_middle_of_a_run_waits_for_the_next(
    server: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch, shards: int, native_up_to: int
) -> None:
    """A consumer read all of user a's entries at the same moment; the run passes the first ones over as too fresh."""
    monkeypatch.setattr(find, "NATIVE_UP_TO", native_up_to)  # 0: as in a list of more than 50,000 entries
    target = a_target(min_idle_ms=1000, page_size=2, lanes=2, shards=shards)
    some = [of_user(number, "a", idle_ms=850) if number % 2 else of_user(number, "b") for number in range(1, 41)]
    given(client, target, *some)
    seen: dict[bytes, list[int]] = {b"a": [], b"b": []}

    async def handle(entry: Entry) -> None:
        await asyncio.sleep(0.02)  # time has to pass between two looks
        seen[entry.get("user") or b""].append(int(entry.text("id")))

    for shard in target.parts:
        await run(server, shard, by_function(handle))

    of_a = list(range(1, 41, 2))
    assert seen[b"a"] == of_a[: len(seen[b"a"])]
    assert seen[b"b"] == list(range(2, 41, 2))
