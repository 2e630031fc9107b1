"""Servers of a test's own, for faults that a shared one would not get over."""

from collections.abc import Iterator

import pytest

from dev.cluster import Cluster
from dev.proxy import Proxy
from dev.server import Server, available
from tests.faults import KINDS
from tests.support import Client, raw_client


@pytest.fixture(params=KINDS)
def own(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the test's own; once for each kind."""
    with Server(request.param) as server:
        yield server


@pytest.fixture
def direct(own: Server) -> Iterator[Client]:
    """A client of `own`, past every proxy."""
    with raw_client(own.port) as client:
        yield client


@pytest.fixture
def wire(own: Server) -> Iterator[Proxy]:
    """A faulty network in front of `own`."""
    with Proxy(own.port) as proxy:
        yield proxy


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster of the test's own."""
    with Cluster("redis-7.0" if "redis-7.0" in available() else "valkey-9") as cluster:
        yield cluster
