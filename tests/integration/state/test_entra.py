"""REDIS_AUTH=entra: signing in with tokens that expire, on connections that the server closes when they do."""

import asyncio
import itertools
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import RedisError

from dev.cluster import Cluster
from dev.identity import OID, IdentityEndpoint, made_token
from dev.proxy import Proxy
from reclaim import handlers
from reclaim.errors import AccessDenied, NoToken, ServerError, SettingsError, Unsuitable
from reclaim.run.report import Outcome
from reclaim.run.runner import Runner
from reclaim.settings import Settings, Target
from reclaim.state.connection import Server, connect
from reclaim.state.entra import Identity, Token, Tokens
from reclaim.state.node import TIMEOUT_SEC
from reclaim.state.slots import slot_of
from tests.cluster_support import after_stores, given_on, name_on, pending_on, settings_of, stored_on, targets_on_each
from tests.support import (
    Client,
    Endpoint,
    State,
    a_target,
    env_for,
    given,
    held,
    raw_client,
    settings_for,
    state,
    stored,
    tweet,
)

# The proxy's side of a connection that is given up in its greeting may be collected late, and asyncio then says so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TASKS = 8
TOO_MANY = 1000  # errors


@pytest.fixture(scope="module", autouse=True)
def warmed() -> None:
    """azure-identity and what its first question loads: under load that takes longer than a first token may."""
    with IdentityEndpoint() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in endpoint.environment.items():
            patch.setenv(name, value)
        Identity(None).ask()


class Door:
    """A server that takes tokens, and closes a connection whose token has expired: a proxy does that, as Azure does."""

    def __init__(self, client: Client, proxy: Proxy) -> None:
        self._client = client
        self._until: dict[bytes, float] = {}
        proxy.login_lasts_sec = lambda token: self._until.get(token, 0.0) - time.time()

    def lets_in(self, token: str, expires_at: float) -> None:
        """Let who has this token in, until it expires."""
        self._until[token.encode()] = expires_at
        self._client.execute_command("ACL", "SETUSER", OID, "on", f">{token}", "~*", "+@all")


@pytest.fixture
def guarded(server: Endpoint, client: Client, proxy: Proxy) -> Iterator[Door]:
    """The server's door; its users are gone afterwards."""
    del server
    yield Door(client, proxy)
    client.execute_command("ACL", "DELUSER", OID)


@pytest.fixture
def identity(guarded: Door, monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    """The platform's identity endpoint, whose tokens the server takes."""
    with IdentityEndpoint(2, guarded.lets_in) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        yield endpoint


@pytest.fixture
def machine(guarded: Door, monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    """A virtual machine's identity endpoint (IMDS), with no App Service around it; the server takes its tokens."""
    for name in [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_"))]:
        monkeypatch.delenv(name)
    with IdentityEndpoint(60, guarded.lets_in) as endpoint:
        for name, value in endpoint.environment_of_machine.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "prod")  # where it gives none, no developer's login is tried
        yield endpoint


@asynccontextmanager
async def signed_in(
    settings: Settings, tokens: Tokens | None = None, timeout_sec: float = TIMEOUT_SEC
) -> AsyncIterator[Server]:
    """A connected server; with tokens of the test's own where they are given."""
    server = connect(settings, timeout_sec)
    if tokens is not None:
        server._link._tokens = tokens
    try:
        yield server
    finally:
        asking = server._link._tokens._asking
        if asking is not None:  # else its thread would end in the middle of another test
            await asyncio.wait({asking}, timeout=10)
        await server.aclose()


async def refusal(proxy: Proxy) -> str:
    """What is said where a user-assigned identity gets no token."""
    async with signed_in(entra(proxy, entra_client_id="client-7")) as server:
        with pytest.raises(NoToken) as caught:
            await server.call("PING")
    return str(caught.value)


async def when(is_so: Callable[[], object]) -> None:
    """Wait until something is so."""
    while not is_so():  # noqa: ASYNC110  # what it waits for happens in other threads
        await asyncio.sleep(0.02)


async def load(server: Server, until: asyncio.Event) -> tuple[int, list[Exception]]:
    """Commands on eight tasks until the event is set, or very many fail: how many there were, and what failed."""
    errors: list[Exception] = []

    async def one(number: int) -> int:
        done = 0
        while not until.is_set() and len(errors) < TOO_MANY:
            try:
                await server.batch([("INCR", "n"), ("SET", f"k{number}", "v" * 1000)])
                done += 1
            except (RedisError, ServerError) as exc:
                errors.append(exc)
            await asyncio.sleep(0.001 * number)
        return done

    counts = await asyncio.gather(*map(one, range(TASKS)))
    return sum(counts), errors


def entra(place: Any, **changes: Any) -> Settings:
    """Settings that sign in with tokens; plain TCP to loopback is allowed."""
    return settings_for(place, auth="entra", **changes)


async def test_the_first_connection_signs_in_as_the_identity(
    identity: IdentityEndpoint, client: Client, proxy: Proxy
) -> None:
    """The user is the token's oid; a user-assigned identity is named to the endpoint."""
    async with signed_in(entra(proxy, entra_client_id="client-7")) as server:
        who = await server.call("ACL", "WHOAMI")

    assert who == OID.encode()
    assert identity.requests == [
        {"api-version": "2019-08-01", "resource": "https://redis.azure.com", "client_id": "client-7"}
    ]
    assert client.execute_command("PING") == b"PONG"


@pytest.mark.parametrize("client_id", [None, "client-7"])
async def test_a_machines_identity_signs_in_as_well(
    machine: IdentityEndpoint, client: Client, proxy: Proxy, client_id: str | None
) -> None:
    """Outside App Service, as on a virtual machine: entries are handled, and a refused token is replaced."""
    target, entries = a_target(page_size=5), held(range(20))
    given(client, target, *entries)
    async with signed_in(entra(proxy, entra_client_id=client_id)) as server:
        report = await Runner(target, server, handlers.make(server, target)).run(30)
        server._link._tokens.refuse()
        who = await server.call("ACL", "WHOAMI")

    assert (report.acknowledged, who) == (20, OID.encode())
    assert state(client, target) == State(hashes=stored(*entries), length=20)
    named = {} if client_id is None else {"client_id": client_id}
    expected = {"api-version": "2018-02-01", "resource": "https://redis.azure.com"} | named
    assert machine.requests == [expected, expected]


@pytest.mark.G5
@pytest.mark.parametrize("status", [400, 404, 410, 429, 500])
async def test_a_machines_endpoint_that_gives_none_is_asked_once_and_named(
    machine: IdentityEndpoint, proxy: Proxy, status: int
) -> None:
    """Left alone, azure-identity would ask five times again, for 25 s or 75 s, before anybody heard of it."""
    machine.status = status
    said = await refusal(proxy)

    assert "the identity client-7, https://redis.azure.com/.default, from DefaultAzureCredential: the machine" in said
    assert "no identity for you" in said
    assert "\n" not in said
    assert len(machine.requests) == 1


@pytest.mark.G5
async def test_an_import_that_takes_longer_than_an_attempt_fails_none(
    identity: IdentityEndpoint, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine importing azure-identity takes longer than one attempt may; it is done once."""
    identity.life_sec, attempt_sec, loads = 60, 1.0, list[str]()

    def load(_: Identity) -> None:
        loads.append(threading.current_thread().name)
        time.sleep(2 * attempt_sec)

    monkeypatch.setattr(Identity, "load", load)
    async with signed_in(entra(proxy), timeout_sec=attempt_sec) as server:
        answers = await asyncio.gather(*(server.call("PING") for _ in range(5)))

    assert answers == [b"PONG"] * 5
    assert loads == ["reclaim.entra"]


async def test_what_cannot_be_imported_is_no_token(
    identity: IdentityEndpoint, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment without its packages: the run's reason says which one is missing."""
    monkeypatch.setitem(sys.modules, "azure.identity", None)  # as Python marks what must not be imported
    async with signed_in(entra(proxy)) as server:
        with pytest.raises(NoToken, match=r"ModuleNotFoundError: .*azure\.identity"):
            await server.call("PING")

    assert identity.requests == []


@pytest.mark.G5
async def test_no_command_fails_while_tokens_of_the_endpoint_rotate(
    identity: IdentityEndpoint, client: Client, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight tasks, real answers of the endpoint, slow ones; the server closes whoever signs in too late."""
    monkeypatch.setattr("reclaim.state.entra.REFRESH_AT", 0.1)  # so a busy machine has seconds to spare
    identity.life_sec = 5
    identity.latency_sec = 0.2
    over = asyncio.Event()
    async with signed_in(entra(proxy)) as server:
        working = asyncio.create_task(load(server, over))
        await when(lambda: len(identity.requests) >= 7)
        over.set()
        done, errors = await working

    assert errors == []
    assert int(client.execute_command("GET", "n")) == done > 0


@pytest.mark.G5
async def test_no_command_fails_through_a_hundred_rotations(
    embedded: Endpoint, embedded_proxy: Proxy, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five tokens a second, of which each lives for two: a connection that missed eight in a row would be closed."""
    monkeypatch.setattr("reclaim.state.entra.REFRESH_AT", 0.1)
    door, over, rotations = Door(client, embedded_proxy), asyncio.Event(), list[str]()

    def ask() -> Token:
        now, token = time.time(), made_token(len(rotations))
        door.lets_in(token, now + 2)
        rotations.append(token)
        return Token(token, now, now + 2)

    try:
        async with signed_in(entra(embedded_proxy), Tokens(Identity(None), ask)) as server:
            working = asyncio.create_task(load(server, over))
            await when(lambda: len(rotations) > 100)
            over.set()
            done, errors = await working
    finally:
        client.execute_command("ACL", "DELUSER", OID)

    assert embedded.kind == "valkey-9"
    assert errors == []
    assert int(client.execute_command("GET", "n")) == done
    tokens = {command[-1] for command in embedded_proxy.commands if command[0] == b"AUTH"}
    assert len(tokens) >= 90  # a token that no batch came for is skipped


@pytest.mark.G5
@pytest.mark.parametrize("how", ["500", "slow"])
async def test_an_outage_of_the_endpoint_shorter_than_the_token_costs_nothing(
    identity: IdentityEndpoint, client: Client, proxy: Proxy, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old token is used on; when the endpoint answers again, a new one is taken."""
    monkeypatch.setattr("reclaim.state.entra.REFRESH_AT", 0.1)
    identity.life_sec = 20
    over = asyncio.Event()
    async with signed_in(entra(proxy)) as server:
        working = asyncio.create_task(load(server, over))
        await when(lambda: client.execute_command("EXISTS", "n"))
        identity.status, identity.latency_sec = (500, 0.0) if how == "500" else (500, 0.8)
        await when(lambda: len(identity.requests) >= 3)
        identity.status, identity.latency_sec = 200, 0.0
        before = proxy.count("AUTH")
        await when(lambda: proxy.count("AUTH") > before)
        over.set()
        done, errors = await working

    assert errors == []
    assert int(client.execute_command("GET", "n")) == done


async def test_without_a_token_the_error_says_whose_for_what_and_from_where(
    identity: IdentityEndpoint, proxy: Proxy
) -> None:
    """And nothing of a token, nor of the endpoint's secret."""
    identity.status = 400
    said = await refusal(proxy)

    assert "the identity client-7, https://redis.azure.com/.default, from the identity endpoint of App Service" in said
    assert "no identity for you" in said
    assert "secret" not in said


@pytest.mark.G5
async def test_an_endpoint_that_is_gone_is_an_outage(guarded: Door, proxy: Proxy, client: Client) -> None:
    """Nothing is charged: the run fails, and the next one tries again."""
    del guarded
    target = a_target(retry_attempts=1)
    given(client, target, *held(range(3)))
    before = state(client, target)

    def ask() -> Token:
        raise ConnectionRefusedError(111, "Connection refused")

    async with signed_in(entra(proxy), Tokens(Identity(None), ask)) as server:
        report = await Runner(target, server, handlers.make(server, target)).run(30)

    assert report.outcome is Outcome.FAILED
    assert "NoToken: no Entra token could be had (the system-assigned identity" in report.reason
    assert state(client, target) == before


async def test_a_token_that_the_server_refuses_is_told_and_another_one_is_asked_for(
    identity: IdentityEndpoint, client: Client, proxy: Proxy
) -> None:
    """The access policy assignment was missing; now it is there."""
    let_in, identity.given = identity.given, lambda *_: None
    proxy.login_lasts_sec = None
    async with signed_in(entra(proxy)) as server:
        with pytest.raises(AccessDenied) as caught:
            await server.call("PING")
        identity.given = let_in
        assert await server.call("PING") == b"PONG"

    assert "refused the Entra token of the system-assigned identity" in str(caught.value)
    assert "access policy assignment" in str(caught.value)
    assert "eyJ" not in str(caught.value)
    assert len(identity.requests) == 2
    assert client.execute_command("PING") == b"PONG"


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.bm9uZQ.c", "a.e30.c"])
async def test_a_token_without_the_users_name_is_told(proxy: Proxy, token: str) -> None:
    """It is no JWT, or has no oid."""

    def ask() -> Token:
        return Token(token, time.time(), time.time() + 60)

    async with signed_in(entra(proxy), Tokens(Identity(None), ask)) as server:
        with pytest.raises(NoToken, match="no claim 'oid'"):
            await server.call("PING")


@pytest.mark.G6
async def test_nothing_of_it_blocks_the_event_loop(identity: IdentityEndpoint, proxy: Proxy) -> None:
    """Every connection to the endpoint is made in another thread: whatever connects in the loop's own blocks it."""
    connected: list[int] = []
    port, loops_own = identity.port, threading.get_ident()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][1] == port:
            connected.append(threading.get_ident())

    sys.addaudithook(note)
    async with signed_in(entra(proxy)) as server:
        await server.call("PING")

    assert connected
    assert loops_own not in connected


async def test_signing_in_again_costs_no_round_trip(embedded: Endpoint, embedded_proxy: Proxy, client: Client) -> None:
    """AUTH goes ahead of the next batch, a transaction too; a rehearsal signs in before its MULTI."""
    door, numbers = Door(client, embedded_proxy), itertools.count(1)

    def ask() -> Token:
        now, token = time.time(), made_token(next(numbers))
        door.lets_in(token, now + 60)
        return Token(token, now, now + 60)

    tokens = Tokens(Identity(None), ask)
    try:
        async with signed_in(entra(embedded_proxy), tokens) as server:
            await server.call("PING")
            trips: list[int] = []
            for work in (
                server.call("SET", "a", 1),
                server.transaction([("SET", "b", 2)]),
                server.rehearse([("GET", "a")]),
            ):
                tokens._token, tokens._due_at = ask(), float("inf")
                embedded_proxy.forget()
                await work
                trips.append(embedded_proxy.round_trips)
            names = [command[0] for command in embedded_proxy.commands]
    finally:
        client.execute_command("ACL", "DELUSER", OID)

    assert embedded.kind == "valkey-9"
    assert trips == [1, 1, 2]
    assert names[:2] == [b"AUTH", b"MULTI"]


async def test_one_question_at_a_time_and_one_for_all_connections(guarded: Door, proxy: Proxy) -> None:
    """However many batches wait for the first token."""
    asked = 0

    def ask() -> Token:
        nonlocal asked
        asked += 1
        time.sleep(0.1)
        now, token = time.time(), made_token(asked)
        guarded.lets_in(token, now + 60)
        return Token(token, now, now + 60)

    async with signed_in(entra(proxy), Tokens(Identity(None), ask)) as server:
        await asyncio.gather(*(server.call("PING") for _ in range(20)))

    assert asked == 1


@asynccontextmanager
async def signed_in_on_each_node(cluster: Cluster, *targets: Target) -> AsyncIterator[tuple[Server, Callable[[], int]]]:
    """A connected cluster whose tokens live for half a second; and how often anybody has signed in."""
    clients = [raw_client(node.port) for node in cluster.nodes]
    numbers = itertools.count(1)

    def ask() -> Token:
        now, token = time.time(), made_token(next(numbers))
        for client in clients:
            client.execute_command("ACL", "SETUSER", OID, "on", f">{token}", "~*", "+@all")
        return Token(token, now, now + 0.5)

    def count() -> int:
        return sum(client.execute_command("INFO", "commandstats").count(b"cmdstat_auth") for client in clients)

    server = connect(settings_of(cluster, *targets, auth="entra"))
    server.cluster._topology._tokens = Tokens(Identity(None), ask)
    try:
        yield server, count
    finally:
        await server.aclose()
        for client in clients:
            client.execute_command("ACL", "DELUSER", OID)
            client.close()


async def test_a_cluster_is_signed_in_to_on_each_node(cluster: Cluster) -> None:
    """With each new token, while runs work on all of them."""
    targets = targets_on_each(page_size=10)
    for target in targets:
        given_on(cluster, target, *held(range(300)))

    async with signed_in_on_each_node(cluster, *targets) as (server, signed_in_count):
        runs = (Runner(target, server, handlers.make(server, target)).run(30) for target in targets)
        reports = await asyncio.gather(*runs)
        count = signed_in_count()

    assert [report.acknowledged for report in reports] == [300] * len(targets)
    assert [pending_on(cluster, target) for target in targets] == [0] * len(targets)
    assert count >= len(targets)


async def test_slots_that_move_while_tokens_rotate_cost_no_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stream's own slot and some of the hashes', in the middle of a run: nodes that answer MOVED, and new ones."""
    target = a_target(stream=name_on(0), page_size=5)
    with Cluster() as cluster:
        given_on(cluster, target, *held(range(200)))
        slots = [slot_of(target.stream.encode()), *(slot_of(b"tweet:%d" % number) for number in range(20, 60))]

        def move() -> None:
            for slot in slots:
                if cluster.owner_of(slot) is not cluster.primaries[1]:
                    cluster.move_slot(slot, cluster.primaries[1])

        moved = after_stores(monkeypatch, 3, move)
        async with signed_in_on_each_node(cluster, target) as (server, _):
            report = await Runner(target, server, handlers.make(server, target)).run(30)
        left, hashes = pending_on(cluster, target), stored_on(cluster)

    assert moved
    assert (report.acknowledged, report.retried, report.failed, left) == (200, 0, 0, 0)
    assert hashes == stored(*(tweet(number) for number in range(200)))


async def test_a_run_and_its_hashes_are_as_with_a_password(
    identity: IdentityEndpoint, client: Client, proxy: Proxy
) -> None:
    """The whole state."""
    target, entries = a_target(page_size=5), held(range(40))
    given(client, target, *entries)
    async with signed_in(entra(proxy)) as server:
        report = await Runner(target, server, handlers.make(server, target)).run(30)

    assert report.acknowledged == 40
    assert state(client, target) == State(hashes=stored(*entries), length=40)
    assert identity.requests


BAD = {
    "REDIS_PASSWORD is a password, and REDIS_AUTH is entra": {"REDIS_PASSWORD": "hunter2"},
    "REDIS_USERNAME is a user, and REDIS_AUTH is entra": {"REDIS_USERNAME": "app"},
    "REDIS_AUTH is 'entra', without TLS": {"REDIS_HOST": "cache.example.net"},
    "REDIS_AUTH is '***'": {"REDIS_AUTH": "hunter2"},
}


@pytest.mark.G9
@pytest.mark.parametrize(("problem", "changes"), BAD.items(), ids=[*map(str, range(len(BAD)))])
def test_settings_that_do_not_go_with_it_are_refused(embedded: Endpoint, problem: str, changes: dict[str, str]) -> None:
    """By name, and without the secret."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(env_for(embedded, REDIS_AUTH="entra") | changes)

    (told,) = caught.value.problems
    assert told.startswith(problem)
    assert "hunter2" not in told


async def test_a_token_is_not_sent_in_the_clear_to_a_node_elsewhere(embedded: Endpoint) -> None:
    """Plain TCP is for this machine; a cluster may announce a node that is not."""
    there = replace(entra(embedded), host="127.0.0.2")  # which is none of the names of this machine

    def ask() -> Token:
        return Token(made_token(1), time.time(), time.time() + 60)

    async with signed_in(there, Tokens(Identity(None), ask)) as server:
        with pytest.raises(Unsuitable, match="without TLS, and a token is a password"):
            await server._link._login()


@pytest.mark.G5
async def test_an_endpoint_that_asks_for_a_long_wait_is_asked_again_all_the_same(
    identity: IdentityEndpoint, proxy: Proxy
) -> None:
    """A question that waited as the endpoint says would keep all others from being asked."""
    identity.status, identity.retry_after_sec = 503, 3600
    async with signed_in(entra(proxy)) as server:
        with pytest.raises(NoToken, match="no identity for you"):
            await server.call("PING")
        identity.status = 200
        await when(lambda: server._link._tokens._clock() >= server._link._tokens._due_at)
        assert await server.call("PING") == b"PONG"


def test_a_token_is_not_sent_in_the_clear_to_a_service(embedded: Endpoint) -> None:
    """HTTP_AUDIENCE with a plain address that is not on this machine."""
    env = env_for(embedded, HANDLER="http", HTTP_AUDIENCE="api://orders")
    with pytest.raises(SettingsError, match="HTTP_URL is without TLS, and HTTP_AUDIENCE is set"):
        Settings.from_env(env | {"HTTP_URL": "http://orders.example.net/take"})
