"""Owns the way to a cluster: which node serves which slot, and what is sent again where a node said it did not run it.

A batch is divided by node: one exchange each, all at the same time. A command is sent again only after an answer that
says it was not run (MOVED, ASK, TRYAGAIN, NOSCRIPT), never after a lost connection: that is for those who asked.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from redis import exceptions as redis_errors

from reclaim.errors import ServerError, Unreachable, said
from reclaim.settings import Settings
from reclaim.state.ask import Command, Reply
from reclaim.state.node import Node, any_errors
from reclaim.state.packing import pack, pack_all
from reclaim.state.parcels import Parcels, Part, Parts, by_parcel, request_of, why_not_run
from reclaim.state.slots import key_of, slot_of
from reclaim.state.topology import Place, Topology

if TYPE_CHECKING:
    from reclaim.state.entra import Tokens

_FIRST_WAIT_SEC, _LONGEST_WAIT_SEC = 0.01, 0.2  # before what was not run is sent again, from the second time on


Told = dict[int, tuple[Place, Exception]]  # by the place of a parcel that was not run: which node says so, and why


class Cluster:
    """The nodes of a cluster, each with connections of its own."""

    def __init__(self, settings: Settings, home: bytes, timeout_sec: float, tokens: "Tokens | None" = None) -> None:
        """Make it, inside the event loop that uses it; nothing is sent yet.

        Args:
            settings: where one of the nodes is, and as whom we are there.
            home: a key; what has no key goes to its node, if nothing else in the batch has a key.
            timeout_sec: for connecting; then for one exchange with a node, anew whenever bytes move.
            tokens: what to sign in with on each node; None with a password.
        """
        self._home = slot_of(home)
        self._timeout_sec = timeout_sec
        self._topology = Topology(settings, timeout_sec, tokens)

    async def send(self, commands: Sequence[Command], *, stores: bool = False) -> list[Reply]:
        """One reply for each command. Where some of the nodes fail, their errors stand in the replies' places."""
        requests = list(map(pack, commands))
        return await self._delivered(Parcels(self._slots(commands), requests, 1, commands, stores))

    async def send_each(self, key: bytes, requests: Sequence[bytes]) -> list[Reply]:
        """One reply for each request of one command, all of which are about this key."""
        return await self._delivered(Parcels([slot_of(key)] * len(requests), list(requests)))

    async def send_to(self, name: str, commands: Sequence[Command]) -> list[Reply]:
        """One reply for each command, of the primary that is called so; the commands have no keys.

        Raises:
            redis.exceptions.ConnectionError: there is no such primary any more; and whatever the node fails with.
        """
        await self._topology.known()
        place = next((one for one in self._topology.replicas if str(one) == name), None)
        if place is None:
            raise redis_errors.ConnectionError(f"{name} serves no slots any more")
        answer = await self._exchange(place, pack_all(commands), len(commands))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def transaction(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in a MULTI; return what was said of MULTI, of each command when it was queued, and EXEC."""
        whole = [("MULTI",), *commands, ("EXEC",)]
        request = pack_all(whole)
        return await self._delivered(Parcels(self._slots(commands)[:1], [request], len(whole)))

    async def rehearse(self, commands: Sequence[Command]) -> list[Reply]:
        """Queue the commands in a MULTI on each of their nodes; see `Server.rehearse`.

        A node checks the permission before it says that the key is elsewhere: what it redirects, it would not refuse.
        """
        slots = self._slots(commands)
        replies = await self._rehearsed(commands, slots)
        if any(isinstance(reply, redis_errors.MovedError) for reply in replies):
            self._topology.doubt()
            replies = await self._rehearsed(commands, slots)
        return [b"QUEUED" if isinstance(reply, redis_errors.AskError) else reply for reply in replies]

    async def tls_version(self) -> str | None:
        """The version of TLS that connections use (``TLSv1.3``); None without TLS."""
        await self._topology.known()
        return await self._node(self._topology.places[self._home]).tls_version()

    async def primaries(self) -> dict[Place, int]:
        """The nodes that serve slots, and how many replicas each has."""
        self._topology.doubt()
        await self._topology.known()
        return dict(self._topology.replicas)

    def served(self) -> int:
        """How many slots a node serves, as far as is known."""
        return sum(place is not None for place in self._topology.places)

    async def unreached(self) -> list[Exception]:
        """What each primary failed with that does not answer."""
        places = list(await self.primaries())
        answers = await asyncio.gather(*(self._exchange(place, pack(("TIME",)), 1) for place in places))
        return [answer for answer in answers if isinstance(answer, Exception)]

    async def aclose(self) -> None:
        """Close every connection."""
        await self._topology.aclose()

    def _slots(self, commands: Sequence[Command]) -> list[int]:
        """The slot that each command goes to; one without a key goes to that of the first with a key."""
        keys = [key_of(command) for command in commands]
        if None not in keys:
            return [slot_of(key) for key in keys if key is not None]
        home = next((slot_of(key) for key in keys if key is not None), self._home)
        return [home if key is None else slot_of(key) for key in keys]

    async def _rehearsed(self, commands: Sequence[Command], slots: Sequence[int]) -> list[Reply]:
        await self._topology.known()
        parts: dict[Place | None, list[int]] = {}
        for at, slot in enumerate(slots):
            parts.setdefault(self._topology.places[slot], []).append(at)
        replies: list[Reply] = [None] * len(commands)
        for place, part in parts.items():
            answers = await self._node(place).rehearse([commands[at] for at in part])
            for at, reply in zip(part, answers, strict=True):
                replies[at] = reply
        return replies

    async def _delivered(self, parcels: Parcels) -> list[Reply]:
        """The replies to all commands, in order. What was not run is sent again for as long as a batch may take."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout_sec
        wait_sec = 0.0
        replies: list[Sequence[Reply]] = [()] * len(parcels.requests)
        await self._topology.known()
        parts = self._by_place(parcels, range(len(parcels.requests)))
        while not_run := await self._exchanged(parcels, parts, replies):
            if loop.time() + wait_sec >= until:
                break
            await asyncio.sleep(wait_sec)
            wait_sec = min(_LONGEST_WAIT_SEC, 2 * wait_sec or _FIRST_WAIT_SEC)
            parts = await self._redirected(parcels, not_run)
        return [reply for some in replies for reply in some]

    def _by_place(self, parcels: Parcels, which: Iterable[int]) -> Parts:
        places, slots = self._topology.places, parcels.slots
        parts: Parts = {}
        for at in which:
            place = places[slots[at]]
            if place not in parts:
                parts[place] = Part()
            parts[place].parcels.append(at)
        return parts

    async def _exchanged(self, parcels: Parcels, parts: Parts, replies: list[Sequence[Reply]]) -> Told:
        """Exchange each part with its node and fill in the replies; return which parcels were not run.

        Raises:
            Exception: what a node failed with, where nothing else was answered.
        """
        calls = [
            self._exchange(place, *request_of(parcels, part), stores=parcels.stores) for place, part in parts.items()
        ]
        answers = [await calls[0]] if len(calls) == 1 else await asyncio.gather(*calls)
        failed = [answer for answer in answers if isinstance(answer, Exception)]
        if len(failed) == len(answers) and not any(replies):
            raise failed[0]
        not_run: Told = {}
        for (place, part), answer in zip(parts.items(), answers, strict=True):
            if isinstance(answer, Exception):
                for at in part.parcels:
                    replies[at] = [answer] * parcels.size
                continue
            for at, reply in zip(part.parcels, by_parcel(parcels, part, answer), strict=True):
                replies[at] = reply
            if place is not None and any_errors(answer):
                not_run |= {at: (place, why) for at in part.parcels if (why := why_not_run(replies[at])) is not None}
        return not_run

    async def _exchange(
        self, place: Place | None, request: bytes, count: int, *, stores: bool = False
    ) -> list[Reply] | Exception:
        """The replies of one node, or why there are none."""
        try:
            replies = await self._node(place).send_packed(request, count, stores=stores)
        except (redis_errors.RedisError, ServerError, OSError) as exc:
            hint = "" if place is None else self._topology.hint(place)
            self._topology.failed(place)
            if hint and isinstance(exc, Unreachable | redis_errors.TimeoutError):
                return type(exc)(f"{said(exc)}{hint}")
            return exc
        if place is not None:
            self._topology.met(place)
        if any_errors(replies) and any(isinstance(reply, redis_errors.ClusterDownError) for reply in replies):
            self._topology.doubt()
        return replies

    def _node(self, place: Place | None) -> Node:
        if place is None:
            raise redis_errors.ClusterDownError("no node of the cluster serves the key's slot", "CLUSTERDOWN")
        return self._topology.node(place)

    async def _redirected(self, parcels: Parcels, not_run: Told) -> Parts:
        """Where to send what was not run, in its order."""
        for place, why in not_run.values():
            if isinstance(why, redis_errors.MovedError):
                self._topology.moved(why, place)
        await self._topology.known()  # and how many replicas the new node has
        parts: Parts = {}
        for at, (place, why) in not_run.items():
            to: Place | None = self._topology.places[parcels.slots[at]]
            if is_asked := isinstance(why, redis_errors.AskError) and not isinstance(why, redis_errors.MovedError):
                to = self._topology.asked(why, place)
            part = parts.setdefault(to, Part())
            part.parcels.append(at)
            if is_asked:
                part.asking.add(at)
            if isinstance(why, redis_errors.NoScriptError):
                parcels.requests[at] = parcels.as_eval(at) or parcels.requests[at]
        return parts
