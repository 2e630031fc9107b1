"""A cluster on loopback: three primaries, each with a replica, made by hand so that it is ready within a second or two.

`python -m dev.cluster` starts one in the foreground and prints the address of a node.
"""

import argparse
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from dev.server import HOST, Server, ServerError, available, free_port

PRIMARIES = 3
SLOTS = 16_384
NODE_TIMEOUT_MS = 1000  # after so long without an answer a node counts as failed
READY_SEC = 20.0
KINDS = ("redis-7.0", "valkey-9")  # what the suite has of servers that can be a cluster: the first has TLS too


class Cluster:
    """Six servers that are one cluster. Used as a context manager it is started, and stopped at the end.

    Args:
        kind: the kind of server.
        tls_pem: as with `Server`.
        ca_file: with TLS, whose certificates the nodes trust among themselves.
        replicas: how many each primary has.
        config: directives for every node.

    Attributes:
        nodes: the servers: the primaries in the order of their slots, then a replica of each in the same order.
    """

    def __init__(
        self,
        kind: str = KINDS[0],
        *,
        tls_pem: Path | None = None,
        ca_file: str = "",
        replicas: int = 1,
        **config: str | tuple[str, ...],
    ) -> None:
        self.kind = kind
        self.tls = tls_pem is not None
        self.nodes: list[Server] = []
        self._stack = ExitStack()
        self._tls_pem = tls_pem
        self._ca_file = ca_file
        self._replicas = replicas
        self._config = config
        self._buses: dict[int, int] = {}

    @property
    def port(self) -> int:
        """The port of the first primary."""
        return self.nodes[0].port

    @property
    def primaries(self) -> list[Server]:
        """The servers that were primaries at the start."""
        return self.nodes[:PRIMARIES]

    def client(self, node: Server) -> Redis:
        """A client for one node: raw replies, bytes. Whoever asks for it closes it."""
        security: dict[str, Any] = {"ssl": True, "ssl_cert_reqs": "none"} if self.tls else {}
        client = Redis(host=HOST, port=node.port, protocol=2, socket_timeout=30, **security)
        client.response_callbacks.clear()
        return client

    def ask(self, node: Server, *command: Any) -> Any:
        """The reply of one node to one command."""
        with self.client(node) as client:
            return client.execute_command(*command)

    def node_of(self, key: bytes | str) -> Server:
        """The primary that serves a key now."""
        return self.owner_of(self.ask(self._alive(), "CLUSTER", "KEYSLOT", key))

    def owner_of(self, slot: int) -> Server:
        """The primary that serves a slot now."""
        for first, last, primary, *_ in self.ask(self._alive(), "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary[1])
        raise ServerError(f"no node serves slot {slot}")

    def id_of(self, node: Server) -> bytes:
        """A node's own ID."""
        found: bytes = self.ask(node, "CLUSTER", "MYID")
        return found

    def replica_of(self, primary: Server) -> Server:
        """The replica of a primary, as it was at the start."""
        return self.nodes[self.nodes.index(primary) + PRIMARIES]

    def start(self) -> None:
        """Start the servers, make them one cluster, and wait until every node serves and every replica follows."""
        for _ in range(PRIMARIES * (1 + self._replicas)):
            bus = free_port()
            config: dict[str, str | tuple[str, ...]] = {
                "cluster-enabled": "yes",
                "cluster-port": str(bus),
                "cluster-node-timeout": str(NODE_TIMEOUT_MS),
                "cluster-replica-validity-factor": "0",
                "repl-ping-replica-period": "1",
            }
            if self._tls_pem:
                config |= {"tls-cluster": "yes", "tls-replication": "yes", "tls-ca-cert-file": self._ca_file}
            server = self._stack.enter_context(Server(self.kind, tls_pem=self._tls_pem, **config | self._config))
            self.nodes.append(server)
            self._buses[server.port] = bus
        self._join()

    def close(self) -> None:
        """Stop the servers."""
        self._stack.close()

    def move_slot(self, slot: int, to: Server) -> None:
        """Move a slot to another primary, key by key."""
        self.begin_move(slot, to)
        self.carry(slot, to)
        self.end_move(slot, to)

    def begin_move(self, slot: int, to: Server) -> None:
        """From now on new keys of the slot are made at its new node."""
        source = self.owner_of(slot)
        self.ask(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(to))

    def carry(self, slot: int, to: Server) -> None:
        """Carry every key of the slot to its new node, one by one."""
        source = self.owner_of(slot)
        while keys := self.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1):
            self.ask(source, "MIGRATE", HOST, to.port, "", 0, 10_000, "KEYS", *keys)

    def end_move(self, slot: int, to: Server) -> None:
        """Tell every primary that the slot has moved."""
        new = self.id_of(to)
        for node in (to, *(one for one in self.primaries if one is not to)):
            self.ask(node, "CLUSTER", "SETSLOT", slot, "NODE", new)

    def until_served(self, but: Server) -> None:
        """Wait until every slot is served without this node."""
        rest = [node for node in self.nodes if node is not but]
        self._until(lambda: all(self._serves(node, but) for node in rest), "the slots are not served")

    def until_followed(self, primary: Server) -> None:
        """Wait until a replica follows this primary."""
        self._until(lambda: bool(self.ask(primary, "ROLE")[2]), "no replica follows")

    def flush(self) -> None:
        """Empty every primary."""
        for node in self.nodes:
            if self.ask(node, "ROLE")[0] == b"master":
                self.ask(node, "FLUSHALL")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _join(self) -> None:
        for at, (first, last) in enumerate(_shares()):
            self.ask(self.nodes[at], "CLUSTER", "ADDSLOTSRANGE", first, last)
        for at, node in enumerate(self.nodes):
            self.ask(node, "CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for node in self.nodes[1:]:
            self.ask(self.nodes[0], "CLUSTER", "MEET", HOST, node.port, self._buses[node.port])
        self._until(lambda: all(self._knows_all(node) for node in self.nodes), "the nodes do not know each other")
        for at in range(PRIMARIES, len(self.nodes)):
            self.ask(self.nodes[at], "CLUSTER", "REPLICATE", self.id_of(self.nodes[at % PRIMARIES]))
        self._until(lambda: all(map(self._is_ready, self.nodes)), "not every node is ready")

    def _knows_all(self, node: Server) -> bool:
        lines = self.ask(node, "CLUSTER", "NODES").splitlines()
        return len(lines) == len(self.nodes) and not any(b"handshake" in line for line in lines)

    def _is_ready(self, node: Server) -> bool:
        slots = self.ask(node, "CLUSTER", "SLOTS")
        has_all = len(slots) == PRIMARIES and all(len(row) == 3 + self._replicas for row in slots)
        role = self.ask(node, "ROLE")
        follows = role[3] == b"connected" if role[0] == b"slave" else len(role[2]) == self._replicas
        return has_all and follows and b"cluster_state:ok" in self.ask(node, "CLUSTER", "INFO")

    def _serves(self, node: Server, but: Server) -> bool:
        owners = {row[2][1] for row in self.ask(node, "CLUSTER", "SLOTS")}
        return but.port not in owners and b"cluster_state:ok" in self.ask(node, "CLUSTER", "INFO")

    def _alive(self) -> Server:
        for node in self.nodes:
            try:
                if self.ask(node, "PING") == b"PONG":
                    return node
            except RedisError:
                continue
        raise ServerError("no node of the cluster answers")

    def _until(self, is_so: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + READY_SEC
        while not is_so():
            if time.monotonic() > deadline:
                raise ServerError(f"{otherwise} after {READY_SEC:g} s: {self.nodes[0].log[-2000:]}")
            time.sleep(0.02)


def _shares() -> Iterator[tuple[int, int]]:
    """The first and the last slot of each primary."""
    for at in range(PRIMARIES):
        yield at * SLOTS // PRIMARIES, (at + 1) * SLOTS // PRIMARIES - 1


def main() -> None:
    """Start a cluster, print the address of a node, and stop it at the first signal."""
    parser = argparse.ArgumentParser(prog="python -m dev.cluster", description="Start a cluster in the foreground.")
    kinds = [kind for kind in KINDS if kind in available()]
    parser.add_argument("kind", nargs="?", default=kinds[0], choices=kinds, help="default: %(default)s")
    arguments = parser.parse_args()
    told_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told_to_stop.set())
    with Cluster(arguments.kind) as cluster:
        print(f"{HOST}:{cluster.port}", flush=True)
        told_to_stop.wait()


if __name__ == "__main__":
    main()
