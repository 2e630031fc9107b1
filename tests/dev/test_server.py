"""Servers start, keep what they are told to keep, and leave nothing behind."""

import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import trustme
from redis import Redis

from dev.server import HOST, Server, ServerError, available
from tests import conftest


def ping(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)


@pytest.fixture(params=available())
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(request.param, appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Redis]:
    with Redis(port=server.port, protocol=2) as client:
        yield client


@pytest.mark.parametrize("in_ci", [True, False])
def test_where_ci_is_set_a_server_that_is_missing_ends_the_tests(
    monkeypatch: pytest.MonkeyPatch, *, in_ci: bool
) -> None:
    """Elsewhere they run on the servers that there are."""
    monkeypatch.setattr(conftest, "IN_CI", in_ci)
    monkeypatch.setattr(conftest, "available", lambda: ["valkey-9", "redis-6.2"])

    with pytest.raises(pytest.UsageError, match=r"redis-7\.0 cannot run here") if in_ci else nullcontext():
        conftest.pytest_configure()


def test_a_server_is_of_its_kind_and_listens_on_loopback_only(server: Server, client: Redis) -> None:
    name, version = server.kind.split("-")

    assert str(client.info("server")[f"{name}_version"]).startswith(f"{version}.")
    assert client.config_get("bind") == {"bind": "127.0.0.1"}
    assert server.address == f"127.0.0.1:{server.port}"


def test_restart_and_kill_keep_the_port_and_what_was_saved(server: Server, client: Redis) -> None:
    port = server.port
    client.set("key", "kept")

    server.restart()
    assert (server.port, client.get("key")) == (port, b"kept")

    server.kill()
    with pytest.raises(ConnectionRefusedError):
        ping(port)
    server.start()
    assert (server.port, client.get("key")) == (port, b"kept")


def test_without_being_told_a_server_saves_nothing() -> None:
    with Server() as server, Redis(port=server.port, protocol=2) as client:
        client.set("key", "forgotten")
        server.restart()
        assert client.get("key") is None


def test_the_context_manager_leaves_neither_process_nor_files() -> None:
    with Server() as server:
        pid = int(Redis(port=server.port, protocol=2).info("server")["process_id"])
        assert server.directory.is_dir()

    assert not is_alive(pid)
    assert not server.directory.exists()


def test_nobody_else_gets_the_port_of_a_server_that_is_down() -> None:
    """Or a client of ours would speak to somebody else's server."""
    with Server() as server:
        server.kill()
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind((HOST, server.port))
        server.start()
        assert ping(server.port) == b"+PONG\r\n"


def test_a_server_that_cannot_start_says_why_and_is_cleaned_up() -> None:
    server = Server(maxmemory="much")
    with pytest.raises(ServerError, match="maxmemory"):
        server.start()
    server.close()

    assert not server.directory.exists()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="valkey-9"):
        Server("redis-1.0")


@pytest.mark.skipif("redis-7.0" not in available(), reason="Debian's Redis is the one that speaks TLS")
def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    pem = tmp_path / "server.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    with Server("redis-7.0", tls_pem=pem) as server:
        with Redis(port=server.port, ssl=True, ssl_ca_certs=str(tmp_path / "ca.pem"), protocol=2) as client:
            assert client.ping()
        with pytest.raises(ssl.SSLCertVerificationError), socket.create_connection(("127.0.0.1", server.port)) as plain:
            ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


@pytest.mark.skipif(not shutil.which("setpriv"), reason="only Linux ends a child at its parent's death")
def test_a_server_dies_with_the_process_that_started_it_even_when_that_is_killed() -> None:
    script = (
        "from dev.server import Server; from redis import Redis; import time; server = Server(); server.start();"
        "print(Redis(port=server.port).info('server')['process_id'], server.directory, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid, directory = parent.stdout.readline().split()
        parent.kill()

    wait_until_gone(int(pid))
    shutil.rmtree(directory)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_address_and_stops_at_a_signal(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-m", "dev.server"], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout
        port = int(command.stdout.readline().rpartition(":")[2])
        assert ping(port) == b"+PONG\r\n"
        command.send_signal(number)
        assert command.wait(10) == 0

    with pytest.raises(ConnectionRefusedError):
        ping(port)
