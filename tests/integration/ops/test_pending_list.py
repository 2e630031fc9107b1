"""What is pending now and why: the answer changes nothing."""

from typing import Any

from reclaim.app import App
from reclaim.entry import readable
from reclaim.ops import operations
from reclaim.run.order import digest
from reclaim.state.tries import Try
from tests.support import Client, Endpoint, Held, a_target, age_all, given, settings_for, state, tweet

TARGET = a_target(min_idle_ms=60_000, delivery_backoff_sec=600.0)


async def listed(place: Endpoint, **asked: Any) -> list[dict[str, Any]]:
    """All pending entries, from as many pages as that takes."""
    app = App(settings_for(place, TARGET))
    found: list[dict[str, Any]] = []
    after = None
    try:
        while True:
            page = await operations.list_pending(app, after=after, **asked)
            found += [one.to_dict(readable) for one in page.entries]
            if page.next is None:
                return found
            after = page.next
    finally:
        await app.aclose()


async def test_each_pending_entry_says_why_it_waits(server: Endpoint, client: Client) -> None:
    """Backing off until when, held behind which entry, fresh, due, gone."""
    bodies = [tweet(n) for n in (1, 1, 3, 4, 5)]
    ids = given(client, TARGET, *(Held(body) for body in bodies))
    age_all(client, TARGET, 100_000)
    client.execute_command("XDEL", TARGET.stream, ids[4])
    record = Try(1, 1_700_000_000_000, 1_700_000_000_000, 1, "fail", b"", "KeyError: 'sku'")
    record = record._replace(digest=digest(b"tweet:1"))
    client.execute_command("HSET", TARGET.keys.tries, ids[0], record.to_bytes())
    client.execute_command("XCLAIM", TARGET.stream, TARGET.group, "young", 0, ids[2], "IDLE", 5, "JUSTID")
    before = state(client, TARGET)

    found = await listed(server, limit=2)

    told = [(one["id"], one["waiting"], one["behind"], one["reason"]) for one in found]
    first = ids[0].decode()
    assert told == [
        (first, "backing_off", None, "KeyError: 'sku'"),
        (ids[1].decode(), "held", first, ""),
        (ids[2].decode(), "fresh", None, ""),
        (ids[3].decode(), "due", None, ""),
        (ids[4].decode(), "gone", None, ""),
    ]
    assert 400_000 < found[0]["due_in_ms"] <= 500_000
    assert (found[0]["charged"], found[0]["last_try_at"]) == (1, "2023-11-14T22:13:20.000+00:00")
    assert [found[2]["consumer"], found[3]["fields"][0]] == ["young", {"name": "id", "value": "4"}]
    assert [one["id"] for one in await listed(server, consumer=b"young")] == [ids[2].decode()]
    assert state(client, TARGET) == before


async def test_large_entries_end_a_page_early(embedded: Endpoint, client: Client) -> None:
    """As many as come to a page of a run; the next page goes on."""
    ids = given(client, TARGET, *(Held(tweet(n, text=b"x" * 1_000_000)) for n in range(9)))

    app = App(settings_for(embedded, TARGET))
    try:
        page = await operations.list_pending(app, limit=9)
    finally:
        await app.aclose()

    assert 0 < len(page.entries) < len(ids)
    assert page.next == page.entries[-1].row.id
    assert [one["id"] for one in await listed(embedded, limit=9)] == [one.decode() for one in ids]
