"""What the tests of the operations share: apps in the stand-in host."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.http.apps import OTHER, TARGET, App, env_of, serving


@pytest.fixture(scope="session")
def _one(servers: Any) -> Iterator[App]:
    with serving(env_of(servers.get("valkey-9").port)) as app:
        yield app


@pytest.fixture
def app(_one: App, embedded: Any) -> App:  # noqa: ARG001  # which empties the server
    """The app with the one target `TARGET`, on the embedded server, which is empty."""
    return _one


@pytest.fixture(scope="session")
def _two(servers: Any) -> Iterator[App]:
    targets = (
        f'[{{"stream": "{TARGET.stream}", "group": "{TARGET.group}", "min_idle_time_sec": 1}},'
        f' {{"stream": "{OTHER.stream}", "group": "{OTHER.group}", "min_idle_time_sec": 1}}]'
    )
    with serving(env_of(servers.get("valkey-9").port, RECLAIM_TARGETS=targets)) as app:
        yield app


@pytest.fixture
def two(_two: App, embedded: Any) -> App:  # noqa: ARG001  # which empties the server
    """The app with the two targets `TARGET` and `OTHER`, on the embedded server, which is empty."""
    return _two


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Starts an app of the test's own: `serve(port, NAME=value)` is a context manager."""
    return lambda port, **settings: serving(env_of(port, **settings))
