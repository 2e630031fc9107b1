"""What the run says when Redis cannot be used, and what it insists on: in plain words, with the host or the key."""

import asyncio
import errno
import os
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis.exceptions import ConnectionError as RedisConnectionError

from dev.proxy import Fault, Proxy
from dev.server import HOST, Server, available
from reclaim import handlers
from reclaim.app import App
from reclaim.errors import AccessDenied, NotTrusted, RunFailed, Unreachable
from reclaim.run.report import Outcome
from reclaim.run.runner import Runner
from reclaim.settings import Settings
from reclaim.state.connection import _exchange, connect
from tests.support import Client, Endpoint, State, a_target, given, held, raw_client, run, settings_for, state, stored

STEPS_OF_A_BATCH = 20  # of the event loop: connecting and sending, and hardly an answer yet


async def failure(settings: Settings) -> RunFailed:
    """The error that an invocation of the app ends with."""
    app = App(settings)
    try:
        with pytest.raises(RunFailed) as caught:
            await app.run()
    finally:
        await app.aclose()
    return caught.value


async def finish(settings: Settings) -> None:
    """An invocation of the app that ends well."""
    app = App(settings)
    try:
        await app.run()
    finally:
        await app.aclose()


# --- reached or not --------------------------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_fails_the_run_by_host_and_port() -> None:
    """Nobody listens at the port."""
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        port = unused.getsockname()[1]

        error = await failure(Settings(HOST, port, (a_target(),), tls=False))

    assert f"{HOST}:{port}" in str(error)
    assert isinstance(error.__cause__, Unreachable)


async def test_a_host_without_an_address_fails_the_run_by_name() -> None:
    """The name cannot be resolved."""
    error = await failure(Settings("no-such-host.invalid", 6379, (a_target(),), tls=False))

    assert "no-such-host.invalid:6379" in str(error)
    assert isinstance(error.__cause__, Unreachable)


async def test_a_server_that_speaks_no_tls_is_not_spoken_to_plainly(embedded: Endpoint, client: Client) -> None:
    """TLS is on unless it is switched off: where the server expects none, the run fails and names it."""
    target = a_target(retry_attempts=2)
    given(client, target, *held(range(3)))
    server = connect(settings_for(embedded, target, tls=True), timeout_sec=0.5)

    report = await Runner(target, server, handlers.make(server, target)).run(30)
    await server.aclose()

    assert report.outcome is Outcome.FAILED
    assert f"{HOST}:{embedded.port}" in report.reason
    assert len(state(client, target).pending) == 3


async def test_a_server_that_is_silent_fails_the_run_by_host_and_port(proxy: Proxy) -> None:
    """It accepts the connection, and never answers."""
    target = a_target(retry_attempts=2)
    proxy.when("SET", Fault.HANG, times=None)

    report = await run(proxy, target, timeout_sec=0.3)

    assert report.outcome is Outcome.FAILED
    assert f"{HOST}:{proxy.port}" in report.reason


async def test_a_batch_is_cancelled_wherever_it_stands(embedded: Endpoint) -> None:
    """At each of its waits, from connecting on: what is cancelled goes no further."""
    outcomes: list[type] = []
    for waits in range(STEPS_OF_A_BATCH):
        server = connect(settings_for(embedded))
        task = asyncio.create_task(server.batch([("PING",)]))
        for _ in range(waits):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            outcomes.append(type(outcome))
        await server.aclose()

    assert outcomes
    assert set(outcomes) == {asyncio.CancelledError}


async def test_a_connection_that_times_out_in_the_system_is_an_error(
    embedded: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ETIMEDOUT while a reply is read: redis-py makes None of it, and None is what an empty hash looks like."""
    server = connect(settings_for(embedded))
    async with server._lent() as connection:
        reader: Any = connection._reader

        async def send(_: bytes) -> None:
            reader.set_exception(TimeoutError(errno.ETIMEDOUT, "timed out"))

        monkeypatch.setattr(connection, "send_packed_command", send)
        with pytest.raises(RedisConnectionError, match="timed out"):
            await _exchange(connection, b"", 1)
        assert not connection.is_connected
    await server.aclose()


async def test_every_target_is_tried_and_every_failure_named(server: Endpoint, client: Client) -> None:
    """One target's stream is no stream: the run fails, naming it, and the other target's entries are stored."""
    good, bad = a_target(), a_target(stream="not-a-stream")
    client.execute_command("SET", bad.stream, "text")
    entries = held(range(3))
    given(client, good, *entries)

    error = await failure(settings_for(server, bad, good))

    assert "not-a-stream/g" in str(error)
    assert "WRONGTYPE" in str(error)
    assert state(client, good).hashes == stored(*entries)
    assert state(client, good).pending == {}


# --- let in or not ---------------------------------------------------------------------------------------------------


@pytest.fixture
def users(server: Endpoint, client: Client) -> Iterator[Endpoint]:
    """A server with two more users: ``app`` may do anything, ``reader`` may not claim."""
    client.execute_command("ACL", "SETUSER", "app", "on", ">right", "~*", "+@all")
    client.execute_command("ACL", "SETUSER", "reader", "on", ">right", "~*", "+@all", "-xclaim")
    yield server
    client.execute_command("ACL", "DELUSER", "app", "reader")


async def test_user_and_password_let_a_run_in(users: Endpoint, client: Client) -> None:
    """The right ones."""
    target, entries = a_target(), held(range(3))
    given(client, target, *entries)

    await finish(settings_for(users, target, username="app", password="right"))

    assert state(client, target) == State(hashes=stored(*entries), length=3)


@pytest.mark.parametrize(("username", "password"), [("app", "wr0ng"), ("nobody", "right"), (None, "wr0ng")])
async def test_a_wrong_password_fails_the_run_by_host_and_is_not_shown(
    users: Endpoint, client: Client, username: str | None, password: str
) -> None:
    """The message says where it was refused; the password itself is nowhere in it."""
    target = a_target()
    given(client, target, *held(range(3)))

    error = await failure(settings_for(users, target, username=username, password=password))

    assert f"{HOST}:{users.port}" in str(error)
    assert "password" in str(error).lower()
    assert password not in str(error)
    assert isinstance(error.__cause__, AccessDenied)
    assert len(state(client, target).pending) == 3


@pytest.mark.parametrize("kind", available())
async def test_a_missing_password_fails_the_run_by_host(kind: str) -> None:
    """The server wants a password and none is set."""
    with Server(kind, requirepass="right") as server:
        error = await failure(settings_for(server))

        assert server.address in str(error)
        assert isinstance(error.__cause__, AccessDenied)
        await finish(settings_for(server, password="right"))


async def test_a_missing_permission_fails_the_run_by_command_and_key(users: Endpoint, client: Client) -> None:
    """Who may not claim is told so; no entry pays for it, and no lease stays behind."""
    target = a_target()
    given(client, target, *held(range(3)))
    before = state(client, target)

    error = await failure(settings_for(users, target, username="reader", password="right"))

    assert "XCLAIM" in str(error).upper()
    assert f"{HOST}:{users.port}" in str(error)
    assert isinstance(error.__cause__, AccessDenied)
    assert state(client, target) == before


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the certificates of these tests."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its own certificate, for REDIS_CA_FILE."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def tls_for(authority: trustme.CA, name: str = HOST) -> ssl.SSLContext:
    """What a server needs to speak TLS under a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_certificate_of_a_trusted_authority_is_accepted(
    embedded: Endpoint, client: Client, authority: trustme.CA, ca_file: str
) -> None:
    """TLS with a private CA, from the connection to the last acknowledgement."""
    target, entries = a_target(page_size=10), held(range(50))
    given(client, target, *entries)

    with Proxy(embedded.server_port, tls=tls_for(authority)) as tls:
        await finish(settings_for(tls, target, tls=True, ca_file=ca_file))

    assert state(client, target) == State(hashes=stored(*entries), length=50)


async def test_a_certificate_of_an_unknown_authority_is_refused(embedded: Endpoint, authority: trustme.CA) -> None:
    """Without REDIS_CA_FILE the system's authorities count; the message names the host."""
    with Proxy(embedded.server_port, tls=tls_for(authority)) as tls:
        error = await failure(settings_for(tls, tls=True))

        assert f"certificate of {HOST}:{tls.port} is not trusted" in str(error)
        assert isinstance(error.__cause__, NotTrusted)
        assert tls.commands == []


async def test_a_certificate_for_another_host_is_refused(
    embedded: Endpoint, authority: trustme.CA, ca_file: str
) -> None:
    """A trusted authority is not enough: the name must be right."""
    with Proxy(embedded.server_port, tls=tls_for(authority, "other.example")) as tls:
        error = await failure(settings_for(tls, tls=True, ca_file=ca_file))

        assert f"{HOST}:{tls.port}" in str(error)
        assert isinstance(error.__cause__, NotTrusted)
        assert tls.commands == []


@pytest.mark.parametrize(
    ("version", "outcome"),
    [("TLSv1_1", Outcome.FAILED), ("TLSv1_2", Outcome.NOTHING_PENDING), ("TLSv1_3", Outcome.NOTHING_PENDING)],
)
async def test_tls_older_than_1_2_is_refused(
    embedded: Endpoint, client: Client, authority: trustme.CA, ca_file: str, version: str, outcome: Outcome
) -> None:
    """By us, also where the machine's OpenSSL would allow it."""
    anything = "ALL:@SECLEVEL=0"
    context = tls_for(authority)
    context.set_ciphers(anything)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    target = a_target(retry_attempts=1)
    given(client, target)
    with Proxy(embedded.server_port, tls=context) as tls:
        server = connect(settings_for(tls, target, tls=True, ca_file=ca_file))
        server._client.connection_pool.connection_kwargs["ssl_ciphers"] = anything

        report = await Runner(target, server, handlers.make(server, target)).run(30)
        await server.aclose()

        assert report.outcome is outcome, report.reason
        assert bool(tls.commands) == (outcome is not Outcome.FAILED)


@pytest.mark.skipif("redis-7.0" not in available() and not os.environ.get("CI"), reason="only Debian's speaks TLS")
async def test_a_redis_that_speaks_tls_itself_is_served(authority: trustme.CA, ca_file: str, tmp_path: Path) -> None:
    """Real TLS, user and password, as on Azure."""
    pem = tmp_path / "server.pem"
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(pem))
    target, entries = a_target(page_size=10), held(range(50))
    with Server("redis-7.0", tls_pem=pem) as server:
        client = raw_client(server.port, ssl=True, ssl_ca_certs=ca_file)
        with client:
            given(client, target, *entries)
            client.execute_command("ACL", "SETUSER", "app", "on", ">right", "~*", "+@all")

            await finish(settings_for(server, target, tls=True, ca_file=ca_file, username="app", password="right"))

            assert state(client, target) == State(hashes=stored(*entries), length=50)
        error = await failure(settings_for(server, target, tls=True))
    assert isinstance(error.__cause__, NotTrusted)
