"""When a run has lost its lease."""

import asyncio

import pytest

from dev.proxy import Fault, Proxy
from reclaim.entry import Entry
from reclaim.run.report import Outcome
from reclaim.state import lease
from reclaim.state.connection import connect
from reclaim.state.lease import _RENEW
from tests.faults import by_function, of_user, script
from tests.support import Client, Endpoint, a_target, given, run, settings_for


async def test_a_lease_that_cannot_be_renewed_is_lost_when_it_ends(
    embedded_proxy: Proxy, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may have it from then on, even if Redis cannot tell us."""
    monkeypatch.setattr(lease, "TTL_MS", 600)
    monkeypatch.setattr(lease, "RENEW_EVERY_SEC", 0.2)
    target = a_target(lanes=1, page_size=1)
    given(client, target, *(of_user(number, f"u{number}") for number in range(1, 6)))
    embedded_proxy.when("EVAL", Fault.HANG, args=script(_RENEW), times=None)
    had_lease: list[bool] = []

    async def handle(_: Entry) -> None:
        had_lease.append(bool(client.execute_command("EXISTS", target.keys.lease)))
        await asyncio.sleep(0.5)

    report = await run(embedded_proxy, target, by_function(handle))

    assert (report.outcome, all(had_lease)) == (Outcome.LEASE_LOST, True)


async def test_a_lease_that_may_have_been_lost_is_lost_for_good(embedded: Endpoint) -> None:
    """A renewal that works after the lease was over does not make the lease ours again."""
    now = [0.0]
    server = connect(settings_for(embedded, a_target()))
    ours = lease.Lease(server, a_target(), "x", lambda: now[0])
    assert await server.ask(ours.take()) == (None,)
    now[0] = 14.0
    before = ours.lost
    now[0] = 15.0
    over = ours.lost
    await ours.renew()
    await server.aclose()

    assert (before, over, ours.lost) == (False, True, True)
