"""Owns the health probe: whether the app can be used at all. It names nobody, and anybody may ask.

It is for what restarts or routes: a missing group, an open circuit and a backlog are no reason for either. However
often it is asked, it looks at Redis once in KEPT_SEC.
"""

import asyncio
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from redis.exceptions import RedisError

from reclaim.app import App
from reclaim.errors import ReclaimError

KEPT_SEC = 10.0
ANSWER_SEC = 4.0


class Probe:
    """Looks whether Redis answers, and remembers it for a while; those who ask meanwhile share one look."""

    def __init__(self, app: App, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._lock = asyncio.Lock()
        self._is_well = False
        self._until: float | None = None

    async def is_well(self) -> bool:
        """Whether Redis answered when it was last asked, KEPT_SEC ago at most."""
        async with self._lock:
            if self._until is None or self._clock() >= self._until:
                self._is_well = await self._look()
                self._until = self._clock() + KEPT_SEC
            return self._is_well

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SEC):
                await self._app.server.call("TIME")
        except (ReclaimError, RedisError, TimeoutError, OSError):
            return False
        return True


_probes: WeakKeyDictionary[App, Probe] = WeakKeyDictionary()


async def is_well(app: App) -> bool:
    """Whether the app can use Redis."""
    return await _probes.setdefault(app, Probe(app)).is_well()
