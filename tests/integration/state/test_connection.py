"""What the run says when Redis cannot be used, and what it insists on: in plain words, with the host or the key."""

import asyncio
import errno
import os
import socket
import ssl
import subprocess
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis.exceptions import ConnectionError as RedisConnectionError

from dev.proxy import ErrorReply, Fault, Proxy
from dev.server import HOST, Server, available, binary
from reclaim import handlers
from reclaim.app import App
from reclaim.errors import AccessDenied, NotTrusted, RunFailed, Unreachable, Unsuitable
from reclaim.run.report import Outcome
from reclaim.run.runner import Runner
from reclaim.settings import Settings, Target
from reclaim.state.connection import connect
from reclaim.state.node import exchange
from tests.faults import step
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
    name, args = step("take the lease")
    proxy.when(name, Fault.HANG, args=args, times=None)

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


async def test_a_batch_is_cancelled_wherever_its_handshake_stands(
    embedded: Endpoint, authority: trustme.CA, ca_file: str
) -> None:
    """Which may be under way beside our question whether TLS is spoken at all."""
    outcomes: set[type] = set()
    with Proxy(embedded.server_port, tls=tls_for(authority)) as tls:
        for part in range(12):
            server = connect(settings_for(tls, tls=True, ca_file=ca_file))
            task = asyncio.create_task(server.batch([("PING",)]))
            await asyncio.sleep(part * 0.001)
            if not task.done():
                task.cancel()
                outcomes |= {type(outcome) for outcome in await asyncio.gather(task, return_exceptions=True)}
            await server.aclose()

    assert outcomes == {asyncio.CancelledError}


async def test_a_connection_that_times_out_in_the_system_is_an_error(
    embedded: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ETIMEDOUT while a reply is read: redis-py makes None of it, and None is what an empty hash looks like."""
    server = connect(settings_for(embedded))
    async with server._link._lent() as connection:
        reader: Any = connection._reader

        async def send(_: bytes) -> None:
            reader.set_exception(TimeoutError(errno.ETIMEDOUT, "timed out"))

        monkeypatch.setattr(connection, "send_packed_command", send)
        with pytest.raises(RedisConnectionError, match="timed out"):
            await exchange(connection, b"", 1)
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


@pytest.mark.G9
@pytest.mark.parametrize("kind", available())
@pytest.mark.parametrize("username", ["app", None])
async def test_a_server_without_auth_is_told_as_that_and_the_password_is_not(kind: str, username: str | None) -> None:
    """An old Sentinel has none, and a provider may have renamed it. Redis quotes what is sent with a name it lacks."""
    with Server(kind, rename_command=("AUTH", "")) as server:
        error = await failure(settings_for(server, username=username, password="hunter2"))

    assert isinstance(error.__cause__, Unsuitable)
    assert f"{server.address} has no AUTH, with which we sign in; let REDIS_HOST name the server itself" in str(error)
    assert "hunter2" not in "".join(traceback.format_exception(error))


@pytest.mark.G9
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "no Redis: it said [b'AUTH', b'***']"),
        (b"-ERR unknown command 'AUTH', with args beginning with: 'hunter\\2' \r\n", "with args beginning with: ***"),
        (b"-ERR hunter\\2 is no word of ours\r\n", "said: ERR *** is no word of ours"),
    ],
)
async def test_a_server_that_repeats_the_password_has_it_shown_nowhere(answer: bytes | None, said: str) -> None:
    """Neither one that sends back all that it hears, nor one that quotes it and closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = await reader.read(1000)
        writer.write(answer or heard)
        if not answer:
            await reader.read()
        writer.close()

    listener = await asyncio.start_server(serve, HOST, 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        server = connect(Settings(HOST, port, (a_target(),), tls=False, password="hunter\\2"))
        with pytest.raises(Unreachable) as caught:
            await server.call("PING")
        await server.aclose()

    assert said in str(caught.value)
    assert "hunter" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("kind", available())
async def test_a_missing_password_fails_the_run_by_host(kind: str) -> None:
    """The server wants a password and none is set."""
    with Server(kind, requirepass="right") as server:
        error = await failure(settings_for(server))

        assert server.address in str(error)
        assert isinstance(error.__cause__, AccessDenied)
        await finish(settings_for(server, a_target(missing_ok=True), password="right"))


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


@pytest.mark.parametrize("kind", available())
async def test_who_may_run_neither_scripts_nor_multi_is_told_of_the_scripts(kind: str) -> None:
    """With MULTI we would ask what else is missing. Who may not run it is told what we know, and where to look."""
    with Server(kind) as server, raw_client(server.port) as client:
        client.execute_command("ACL", "SETUSER", "few", "on", ">right", "~*", "+@all", "-eval", "-multi")
        error = await failure(settings_for(server, username="few", password="right"))

    assert isinstance(error.__cause__, AccessDenied)
    assert f"{server.address} does not let this user run EVAL on '{{s}}:reclaim:g:lease'" in str(error)
    assert str(error).endswith("the doctor lists all that the user needs")


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


async def test_the_file_of_trusted_authorities_may_change(
    embedded: Endpoint, authority: trustme.CA, tmp_path: Path
) -> None:
    """All connections share what was read of it; after a certificate was refused it is read again."""
    ca_file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca_file)
    with Proxy(embedded.server_port, tls=tls_for(authority)) as tls:
        server = connect(settings_for(tls, tls=True, ca_file=str(ca_file)))
        try:
            with pytest.raises(NotTrusted):
                await server.call("PING")
            authority.cert_pem.write_to_path(ca_file)

            assert await server.call("PING") == b"PONG"
        finally:
            await server.aclose()


@pytest.mark.G9
@pytest.mark.parametrize("left", [None, "no certificate"])
async def test_a_file_of_trusted_authorities_that_is_gone_is_named_once_it_is_needed(
    embedded: Endpoint, authority: trustme.CA, tmp_path: Path, left: str | None
) -> None:
    """What was read of it serves until a connection fails; then the file is read again, and the error says which."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    with Proxy(embedded.server_port, tls=tls_for(authority)) as tls:
        server = connect(settings_for(tls, tls=True, ca_file=str(ca_file)))
        try:
            await server.call("PING")
            ca_file.unlink() if left is None else ca_file.write_text(left)
            answers = await asyncio.gather(*(server.call("PING") for _ in range(5)))
            tls.refuse()
            tls.cut()
            with suppress(RedisConnectionError, Unreachable):  # it may not have heard yet that they are closed
                await server.call("PING")
            with pytest.raises(Unreachable):
                await server.call("PING")
            tls.accept()
            with pytest.raises(NotTrusted) as caught:
                await server.call("PING")
            authority.cert_pem.write_to_path(ca_file)
            again = await server.call("PING")
        finally:
            await server.aclose()

    assert answers == [b"PONG"] * 5
    assert f"REDIS_CA_FILE is '{ca_file}', which cannot be used: " in str(caught.value)
    assert again == b"PONG"


async def test_trusted_certificates_are_loaded_once_for_all_connections(
    embedded: Endpoint, authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To load those of the system takes 20 ms, in which the loop does nothing else."""
    loaded: list[object] = []
    load = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda *a, **k: loaded.append(1) or load(*a, **k))
    with Proxy(embedded.server_port, tls=tls_for(authority)) as tls:
        server = connect(settings_for(tls, tls=True, ca_file=ca_file))
        try:
            connections = set(await asyncio.gather(*(server.call("CLIENT", "ID") for _ in range(5))))
        finally:
            await server.aclose()

    assert (len(connections), len(loaded)) == (5, 1)


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
        server._link._pool.connection_kwargs["ssl_ciphers"] = anything

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


# --- what is met there instead ---------------------------------------------------------------------------------------


async def test_tls_to_a_server_without_it_is_told_within_one_timeout(embedded: Endpoint, client: Client) -> None:
    """Else both sides wait for each other until a timeout, which says less. It is not tried again: no retry helps."""
    target = a_target()
    given(client, target, *held(range(3)))

    error = await failure(settings_for(embedded, target, tls=True))

    assert isinstance(error.__cause__, Unsuitable)
    assert f"{HOST}:{embedded.port} speaks without TLS, and we speak TLS; set REDIS_TLS=false" in str(error)
    assert len(state(client, target).pending) == 3


async def test_tls_to_a_server_that_wants_a_password_is_told_too() -> None:
    """It answers our question, which comes without a password, with an error."""
    with Server("valkey-9", requirepass="right") as server:
        error = await failure(settings_for(server, tls=True, password="right"))

    assert "speaks without TLS" in str(error)


async def test_a_slow_handshake_is_waited_for(embedded: Endpoint, authority: trustme.CA, ca_file: str) -> None:
    """A server that speaks TLS, and takes longer than after which it is asked whether it speaks plainly."""
    with Proxy(embedded.server_port, tls=tls_for(authority)) as tls, _late(tls.port, by_sec=1.5) as late_port:
        server = connect(replace(settings_for(tls, tls=True, ca_file=ca_file), port=late_port))
        answer = await server.call("PING")
        await server.aclose()

    assert answer == b"PONG"


@contextmanager
def _late(port: int, by_sec: float) -> Iterator[int]:
    """A port that leads to another one, and passes nothing on for the first while of each connection."""

    def serve(near: socket.socket) -> None:
        time.sleep(by_sec)
        with near, socket.create_connection((HOST, port)) as far:
            back = threading.Thread(target=pump, args=(far, near))
            back.start()
            pump(near, far)
            back.join()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):  # it is closed at the end
            while True:
                serve(listener.accept()[0])

    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


async def test_no_tls_to_a_server_with_it_is_told(embedded: Endpoint, authority: trustme.CA) -> None:
    """Whoever's certificate it has."""
    with Proxy(embedded.server_port, tls=tls_for(authority)) as tls:
        error = await failure(settings_for(tls))

        assert isinstance(error.__cause__, Unsuitable)
        assert f"{HOST}:{tls.port} speaks TLS, and we speak without it; set REDIS_TLS=true" in str(error)


@pytest.mark.skipif("redis-7.0" not in available() and not os.environ.get("CI"), reason="only Debian's speaks TLS")
async def test_no_tls_to_a_redis_with_it_is_told(authority: trustme.CA, tmp_path: Path) -> None:
    """It closes the connection without a word."""
    pem = tmp_path / "server.pem"
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(pem))
    with Server("redis-7.0", tls_pem=pem) as server:
        error = await failure(settings_for(server, password="right"))

    assert "speaks TLS, and we speak without it; set REDIS_TLS=true" in str(error)


@pytest.mark.parametrize("kind", available())
async def test_the_last_words_of_a_server_that_closes_are_what_the_person_reads(kind: str) -> None:
    """It has all the clients that it may have."""
    with Server(kind, maxclients="1") as server, raw_client(server.port) as client:
        client.execute_command("PING")

        error = await failure(settings_for(server, a_target(retry_attempts=1)))

    assert f"no connection to {server.address}: " in str(error)
    assert "max number of clients reached" in str(error)


@pytest.mark.parametrize("words", [b"-DENIED Redis is running in protected mode\r\n", b"-ERR Protocol error\r\n"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_last_words_are_read_whenever_they_come(words: bytes, *, at_once: bool) -> None:
    """Before we have said anything, and after."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not at_once:
            await reader.read(10)
        writer.write(words)
        writer.close()

    listener = await asyncio.start_server(serve, HOST, 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        server = connect(Settings(HOST, port, (a_target(),), tls=False))
        with pytest.raises(Unreachable, match=words.decode().strip().split(" ", 1)[1]):
            await server.call("PING")
        await server.aclose()


async def test_last_words_on_a_connection_that_has_worked_are_read() -> None:
    """A request that is too large for the server, say. The words are no reply, so they are no error of an entry."""
    with Server("valkey-9", proto_max_bulk_len="1mb") as own:
        server = connect(settings_for(own))
        await server.call("PING")
        with pytest.raises(RedisConnectionError, match="closed the connection and said: ERR Protocol error: inv"):
            await server.batch([("SET", "k", b"x" * 2**21), ("PING",)])
        await server.aclose()


@contextmanager
def sentinel(folder: Path) -> Iterator[int]:
    """The port of a Sentinel, which has nobody to watch."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    config = folder / "sentinel.conf"
    config.write_text(f"port {port}\nbind {HOST}\ndir {folder}\n")
    program = binary("redis-7.0")
    assert program is not None
    process = subprocess.Popen([program, config, "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection((HOST, port)):
                break
            time.sleep(0.01)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif("redis-7.0" not in available() and not os.environ.get("CI"), reason="needs Debian's redis-server")
async def test_a_sentinel_is_told_as_what_it_is(tmp_path: Path) -> None:
    """It knows where the data is, and has none."""
    with sentinel(tmp_path) as port:
        error = await failure(Settings(HOST, port, (a_target(),), tls=False))

    assert isinstance(error.__cause__, Unsuitable)
    assert f"{HOST}:{port} is a Sentinel, not a Redis that holds data; let REDIS_HOST name the primary" in str(error)


@pytest.mark.parametrize("command", ["EVAL", "XCLAIM"])
@pytest.mark.parametrize("kind", available())
async def test_a_server_without_a_command_is_told_as_that(kind: str, command: str) -> None:
    """Some providers rename commands. Nothing is tried twice."""
    target = a_target()
    with Server(kind, rename_command=(command, "")) as server, raw_client(server.port) as client:
        given_without_claims(client, target)
        error = await failure(settings_for(server, target))
        pending = client.execute_command("XPENDING", "s", "g", "-", "+", 10)

    said = "runs no scripts, and we cannot do without" if command == "EVAL" else "has no XCLAIM, and we cannot do with"
    assert said in str(error)
    assert [row[1] for row in pending] == [b"worker"] * 3, "nothing was claimed"


def given_without_claims(client: Client, target: Target) -> None:
    """Three entries that a consumer has had for longer than the target's least idle time."""
    client.execute_command("XGROUP", "CREATE", target.stream, target.group, "0", "MKSTREAM")
    for entry in held(range(3)):
        client.execute_command("XADD", target.stream, "*", *entry.fields)
    client.execute_command("XREADGROUP", "GROUP", target.group, "worker", "STREAMS", target.stream, ">")
    time.sleep(target.min_idle_ms / 1000 + 0.01)


async def test_a_node_of_a_cluster_is_told_as_that(embedded_proxy: Proxy, client: Client) -> None:
    """The key is on another node."""
    given(client, a_target(), *held(range(3)))
    embedded_proxy.when("XPENDING", ErrorReply("MOVED 105 10.0.0.7:6379"), times=None)

    error = await failure(settings_for(embedded_proxy))

    assert isinstance(error.__cause__, Unsuitable)
    assert "is a node of a cluster, and the key is on another node (slot 105 is at 10.0.0.7:6379); set " in str(error)


# --- where and in which database -------------------------------------------------------------------------------------


@pytest.mark.G9
async def test_another_database_is_worked_in_and_no_other(server: Endpoint, client: Client) -> None:
    """Also on connections that are made anew: another team has a stream of the same name in database 0."""
    target, entries = a_target(), held(range(3))
    given(client, target, *entries)
    theirs = state(client, target)
    with raw_client(server.server_port, db=7) as ours:
        given(ours, target, *entries)
        connection = connect(settings_for(server, target, db=7))
        runner = Runner(target, connection, handlers.make(connection, target))
        await runner.run(30)
        await connection._link._pool.disconnect()
        given(ours, target, *entries)
        await runner.run(30)
        await connection.aclose()

        assert state(ours, target) == State(hashes=stored(*entries), length=6)
    assert state(client, target) == theirs


async def test_a_database_that_is_not_there_is_told_by_its_setting(embedded: Endpoint) -> None:
    """A server has 16 unless it is told otherwise. The connection is not used for database 0 instead."""
    server = connect(settings_for(embedded, db=99))
    for _ in range(2):
        with pytest.raises(Unsuitable, match=r"has no database 99 for us: .*; REDIS_DB \(or the database in"):
            await server.call("SET", "k", "v")
    await server.aclose()


@pytest.mark.parametrize("login", ["", ":right@", "app:right@"])
async def test_a_unix_socket_is_spoken_to(login: str, tmp_path: Path) -> None:
    """A server that listens there and nowhere else."""
    path = tmp_path / "redis.sock"
    config = {"requirepass": "right"} if login else {}
    with Server("valkey-9", unixsocket=str(path), **config) as server:
        with raw_client(server.port, password="right" if login else None) as client:
            client.execute_command("ACL", "SETUSER", "app", "on", ">right", "~*", "+@all")
        names = {"STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}
        connection = connect(Settings.from_env(names | {"REDIS_URL": f"unix://{login}{path}?db=1"}))
        await connection.call("SET", "k", "v")
        await connection.aclose()
        with raw_client(server.port, password="right" if login else None, db=1) as client:
            assert client.execute_command("GET", "k") == b"v"


@pytest.mark.parametrize(
    ("host", "why"), [("127.0.0.1", "Connection refused"), ("nowhere.invalid", "(Temporary failure|Name or).+")]
)
async def test_an_address_is_said_once_with_the_systems_own_word(host: str, why: str) -> None:
    """redis-py and asyncio say it again, with numbers."""
    server = connect(Settings(host, 1, (a_target(),), tls=False))

    with pytest.raises(Unreachable, match=rf"^no connection to {host}:1: {why}$"):
        await server.call("PING")
    await server.aclose()


async def test_a_unix_socket_that_is_not_there_is_told_by_its_path() -> None:
    server = connect(Settings("", 0, (a_target(),), "/nowhere/redis.sock", tls=False))

    with pytest.raises(Unreachable, match=r"no connection to unix:///nowhere/redis\.sock: No such file or directory$"):
        await server.call("PING")
    await server.aclose()
