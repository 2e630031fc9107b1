"""What all tests share: real servers, one of each kind, started when a test first asks for it and emptied before each.

A kind that is not installed here is left out of the matrix, and the header says so; where CI is set, it is an error.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.support")

from dev.cluster import KINDS as CLUSTER_KINDS  # noqa: E402  # after the rewriting is asked for
from dev.cluster import Cluster  # noqa: E402  # as above
from dev.proxy import Proxy, redis_6_0_commands  # noqa: E402  # after the rewriting is asked for
from dev.server import KINDS, Server, asked_for, available, binary  # noqa: E402  # as above
from reclaim.trace import name_in_log_lines  # noqa: E402  # as above
from tests.support import Client, Endpoint, raw_client  # noqa: E402  # as above

name_in_log_lines()  # as the app does: every line is named, bounded and can be encoded

REDIS_6_0 = "redis-6.0"  # a real one where `make servers` was run; else 7.0 behind a proxy that refuses what 6.0 lacks
EMBEDDED = KINDS[0]
IN_CI = os.environ.get("CI", "").lower() == "true"


def _matrix() -> list[str]:
    kinds = available()
    stands_in = "redis-7.0" in kinds or binary(REDIS_6_0) is not None
    return [*kinds, REDIS_6_0] if stands_in and REDIS_6_0 not in kinds else kinds


MATRIX = _matrix()
NEWEST_AND_OLDEST = [kind for kind in (EMBEDDED, REDIS_6_0) if kind in MATRIX]

# For a slow test of what the versions between do not do differently: `server` is the newest kind, then the oldest.
on_newest_and_oldest = pytest.mark.parametrize("server", NEWEST_AND_OLDEST, indirect=True)


def pytest_configure() -> None:
    """Where CI is set, stop at once if a server is missing: fewer tests would run, and nobody would notice.

    Hypothesis times no example: on a busy machine one takes as long as it takes.
    """
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")
    if IN_CI and (missing := [kind for kind in KINDS if kind not in available()]):
        raise pytest.UsageError(
            f"CI is set, and {', '.join(missing)} cannot run here; see requirements-dev.txt, .ci/run"
        )


def pytest_report_header() -> str:
    """Say which servers the tests run on, and which are missing."""
    missing = [kind for kind in (*KINDS, REDIS_6_0) if kind not in MATRIX]
    return f"servers: {', '.join(MATRIX) or 'none'}" + (
        f"; not installed here: {', '.join(missing)}" if missing else ""
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the state machine did, whichever process it ran in: a line for each kind of server, or all with -v."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    for report in reports:
        for title, did in dict(report.user_properties).items() if report.when == "call" else ():
            terminalreporter.write_line(f"{title}: {did.get('examples', 0)} examples, {did.get('steps', 0):,} steps")
            for what, times in sorted(did.items()) if terminalreporter.verbosity > 0 else ():
                terminalreporter.write_line(f"{times:>9,}  {what}")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Azure's worker runs asyncio, so the tests do."""
    return "asyncio"


class Servers:
    """The servers of this session, each started when it is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._endpoints: dict[str, Endpoint] = {}

    def get(self, kind: str) -> Endpoint:
        """The endpoint of a kind, its server empty."""
        if kind not in self._endpoints:
            self._endpoints[kind] = self._start(kind)
        endpoint = self._endpoints[kind]
        with raw_client(endpoint.server_port) as client:
            client.execute_command("FLUSHALL")
        if isinstance(endpoint.proxy, Proxy):
            endpoint.proxy.forget()
        return endpoint

    def _start(self, kind: str) -> Endpoint:
        if kind != REDIS_6_0 or binary(kind) is not None:
            server = self._stack.enter_context(Server(kind))
            return Endpoint(kind, server.port, server.port)
        server_port = self.get("redis-7.0").server_port
        proxy = self._stack.enter_context(Proxy(server_port))
        redis_6_0_commands(proxy)
        return Endpoint(kind, proxy.port, server_port, proxy)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The servers of this session; for tests that want a kind of their own choice."""
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(scope="session")
def _clusters() -> Iterator[dict[str, Cluster]]:
    """The clusters of this session, by the kind of their servers, each started when it is first asked for."""
    started: dict[str, Cluster] = {}
    yield started
    for cluster in started.values():
        cluster.close()


OF_CLUSTERS = [kind for kind in (*CLUSTER_KINDS, *asked_for()) if kind in MATRIX and not kind.startswith("redis-6")]


@pytest.fixture(params=OF_CLUSTERS)
def cluster(request: pytest.FixtureRequest, _clusters: dict[str, Cluster]) -> Cluster:
    """A cluster of three primaries, each with a replica, empty; once for each kind of server. Leave it as it was."""
    if request.param not in _clusters:
        cluster = Cluster(request.param)
        cluster.start()
        _clusters[request.param] = cluster
    _clusters[request.param].flush()
    return _clusters[request.param]


@pytest.fixture(params=MATRIX)
def server(request: pytest.FixtureRequest, servers: Servers) -> Endpoint:
    """Where to reach an empty server; once for each kind."""
    return servers.get(request.param)


@pytest.fixture
def embedded(servers: Servers) -> Endpoint:
    """Where to reach the embedded server, empty; for what does not depend on the kind."""
    return servers.get(EMBEDDED)


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the test's own for `server` (else `embedded`), past every proxy: blocking, raw replies, bytes."""
    endpoint = request.getfixturevalue("server" if "server" in request.fixturenames else "embedded")
    with raw_client(endpoint.server_port) as client:
        yield client


@pytest.fixture
def proxy(server: Endpoint) -> Iterator[Proxy]:
    """A faulty network of the test's own in front of `server`, to be given to `run` instead; once for each kind."""
    with Proxy(server.server_port) as proxy:
        if server.proxy is not None:
            redis_6_0_commands(proxy)
        yield proxy


@pytest.fixture
def embedded_proxy(embedded: Endpoint) -> Iterator[Proxy]:
    """A faulty network of the test's own in front of `embedded`."""
    with Proxy(embedded.server_port) as proxy:
        yield proxy
