"""What tests of a cluster share: targets in slots of our choice, and what is in the whole cluster afterwards."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from dev.cluster import PRIMARIES, Cluster
from dev.server import HOST, Server
from reclaim.settings import Settings, Target
from reclaim.state.cluster import Cluster as Link
from reclaim.state.slots import SLOTS, slot_of
from tests.support import Held, a_target, given, pending_count


def settings_of(cluster: Cluster, *targets: Target, **changes: Any) -> Settings:
    """Settings for a cluster; the address is that of its first node."""
    plain = {"host": HOST, "port": cluster.port, "targets": targets or (a_target(),), "tls": False, "cluster": True}
    return Settings(**plain | changes)


def name_on(primary: int, prefix: str = "s") -> str:
    """A name whose slot this primary serves at the start."""
    return next(
        name
        for name in (f"{prefix}{at}" for at in range(10_000))
        if slot_of(name.encode()) * PRIMARIES // SLOTS == primary
    )


def targets_on_each(**changes: Any) -> list[Target]:
    """A target on each primary."""
    return [a_target(stream=name_on(at), **changes) for at in range(PRIMARIES)]


def given_on(cluster: Cluster, target: Target, *entries: Held) -> list[bytes]:
    """Make the stream, the group and these entries where the stream belongs."""
    with cluster.client(cluster.node_of(target.stream)) as client:
        return given(client, target, *entries)


def pending_on(cluster: Cluster, target: Target) -> int:
    """How many entries of a target are pending."""
    with cluster.client(cluster.node_of(target.stream)) as client:
        return pending_count(client, target)


def stored_on(cluster: Cluster, nodes: Sequence[Server] | None = None) -> dict[bytes, dict[bytes, bytes]]:
    """Every hash called ``tweet:…``, wherever it is."""
    found: dict[bytes, dict[bytes, bytes]] = {}
    for node in cluster.primaries if nodes is None else nodes:
        with cluster.client(node) as client:
            for key in client.execute_command("KEYS", "tweet:*"):
                flat = client.execute_command("HGETALL", key)
                found[key] = dict(zip(flat[::2], flat[1::2], strict=True))
    return found


def after_stores(monkeypatch: pytest.MonkeyPatch, count: int, act: Callable[[], Any]) -> list[int]:
    """Act once, when so many batches of hashes have been sent; the result has an element then."""
    send: Callable[..., Awaitable[Any]] = Link.send
    left, done = [count], list[int]()

    async def watched(self: Link, commands: Any, **more: Any) -> Any:
        replies = await send(self, commands, **more)
        if more.get("stores"):
            left[0] -= 1
            if left[0] == 0:
                act()
                done.append(1)
        return replies

    monkeypatch.setattr(Link, "send", watched)
    return done
