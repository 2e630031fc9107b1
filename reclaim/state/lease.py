"""Owns the lease that lets one run at a time work on a target."""

import asyncio
import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence

from reclaim.bounded import NAME_CHARS, cut_bytes, shortened
from reclaim.entry import readable
from reclaim.errors import describe
from reclaim.state.ask import Ask, Reply, plain, raised
from reclaim.state.connection import Server
from reclaim.state.scripts import script

logger = logging.getLogger("reclaim")

TTL_MS = 15_000
RENEW_EVERY_SEC = TTL_MS / 3000

_RENEW = script("lease_renew")
_RELEASE = script("lease_release")


def is_held(key: bytes) -> Ask[bool]:
    """Whether any run has the lease."""
    return Ask.one(("GET", key), lambda token: token is not None)


class Lease:
    """One run's lock on its target: a key with a token and a TTL (https://redis.io/docs/latest/commands/set/)."""

    def __init__(self, server: Server, key: bytes, run_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._key = key
        self._clock = clock
        self.token = f"run {run_id} on {socket.gethostname()} (process {os.getpid()}, {secrets.token_hex(4)})".encode()
        self._ours_until = math.inf  # at least until then; before the lease is taken, nobody asks
        self._is_lost = False

    @property
    def lost(self) -> bool:
        """Whether another run has the lease, or may have had it, because we did not renew it in time. This is final."""
        self._is_lost = self._is_lost or self._clock() >= self._ours_until
        return self._is_lost

    def take(self) -> Ask[str | None]:
        """Take the lease if it is free. The answer: None if it is ours now, else who has it and for how long.

        It may be asked again. The GET decides, not the SET: a SET whose reply was lost and that is sent again finds our
        own token.
        """
        asked_at = self._clock()

        def holder(replies: Sequence[Reply]) -> str | None:
            _, token, ttl_ms = raised(replies)
            if token == self.token:
                self._ours_until = asked_at + ttl_ms / 1000
                return None
            who = "another run" if token is None else shortened(readable(token), NAME_CHARS)
            return f"{who} has the lease, for {max(ttl_ms, 0) / 1000:.1f} s unless renewed"

        take = ("SET", self._key, self.token, "NX", "PX", TTL_MS)
        return Ask((take, ("GET", self._key), ("PTTL", self._key)), holder)

    async def renew(self) -> None:
        """Renew the lease for another TTL; note it as lost if it is no longer ours."""
        asked_at = self._clock()
        if await self._server.call("EVAL", _RENEW, 1, self._key, self.token, TTL_MS):
            self._ours_until = asked_at + TTL_MS / 1000
        else:
            self._is_lost = True

    async def keep(self) -> None:
        """Renew the lease again and again until cancelled; after an error try again soon."""
        wait_sec = RENEW_EVERY_SEC
        while True:
            await asyncio.sleep(wait_sec)
            try:
                await self.renew()
                wait_sec = RENEW_EVERY_SEC
            except Exception as exc:  # noqa: BLE001  # renewed again soon; `lost` says when it is too late
                wait_sec = RENEW_EVERY_SEC / 5
                logger.warning(
                    "reclaim: lease %s not renewed: %s", readable(cut_bytes(self._key, NAME_CHARS)), describe(exc)
                )

    def release(self) -> Ask[Reply]:
        """Give the lease back, if it is still ours. The answer: 1 if it was, else 0."""
        return plain("EVAL", _RELEASE, 1, self._key, self.token)
