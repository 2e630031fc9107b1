"""Nothing is acknowledged before as many replicas have it as STORE_REPLICAS asks for."""

from typing import Literal

import pytest

from dev.cluster import Cluster
from dev.server import HOST, Server, available
from reclaim.app import App
from reclaim.run.report import Outcome
from reclaim.state.slots import slot_of
from tests.cluster_support import given_on, name_on, pending_on, settings_of, stored_on
from tests.support import Held, a_target, given, held, pending_count, pending_rows, raw_client, settings_for, tweet

pytestmark = [pytest.mark.anyio, pytest.mark.G1]

KIND = "redis-7.0" if "redis-7.0" in available() else "valkey-9"


def tweets_of(primary: int, count: int) -> list[int]:
    """Numbers of tweets whose hashes this primary has."""
    name = name_on(primary)
    share = slot_of(name.encode()) * 3 // 16_384
    found = (number for number in range(100_000) if slot_of(b"tweet:%d" % number) * 3 // 16_384 == share)
    return [next(found) for _ in range(count)]


async def test_what_no_replica_has_is_not_acknowledged(own_cluster: Cluster) -> None:
    """One node has lost its replica: the entries that it stores are refunded, and nothing is charged."""
    alone, whole = tweets_of(1, 20), tweets_of(2, 20)
    target = a_target(stream=name_on(0), retry_attempts=1, circuit_failures=5)
    ids = given_on(own_cluster, target, *(Held(tweet(number)) for number in alone + whole))
    app = App(settings_of(own_cluster, target))
    await app.server.call("GET", "x")  # it knows of the replica
    own_cluster.replica_of(own_cluster.primaries[1]).kill()

    (report,) = await app.reports()
    await app.aclose()

    assert (report.outcome, report.acknowledged, report.retried) == (Outcome.COMPLETED, 20, 20)
    with own_cluster.client(own_cluster.node_of(target.stream)) as client:
        rows = pending_rows(client, target)
        assert [(row[0], row[3]) for row in rows] == [(entry_id, 1) for entry_id in ids[:20]]
        assert not client.execute_command("EXISTS", target.keys.failures)


async def test_what_a_replica_has_too_late_is_not_acknowledged(own_cluster: Cluster) -> None:
    """It runs nothing of what its primary sends, for longer than we wait: no other server has the hashes."""
    numbers = tweets_of(1, 20)
    target = a_target(stream=name_on(0), retry_attempts=1)
    given_on(own_cluster, target, *(Held(tweet(number)) for number in numbers))
    primary = own_cluster.primaries[1]
    replica = own_cluster.replica_of(primary)
    app = App(settings_of(own_cluster, target))
    await app.server.call("GET", "x")
    with own_cluster.client(replica) as client:
        client.execute_command("CLIENT", "PAUSE", 1500, "ALL")  # what the primary sends arrives, and is not run
        (report,) = await app.reports()
    await app.aclose()

    assert report.acknowledged == 0
    assert pending_on(own_cluster, target) == 20


@pytest.mark.parametrize("replicas", [1, 0])
async def test_one_server_waits_for_its_replica_if_it_is_told_to(replicas: int) -> None:
    """There is none here."""
    target = a_target(retry_attempts=1)
    with Server(KIND) as server, raw_client(server.port) as client:
        given(client, target, *held(range(3)))
        app = App(settings_for(server, target, store_replicas=replicas))
        (report,) = await app.reports()
        await app.aclose()

        left = pending_count(client, target)

    assert (report.acknowledged, left) == ((0, 3) if replicas else (3, 0))
    assert not replicas or f"stored at {HOST}:{server.port}, but 0 of 1 replicas had it" in str(report.to_json())


@pytest.mark.parametrize(("replicas", "lost", "done_alone"), [("auto", 0, 20), (1, 0, 0), (0, 20, 0)])
async def test_a_failover_to_a_replica_that_is_behind_costs_only_what_nobody_waited_for(
    own_cluster: Cluster, replicas: Literal["auto"] | int, lost: int, done_alone: int
) -> None:
    """The hashes' node dies, and a replica that did not follow takes its place, alone at first."""
    target = a_target(stream=name_on(0), retry_attempts=1)
    given_on(own_cluster, target, *(Held(tweet(number)) for number in tweets_of(1, 20)))
    dead = own_cluster.primaries[1]
    promoted = own_cluster.replica_of(dead)
    app = App(settings_of(own_cluster, target, store_replicas=replicas))
    await app.server.call("GET", "x")
    own_cluster.ask(promoted, "CONFIG", "SET", "masterauth", "refused")
    own_cluster.ask(dead, "CLIENT", "KILL", "TYPE", "replica")
    (behind,) = await app.reports()
    dead.kill()
    own_cluster.until_served(but=dead)

    alone = await acknowledged_in_two_runs(app)
    dead.start()  # as the replica of what was its own
    own_cluster.until_followed(promoted)
    followed = await acknowledged_in_two_runs(app)
    await app.aclose()

    assert (behind.acknowledged, alone, followed) == (lost, done_alone, 20 - lost - done_alone)
    assert len(stored_on(own_cluster, [promoted])) == 20 - lost
    assert pending_on(own_cluster, target) == 0


async def acknowledged_in_two_runs(app: App) -> int:
    """How many entries are acknowledged; the first run learns which nodes there are, and may fail for it."""
    return sum([report.acknowledged for _ in range(2) for report in await app.reports()])
