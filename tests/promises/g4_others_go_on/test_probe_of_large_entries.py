"""A probe of an open circuit reads so much that time is left to try what it has chosen (G4, G6)."""

import pytest

from dev.proxy import Proxy
from reclaim.entry import Entry
from tests.faults import by_function
from tests.integration.state.circuits import end_cooldown
from tests.support import Client, Endpoint, Held, a_runner, a_target, given, tweet

pytestmark = [pytest.mark.G4, pytest.mark.G6]

ENTRIES, BODY = 160, b"x" * 1_000_000
SLOW = 12_500_000  # bytes a second


@pytest.mark.parametrize("budget_sec", [4.0, 30.0])
async def test_a_probe_over_a_slow_link_closes_the_circuit(
    embedded: Endpoint, embedded_proxy: Proxy, client: Client, budget_sec: float
) -> None:
    """160 MB are pending, each entry with an order key of its own; what they need answers again."""
    target = a_target(circuit_failures=2)
    given(client, target, *(Held(tweet(number, user=b"u%d" % number, text=BODY)) for number in range(ENTRIES)))
    is_away, handled = True, list[bytes]()

    async def handle(entry: Entry) -> None:
        if is_away:
            raise ConnectionRefusedError(111, "connection refused")
        handled.append(entry.id)

    async with a_runner(embedded, target, by_function(handle)) as runner:
        await runner.run(30)
    end_cooldown(client, target)
    is_away = False
    embedded_proxy.bytes_per_sec = SLOW

    async with a_runner(embedded_proxy, target, by_function(handle)) as runner:
        await runner.run(budget_sec)
        shown = await runner.circuit.show()

    assert handled
    assert shown.state.value == "closed"
