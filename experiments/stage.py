"""Owns what experiments share that look at a server from beside the app: a client, the app's settings, waiting."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from dev.server import HOST, Server
from experiments.hosted import Hosted, bare_env

POLL_SEC = 0.1


def client_of(server: Server) -> Any:
    """A client of redis-py's; it decodes nothing."""
    return Redis(host=HOST, port=server.port, protocol=2, socket_timeout=120)


def environment(server: Server, stream: str, group: str, **settings: str) -> dict[str, str]:
    """The app's environment: what is not given has its default, whatever our own environment says."""
    place = {"REDIS_HOST": server.address, "REDIS_TLS": "false"}
    return bare_env() | place | {"STREAM_NAME": stream, "STREAM_CONSUMER_GROUP_NAME": group} | settings


@contextmanager
def hosted(env: Mapping[str, str]) -> Iterator[Hosted]:
    """The app in the stand-in host, with its timer; it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="experiment-") as directory:
        app = Hosted(env, Path(directory) / "host.log")
        app.start()
        try:
            yield app
        finally:
            app.stop()


def wait(until: Callable[[], bool], within_sec: float, each: Callable[[], object] = lambda: None) -> bool:
    """Whether it came true in time; `each` is called at each look."""
    deadline = time.monotonic() + within_sec
    while time.monotonic() < deadline:
        each()
        if until():
            return True
        time.sleep(POLL_SEC)
    return until()
