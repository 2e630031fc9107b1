"""A failover: the address leads to another server, while the old primary lives on as a replica that refuses writes."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from dev.proxy import ErrorReply, Proxy
from dev.server import HOST, Server
from reclaim import handlers
from reclaim.run.report import Outcome
from reclaim.run.runner import Runner
from reclaim.state.connection import connect
from tests.faults import KINDS
from tests.support import (
    Client,
    Endpoint,
    State,
    a_target,
    age_all,
    given,
    held,
    raw_client,
    settings_for,
    state,
    stored,
)

pytestmark = pytest.mark.G5

ENTRIES = held(range(1, 41))
LOADING = "LOADING Redis is loading the dataset in memory"


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary and its replica, both reached at one address, as a managed service has it.

    Attributes:
        address: where both are reached, one at a time.
        old, new: a client of each server, past the address.
    """

    address: Proxy
    new_port: int
    old: Client
    new: Client

    def fail_over(self) -> None:
        """Make the replica the primary, and the primary its replica; new connections go to the new one."""
        _wait_for(self.new, b"master_link_status:up")
        self.old.execute_command("WAIT", 1, 5000)
        self.new.execute_command("REPLICAOF", "NO", "ONE")
        self.old.execute_command("REPLICAOF", HOST, self.new_port)
        self.address.server_port = self.new_port
        _wait_for(self.old, b"role:slave")


def _wait_for(client: Client, said: bytes) -> None:
    until = time.monotonic() + 20
    while said not in client.execute_command("INFO", "replication"):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two servers of each kind."""
    with ExitStack() as stack:
        old, new = (stack.enter_context(Server(request.param)) for _ in range(2))
        clients = [stack.enter_context(raw_client(server.port)) for server in (old, new)]
        clients[1].execute_command("REPLICAOF", HOST, old.port)
        _wait_for(clients[1], b"master_link_status:up")
        address = stack.enter_context(Proxy(old.port))
        yield Pair(address, new.port, *clients)


async def test_a_warm_process_finds_the_new_primary_within_the_run(pair: Pair) -> None:
    """It holds connections to the old one, which answer still. The first READONLY ends them all."""
    target = a_target(page_size=10, retry_attempts=4)
    given(pair.old, target, *ENTRIES)
    server = connect(settings_for(pair.address, target))
    runner = Runner(target, server, handlers.make(server, target))
    warm = await runner.run(30)
    given(pair.old, target, *ENTRIES)
    pair.fail_over()

    report = await runner.run(30)
    await server.aclose()

    assert warm.outcome is Outcome.COMPLETED
    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, len(ENTRIES)), report.reason
    assert state(pair.new, target) == State(hashes=stored(*ENTRIES), length=2 * len(ENTRIES))


@pytest.mark.parametrize("version_field", [None, "version"])
async def test_a_failover_in_the_middle_of_a_run_costs_no_delivery(pair: Pair, version_field: str | None) -> None:
    """READONLY comes from plain commands, from inside scripts and from an EXEC; the next run finishes what is left."""
    target = a_target(page_size=10, retry_attempts=4, hash_version_field=version_field, max_deliveries=2)
    given(pair.old, target, *ENTRIES)
    server = connect(settings_for(pair.address, target))
    runner = Runner(target, server, handlers.make(server, target))
    failover = pair.address.when("EVALSHA" if version_field else "HSET", pair.fail_over, skip=15)

    first = await runner.run(30)
    age_all(pair.new, target)
    second = await runner.run(30)
    await server.aclose()

    assert failover.hits == 1
    assert first.parked + second.parked == 0
    after = state(pair.new, target)
    assert (after.pending, after.dead) == ({}, []), (first.reason, second.reason)
    assert len(after.hashes) == len(ENTRIES)


@pytest.mark.parametrize(
    "answer",
    [
        "READONLY You can't write against a read only replica.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "CLUSTERDOWN The cluster is down",
        LOADING,
        "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't write.",
    ],
)
async def test_an_answer_of_the_wrong_server_ends_all_connections(embedded_proxy: Proxy, answer: str) -> None:
    """Those at rest at once, those at work when they come back."""
    server = connect(settings_for(embedded_proxy))
    async with server._link._lent(), server._link._lent():
        pass  # two connections at rest
    async with server._link._lent() as at_work:
        embedded_proxy.when("SET", ErrorReply(answer))
        try:
            (reply,) = await server.batch([("SET", "k", "v")])
        except Exception as exc:  # noqa: BLE001  # LOADING is raised
            reply = exc
        at_rest = [one.is_connected for one in server._link._pool._available_connections]
        assert at_work.is_connected
    (after,) = await server.batch([("SET", "k", "v")])
    await server.aclose()

    assert isinstance(reply, Exception)
    assert at_rest
    assert not any(at_rest)
    assert not at_work.is_connected
    assert after == b"OK"


async def test_an_answer_inside_a_transaction_ends_all_connections(embedded_proxy: Proxy, client: Client) -> None:
    """A script in a MULTI answers in EXEC's reply."""
    client.execute_command("SET", "text", "x")
    server = connect(settings_for(embedded_proxy))
    fail = "return redis.error_reply('READONLY You can\\'t write against a read only replica.')"

    executed = await server.transaction([("EVAL", fail, 0)])
    at_rest = [one.is_connected for one in server._link._pool._available_connections]
    await server.aclose()

    assert [type(reply).__name__ for reply in executed] == ["ReadOnlyError"]
    assert at_rest == [False]


async def test_no_batch_is_cut_because_another_one_met_the_wrong_server(embedded: Endpoint) -> None:
    """A connection is ended at rest or when it comes back, never under a batch that has begun meanwhile."""
    server = connect(settings_for(embedded))
    await asyncio.gather(*(server.call("PING") for _ in range(3)))

    _, *answers = await asyncio.gather(server._link.leave(), *(server.call("PING") for _ in range(3)))
    await server.aclose()

    assert answers == [b"PONG"] * 3


async def test_an_error_of_an_entry_ends_no_connection(embedded_proxy: Proxy) -> None:
    """It says nothing of the server."""
    server = connect(settings_for(embedded_proxy))
    embedded_proxy.when("SET", ErrorReply("WRONGTYPE Operation against a key holding the wrong kind of value"))

    await server.batch([("SET", "k", "v")])
    at_rest = [one.is_connected for one in server._link._pool._available_connections]
    await server.aclose()

    assert at_rest == [True]
