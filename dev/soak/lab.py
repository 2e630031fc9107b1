"""Owns the servers of a soak: each is started once, and emptied for each world that wants it."""

import time
from contextlib import ExitStack, suppress
from typing import Any, Self

from redis import Redis
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError

from dev.server import HOST, Server, available

PAIRS = {"valkey-9 with a replica": "valkey-9", "redis-7.0 with a replica": "redis-7.0"}
ON_DISK = "valkey-9 that restarts"
REDIS_6_0 = "redis-6.0"  # redis-7.0 behind proxies that refuse what 6.0 does not know
SYNC_SEC = 20.0

Client = Any  # a Redis client whose replies are as the server sent them


def raw_client(port: int) -> Client:
    """A blocking client that gives every reply as the server sent it."""
    client = Redis(host=HOST, port=port, protocol=2, socket_timeout=20)
    client.response_callbacks.clear()
    return client


class Lab:
    """The servers, each started when a world first asks for its kind. Used as a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._servers: dict[str, Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @staticmethod
    def kinds() -> list[str]:
        """The kinds of place that can be had here."""
        here = available()
        found = [*here, ON_DISK, *(pair for pair, kind in PAIRS.items() if kind in here)]
        return [*found, REDIS_6_0] if "redis-7.0" in here else found

    def servers(self, kind: str) -> list[Server]:
        """The server of a kind, empty; with a replica also the replica, in step with it."""
        if kind in PAIRS:
            primary, replica = (self._server(f"{PAIRS[kind]} {role}", PAIRS[kind]) for role in ("one", "two"))
            _lead(primary)
            _follow(replica, primary)
            return [primary, replica]
        if kind == ON_DISK:
            server = self._server(kind, "valkey-9", is_on_disk=True)
        else:
            server = self._server(kind, "redis-7.0" if kind == REDIS_6_0 else kind)
        _lead(server)
        return [server]

    def _server(self, name: str, kind: str, *, is_on_disk: bool = False) -> Server:
        if name not in self._servers:
            server = Server(kind, appendonly="yes", appendfsync="always") if is_on_disk else Server(kind)
            self._servers[name] = self._stack.enter_context(server)
        return self._servers[name]


def fail_over(primary: Server, replica: Server) -> bool:
    """Make the replica the primary, nothing lost; the old primary lives on as its replica. Whether that worked.

    It does not work while the replica is not in step yet.
    """
    with raw_client(primary.port) as client:
        client.execute_command("FAILOVER", "TO", HOST, replica.port, "TIMEOUT", 1000)
        while b"master_failover_state:no-failover" not in client.execute_command("INFO", "replication"):
            time.sleep(0.005)
    with raw_client(replica.port) as client:
        return b"role:master" in client.execute_command("INFO", "replication")


def _lead(server: Server) -> None:
    with raw_client(server.port) as client:
        client.execute_command("REPLICAOF", "NO", "ONE")
        client.execute_command("FLUSHALL")


def _follow(replica: Server, primary: Server) -> None:
    with raw_client(replica.port) as client:
        client.execute_command("REPLICAOF", HOST, primary.port)
    _wait_until(replica, b"master_link_status:up")


def _wait_until(server: Server, says: bytes) -> None:
    deadline = time.monotonic() + SYNC_SEC
    while time.monotonic() < deadline:
        with suppress(NotConnected), raw_client(server.port) as client:
            if says in client.execute_command("INFO", "replication"):
                return
        time.sleep(0.01)
    raise RedisError(f"the server does not say {says!r}")
