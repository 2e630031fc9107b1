"""What the tests of the operations share: apps in the stand-in host."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.http.apps import KEY, OTHER, TARGET, App, env_of, serving
from tests.e2e.http.browser import Dashboard, browsing, program


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


@pytest.fixture(scope="module")  # while it is there, an event loop runs in the thread of the tests
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all tests of a module."""
    assert program() is not None, "CI wants a browser: apt-get install chromium"
    with browsing(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Dashboard]]:
    """Opens the dashboard of an app in a new, empty session; at the end nothing may have gone wrong in it."""
    made: list[tuple[Any, Dashboard]] = []

    def open_page(app: App, **options: Any) -> Dashboard:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB"} | options)
        context.set_default_timeout(20_000)
        dashboard = Dashboard(app, context.new_page())
        made.append((context, dashboard))
        return dashboard

    yield open_page
    for context, dashboard in made:
        context.close()
        assert dashboard.problems == []
        assert all(address.startswith((dashboard.app.base, "data:")) for address in dashboard.asked)
        assert not any(KEY in address for address in dashboard.asked)
