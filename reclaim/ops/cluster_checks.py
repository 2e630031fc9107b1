"""Owns the doctor's look at a cluster: its primaries, their replicas, and whether each node is reached."""

from reclaim.counted import many
from reclaim.errors import said
from reclaim.ops.checks import Check, fail, ok, warn
from reclaim.settings import Settings
from reclaim.state.connection import Server
from reclaim.state.slots import SLOTS

_WITHOUT_REPLICA = "give each primary a replica, or accept that what a dead primary had is gone"


async def examine_cluster(server: Server, settings: Settings) -> list[Check]:
    """What is found out about the cluster; nothing where there is none.

    Raises:
        ServerError, redis.exceptions.RedisError: no node answers.
    """
    if server.cluster is None:
        return []
    primaries = await server.cluster.primaries()
    found = [
        fail("cluster", f"a node is not reached: {said(error)}", "see that the app reaches every node's address")
        for error in await server.cluster.unreached()
    ]
    served = server.cluster.served()
    if served < SLOTS:
        found.append(fail("cluster", f"{SLOTS - served:,} of its {SLOTS:,} slots are served by no node", "mend it"))
    alone = [str(place) for place, replicas in primaries.items() if not replicas]
    there = f"{many(len(primaries), 'primary', 'primaries')}, {many(sum(primaries.values()), 'replica')}"
    what = f"{there}; STORE_REPLICAS={settings.store_replicas}"
    if alone:
        found.append(warn("cluster", f"{what}; without a replica: {', '.join(alone)}", _WITHOUT_REPLICA))
    elif settings.store_replicas == 0:
        todo = "leave STORE_REPLICAS out: else an entry may be lost that was acknowledged before a primary died"
        found.append(warn("cluster", what, todo))
    else:
        found.append(ok("cluster", what))
    return found
