"""Owns the memory of which alerts were told: in Redis for all instances, and in this process what Redis did not take.

An alert's marker is a Redis key with a TTL. It holds ``telling`` while an instance sends the alert, then ``told``; of a
shard's run ``told:`` and the shard's number, because another shard's run does not end what went wrong with this one.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from reclaim.shards import WHOLE, Shard
from reclaim.state.ask import Reply
from reclaim.state.connection import Server

TELLING_MS = 30_000  # for so long only one instance may tell an alert; if it dies, another may tell it afterwards
ANSWER_SEC = 2.0  # how long Redis may take to answer

_TELLING, _TOLD = b"telling", b"told"


class ToldAlerts:
    """Which alerts were told. Nothing here raises: the alert that matters most may be that Redis is away.

    While Redis does not answer, this process remembers what it tells itself, so that it tells an outage once.
    """

    def __init__(self, server: Server | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Make it; without a server this process alone remembers."""
        self._server = server
        self._clock = clock
        self._only_here: dict[bytes, tuple[float, bytes]] = {}  # markers that Redis does not have: until when, and what

    async def claim(self, marker: bytes) -> bool:
        """Whether the alert is ours to tell, for TELLING_MS: nobody has told it, and nobody is telling it."""
        left_ms = self._left_ms(marker)
        if left_ms > 0:
            await self._remember(marker, left_ms, self._only_here[marker][1])  # Redis may answer again
            return False
        try:
            return await self._call("SET", marker, _TELLING, "NX", "PX", TELLING_MS) is not None
        except Exception:  # noqa: BLE001  # whatever keeps Redis from answering, the alert is to be told
            return True

    async def remember(self, marker: bytes, for_ms: int, shard: Shard = WHOLE) -> None:
        """The alert was told of this shard's run, and is not to be told again for so long."""
        await self._remember(marker, for_ms, _TOLD if shard.is_whole else b"%b:%d" % (_TOLD, shard.index))

    async def _remember(self, marker: bytes, for_ms: int, word: bytes) -> None:
        now = self._clock()
        self._only_here = {known: one for known, one in self._only_here.items() if one[0] > now}
        self._only_here[marker] = now + for_ms / 1000, word
        with suppress(Exception):  # then it stays here
            await self._call("SET", marker, word, "PX", for_ms)
            self._only_here.pop(marker, None)

    async def forget(self, *markers: bytes) -> None:
        """These alerts may be told again."""
        for marker in markers:
            self._only_here.pop(marker, None)
        with suppress(Exception):  # the marker runs out by itself
            await self._call("DEL", *markers)

    async def is_told(self, marker: bytes, shard: Shard = WHOLE) -> bool:
        """Whether the alert was told, of a run that this shard's run may end the streak of.

        False where Redis does not answer and this process has not told it.
        """
        if self._left_ms(marker) > 0:
            return _is_of(self._only_here[marker][1], shard)
        with suppress(Exception):  # the next run asks again
            return _is_of(await self._call("GET", marker), shard)
        return False

    def _left_ms(self, marker: bytes) -> int:
        """For how long this process alone still remembers an alert."""
        until, _ = self._only_here.get(marker, (0.0, b""))
        return round(1000 * (until - self._clock()))

    async def _call(self, *command: bytes | str | int) -> Reply:
        if self._server is None:
            raise ConnectionError("there is no server to ask")
        async with asyncio.timeout(ANSWER_SEC):
            return await self._server.call(*command)


def _is_of(word: bytes | None, shard: Shard) -> bool:
    """Whether a marker that holds this says that an alert was told of the shard's own runs.

    The first shard answers for those that there are no more.
    """
    told, _, index = (word or b"").partition(b":")
    if told != _TOLD or shard.is_whole or not index.isdigit():
        return told == _TOLD
    return int(index) == shard.index or (shard.is_first and int(index) >= shard.of)
