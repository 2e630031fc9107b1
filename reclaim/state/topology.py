"""Owns what is known of a cluster: which node serves which slot, how many replicas it has, and the way to each node.

The cluster is asked (CLUSTER SLOTS) before the first batch, and again once there is doubt: after MOVED, CLUSTERDOWN or
an error of a connection. All who wait for it wait for one question.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from redis import exceptions as redis_errors

from reclaim.entry import readable
from reclaim.errors import AccessDenied, ServerError, Unsuitable, said
from reclaim.settings import Settings
from reclaim.state.node import Node
from reclaim.state.slots import SLOTS

if TYPE_CHECKING:
    from reclaim.state.entra import Tokens

REST_SEC = 0.1  # after an answer it is not asked again for so long: an answer is not newer than what the nodes know

_SAME_HOST = (
    None,
    b"",
    b"?",
    "",
    "?",
)  # what a node says of an address that it does not know: it is where it was asked


class Place(NamedTuple):
    """Where a node is, as the cluster announces it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Topology:
    """The nodes of one cluster.

    Attributes:
        places: by slot, the node that serves it; None where none does.
        replicas: the nodes that serve slots, and how many replicas of each are in service.
    """

    def __init__(self, settings: Settings, timeout_sec: float, tokens: "Tokens | None" = None) -> None:
        """Make it, inside the event loop that uses it; nothing is asked yet."""
        self.places: list[Place | None] = [None] * SLOTS
        self.replicas: dict[Place, int] = {}
        self._settings = settings
        self._timeout_sec = timeout_sec
        self._tokens = tokens
        self._first = Place(settings.host, settings.port)
        self._nodes: dict[Place, Node] = {}
        self._met: set[Place] = set()
        self._failed: set[Place] = set()
        self._asking: asyncio.Task[None] | None = None
        self._asked_at: float | None = None
        self._is_doubted = True

    async def known(self) -> None:
        """See to it that something is known, and that it is new if there is doubt.

        Raises:
            Unsuitable: it is no cluster, or one that shows itself as a single server.
            AccessDenied: this user may not ask.
            Exception: what the last node failed with, where none has answered; as `Node.send` raises it.
        """
        if not self._is_doubted or (
            self._asked_at is not None and asyncio.get_running_loop().time() - self._asked_at < REST_SEC
        ):
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask_any())
            self._asking.add_done_callback(lambda over: over.cancelled() or over.exception())  # who waited may be gone
        await asyncio.shield(self._asking)

    def doubt(self) -> None:
        """Have it asked anew before the next batch."""
        self._is_doubted = True

    def met(self, place: Place) -> None:
        """Note that a node has answered."""
        self._met.add(place)
        self._failed.discard(place)

    def failed(self, place: Place | None) -> None:
        """Note that a node has not answered: others are asked before it."""
        self.doubt()
        if place is not None:
            self._failed.add(place)

    def moved(self, error: redis_errors.MovedError, by: Place) -> Place:
        """Where the slot is now, as a node said."""
        self.doubt()
        place = self.places[error.slot_id] = self.asked(error, by)
        return place

    def asked(self, error: redis_errors.AskError, by: Place) -> Place:
        """Where a node wants us to ask."""
        return Place(by.host if error.host in _SAME_HOST else error.host, error.port)

    def node(self, place: Place) -> Node:
        """The connections to a node."""
        node = self._nodes.get(place)
        if node is None:
            there = replace(self._settings, host=place.host, port=place.port)
            node = self._nodes[place] = Node(there, self._timeout_sec, self._tls_name(place), self._tokens)
            node.replicas = self._wanted(place)
        return node

    def hint(self, place: Place) -> str:
        """What an error says of a node that has never been reached; else nothing."""
        if place in self._met or place == self._first:
            return ""
        return f"; the cluster at {self._settings.address} announces this address, and it has to be reachable from here"

    async def aclose(self) -> None:
        """Close every connection."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        for node in self._nodes.values():
            await node.aclose()

    def _tls_name(self, place: Place) -> str | None:
        """The name that the certificate has to have: on Azure nodes announce IPs, and certificates have names."""
        return self._settings.host if _is_ip(place.host) and not _is_ip(self._settings.host) else None

    def _wanted(self, place: Place) -> int:
        """How many replicas have to have what is stored there."""
        most = self._settings.store_replicas
        return min(1, self.replicas.get(place, 0)) if isinstance(most, str) else most

    async def _ask_any(self) -> None:
        """Ask the nodes, one after another, until one has answered."""
        places = dict.fromkeys([*self.replicas, self._first])
        for place in sorted(places, key=lambda place: place in self._failed):
            try:
                (reply,) = await self.node(place).send([("CLUSTER", "SLOTS")])
            except (redis_errors.RedisError, ServerError, OSError) as exc:
                self._failed.add(place)
                last: Exception = exc
            else:
                return await self._learn(reply, place)
        raise last

    async def _learn(self, reply: Any, by: Place) -> None:
        if isinstance(reply, Exception):
            raise self._why_not(reply) from reply
        self.met(by)
        places: list[Place | None] = [None] * SLOTS
        self.replicas = {}
        for first, last, primary, *others in reply:
            place = _place(primary, by)
            places[first : last + 1] = [place] * (last - first + 1)
            self.replicas[place] = max(len(others), self.replicas.get(place, 0))
        self.places = places
        self._is_doubted = False
        self._asked_at = asyncio.get_running_loop().time()
        for place, node in [*self._nodes.items()]:
            node.replicas = self._wanted(place)
            if place not in self.replicas and place != self._first:
                del self._nodes[place]
                await node.leave()

    def _why_not(self, error: Exception) -> Exception:
        """What it means that the slots cannot be had."""
        address = self._settings.address
        if isinstance(error, redis_errors.NoPermissionError):
            what = f"{address} does not let this user run CLUSTER SLOTS, which REDIS_CLUSTER=true needs: {said(error)}"
            return AccessDenied(what, "CLUSTER")
        if not isinstance(error, redis_errors.ResponseError):
            return error
        todo = (
            "leave REDIS_CLUSTER out: a server without cluster mode, and on Azure Managed Redis the policies "
            "EnterpriseCluster and NoCluster, take a plain client"
        )
        return Unsuitable(f"{address} does not show itself as a cluster ({said(error)})", todo)


def _place(about: Sequence[Any], by: Place) -> Place:
    """Where a node is: without an address, where the question went; without a host name, at the IP that is said beside.

    See https://redis.io/docs/latest/commands/cluster-slots/.
    """
    host, port, *more = about
    if host == b"?":
        host = next((value for name, value in _facts(more) if name == b"ip" and value not in _SAME_HOST), None)
    return Place(by.host if host in _SAME_HOST else readable(host), port)


def _facts(more: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    flat = more[1] if len(more) > 1 else []
    return zip(flat[::2], flat[1::2], strict=False)


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
