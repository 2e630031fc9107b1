"""A cluster changes under a run: a primary dies, or slots move. Every entry is accounted for."""

import pytest

from dev.cluster import Cluster
from reclaim.app import App
from reclaim.settings import Target
from reclaim.state.slots import slot_of
from tests.cluster_support import after_stores, given_on, name_on, pending_on, settings_of, stored_on, targets_on_each
from tests.support import a_target, age_all, drop_lease, held, stored, tweet

pytestmark = [pytest.mark.anyio, pytest.mark.G1, pytest.mark.G2, pytest.mark.G5]

EACH = 300


async def test_a_primary_that_dies_in_the_middle_of_a_run_costs_no_entry(
    own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a stream, and hashes of all. What was acknowledged is stored on the replica that took its place."""
    targets = targets_on_each(page_size=20, retry_attempts=2, circuit_cooldown_sec=0.05, circuit_failures=2000)
    for at, target in enumerate(targets):
        given_on(own_cluster, target, *held(range(EACH * at, EACH * (at + 1))))
    dead = own_cluster.primaries[1]
    died = after_stores(monkeypatch, 10, dead.kill)
    app = App(settings_of(own_cluster, *targets))

    first = await app.reports()
    own_cluster.until_served(but=dead)
    alive = [own_cluster.primaries[0], own_cluster.replica_of(dead), own_cluster.primaries[2]]
    acknowledged = stored_ones(own_cluster, targets)
    kept = stored_on(own_cluster, alive)
    for _ in range(10):
        for target in targets:
            with own_cluster.client(own_cluster.node_of(target.stream)) as client:
                drop_lease(client, target)
                age_all(client, target)
        await app.reports()
        if not any(pending_on(own_cluster, target) for target in targets):
            break
    await app.aclose()

    assert died
    assert any(report.error or report.retried for report in first)
    assert acknowledged - kept.keys() == set()
    assert [pending_on(own_cluster, target) for target in targets] == [0, 0, 0]
    assert stored_on(own_cluster, alive) == stored(*(tweet(number) for number in range(3 * EACH)))


def stored_ones(cluster: Cluster, targets: list[Target]) -> set[bytes]:
    """The hashes of all entries that are acknowledged."""
    keys: set[bytes] = set()
    for at, target in enumerate(targets):
        with cluster.client(cluster.node_of(target.stream)) as client:
            rows = client.execute_command("XPENDING", target.stream, target.group, "-", "+", 10_000)
        pending = {int(row[0].partition(b"-")[0]) for row in rows}
        keys |= {b"tweet:%d" % (EACH * at + one - 1) for one in range(1, EACH + 1) if one not in pending}
    return keys


@pytest.mark.G4
async def test_a_dead_primary_stops_no_entry_of_the_others(own_cluster: Cluster) -> None:
    """In the same run, before any replica takes its place."""
    target = a_target(stream=name_on(0), retry_attempts=1, circuit_failures=2000)
    given_on(own_cluster, target, *held(range(60)))
    app = App(settings_of(own_cluster, target))
    await app.server.call("GET", target.keys.lease)
    dead = own_cluster.primaries[2]
    there = {
        b"tweet:%d" % number for number in range(60) if own_cluster.owner_of(slot_of(b"tweet:%d" % number)) is dead
    }
    dead.kill()

    (report,) = await app.reports()
    await app.aclose()

    assert 0 < len(there) < 60
    assert (report.acknowledged, report.retried) == (60 - len(there), len(there))
    assert stored_on(own_cluster, own_cluster.primaries[:2]).keys() == {b"tweet:%d" % at for at in range(60)} - there


@pytest.mark.parametrize("version", [None, "v"])
async def test_slots_that_move_in_the_middle_of_a_run_cost_no_entry_and_no_delivery(
    own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    """The stream's slot, key by key, while pages are stored; and with it slots of hashes."""
    target = a_target(stream=name_on(0), page_size=20, hash_version_field=version)
    given_on(own_cluster, target, *held(range(EACH)))
    slots = [slot_of(target.stream.encode()), *(slot_of(b"tweet:%d" % number) for number in range(5, 40))]
    to = own_cluster.primaries[1]

    def move() -> None:
        for slot in slots:
            if own_cluster.owner_of(slot) is not to:
                own_cluster.move_slot(slot, to)

    moved = after_stores(monkeypatch, 3, move)
    app = App(settings_of(own_cluster, target))
    (report,) = await app.run()
    await app.aclose()

    assert moved
    assert own_cluster.node_of(target.stream) is to
    assert (report.acknowledged, report.retried, report.failed) == (EACH, 0, 0)
    assert pending_on(own_cluster, target) == 0
    assert len(stored_on(own_cluster)) == EACH


async def test_a_slot_in_the_middle_of_its_move_is_served_at_both_ends(own_cluster: Cluster) -> None:
    """Some keys are at the one end, some at the other: ASK, and TRYAGAIN until the keys of a script are together."""
    target = a_target(stream=name_on(0))
    given_on(own_cluster, target, *held(range(30)))
    slot = slot_of(target.stream.encode())
    app = App(settings_of(own_cluster, target, store_replicas=0))
    await app.server.call("GET", target.keys.lease)
    own_cluster.begin_move(slot, own_cluster.primaries[1])
    here = await app.server.call("EXISTS", target.stream)
    own_cluster.carry(slot, own_cluster.primaries[1])
    asked = await app.server.batch([("XLEN", target.stream), ("HSET", "h", "f", 1), ("XLEN", target.stream)])
    executed = await app.server.transaction([("XLEN", target.stream), ("XLEN", target.stream)])
    own_cluster.end_move(slot, own_cluster.primaries[1])

    (report,) = await app.run()
    await app.aclose()

    assert (here, asked, executed) == (1, [30, 1, 30], [30, 30])
    assert report.acknowledged == 30
