"""Owns the lease that lets one run at a time work on a target."""

import asyncio
import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from reclaim.bounded import NAME_CHARS, cut_bytes, shortened
from reclaim.entry import readable
from reclaim.errors import describe
from reclaim.settings import Target
from reclaim.shards import WHOLE
from reclaim.state.ask import Ask, Reply, plain
from reclaim.state.connection import Server
from reclaim.state.scripts import script

logger = logging.getLogger("reclaim")

TTL_MS = 15_000
RENEW_EVERY_SEC = TTL_MS / 3000

_TAKE = script("lease_take")
_RENEW = script("lease_renew")
_RELEASE = script("lease_release")


def is_held(key: bytes) -> Ask[bool]:
    """Whether any run has the lease."""
    return Ask.one(("GET", key), lambda token: token is not None)


class Lease:
    """One run's lock on its target, or on its shard: a key with a token and a TTL."""

    def __init__(
        self,
        server: Server,
        target: Target,
        run_id: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        of_replay: bool = False,
    ) -> None:
        """Make it; nothing is taken yet.

        Args:
            server: where it is.
            target: whose it is; of a shard, the shard's own.
            run_id: names the run, for people.
            clock: monotonic seconds.
            of_replay: whether it is for a replay, which has the whole target to itself, however many shards there are.
        """
        whole = replace(target, shard=WHOLE)
        shard, count = (WHOLE, 0) if of_replay else (target.shard, target.shard.of)
        self._server = server
        self._key = (whole if shard.is_whole else target).keys.lease
        self._take_from = (whole.keys.lease, whole.keys.shards)
        self._as = (-1 if shard.is_whole else shard.index, count)
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

        It may be asked again: who finds the own token has the lease.
        """
        asked_at = self._clock()

        def holder(reply: Reply) -> str | None:
            token, ttl_ms = reply
            if token == self.token:
                self._ours_until = asked_at + ttl_ms / 1000
                return None
            who = shortened(readable(token), NAME_CHARS)
            return f"{who} has the lease, for {max(ttl_ms, 0) / 1000:.1f} s unless renewed"

        return Ask.one(("EVAL", _TAKE, 2, *self._take_from, self.token, TTL_MS, *self._as), holder)

    async def name_refused(self) -> None:
        """Raise an error that names the command that the script was refused, if it was refused one.

        Raises:
            AccessDenied, Unsuitable: the server would refuse one; and whatever `Server.rehearse` raises.
        """
        key = self._key
        await self._server.name_refused([("GET", key), ("PTTL", key), ("SET", key, self.token, "PX", TTL_MS)])

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
