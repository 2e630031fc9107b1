"""Owns the question which consumers that entries were taken from are alive: they may be at work on these entries."""

import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from redis.exceptions import RedisError

from reclaim.bounded import first_few
from reclaim.errors import ServerError
from reclaim.names import written
from reclaim.settings import Target
from reclaim.state.connection import Server
from reclaim.state.consumers import consumers_of

logger = logging.getLogger("reclaim")


class AliveConsumers:
    """What is known of one group's consumers from run to run.

    A consumer that works for long without asking for more looks like a dead one: its idle time is that of its entry. So
    each run asks about the consumers of the run before too: whoever was active since is alive.
    """

    def __init__(self, server: Server, target: Target, clock: Callable[[], float]) -> None:
        self._server = server
        self._target = target
        self._min_idle_ms = target.min_idle_ms
        self._clock = clock
        self._taken_at: Mapping[bytes, float] = {}  # the consumers of the last run that claimed, and when it ended
        self._told: AbstractSet[bytes] = frozenset()

    async def among(self, taken_from: AbstractSet[bytes]) -> list[str]:
        """The names of those that are alive, of the consumers that a run took entries from, and of the run before.

        The log names them where it has not named them last time.
        """
        now_sec = self._clock()
        others = (name for name in taken_from if name and not self._target.is_ours(name))
        taken_at = dict.fromkeys(others, now_sec)
        if not taken_at:
            return []
        asked, self._taken_at = {**self._taken_at, **taken_at}, taken_at
        idle_ms = await self._idle_ms(asked.keys())
        since_ms = {name: max(self._min_idle_ms, 1000 * (now_sec - asked[name])) for name in idle_ms}
        alive = frozenset(name for name, idle in idle_ms.items() if idle < since_ms[name])
        names = sorted(map(written, alive))
        if not alive <= self._told:
            self._tell(names)
            self._told = alive
        return names

    def _tell(self, names: list[str]) -> None:
        logger.info(
            "reclaim %s: entries were taken from consumers that are alive: %s. If they were still at work on them,"
            " MIN_IDLE_TIME_SEC (%g) is less than they need for an entry",
            self._target.name,
            first_few(names, len(names)),
            self._min_idle_ms / 1000,
        )

    async def _idle_ms(self, consumers: AbstractSet[bytes]) -> Mapping[bytes, int]:
        """How long they have been idle; not known of a group with so many consumers that it takes the server long."""
        try:
            found = await consumers_of(self._server, self._target)
        except (ServerError, RedisError):  # nothing depends on it
            return {}
        return {one.name: one.idle_ms for one in found or () if one.name in consumers}
