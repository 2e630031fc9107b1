"""Owns the timer's part of the fan-out: which targets it passes on to other instances, and which it runs itself.

A target has work if entries are pending, no run has its lease, no message for it waits in the queue, and its circuit
lets a run in. A target that is at work, or whose message waits, is left alone. Any other target gets an ordinary run
from the timer, which costs two round trips: it notices what looking does not, such as a group that is gone.
"""

import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from reclaim.errors import ServerError, describe
from reclaim.fan_out import MOST_MESSAGES, Message
from reclaim.retry import Retries
from reclaim.settings import Target
from reclaim.state.ask import Ask
from reclaim.state.circuit import Circuit, CircuitState, State
from reclaim.state.connection import Server
from reclaim.state.lease import is_held
from reclaim.state.pending import PendingList, Summary
from reclaim.state.waiting_mark import WaitingMark
from reclaim.times import Deadline

logger = logging.getLogger("reclaim")

AT_ONCE = 100  # targets that one round trip looks at
ATTEMPTS, PATIENCE_SEC, LONGEST_DELAY_SEC = 3, 10.0, 0.5


Place = tuple[str, int]  # a target's name and the number of its shard


def place_of(target: Target) -> Place:
    """The place of a target, or of one of its shards."""
    return target.name, target.shard.index


@dataclass(frozen=True, slots=True)
class Shared:
    """How a tick's targets are shared out.

    Attributes:
        work: the targets that have work, those whose oldest entry has been idle longest first.
        own: the targets that the timer runs itself.
    """

    work: tuple[Place, ...]
    own: frozenset[Place]


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look saw of a target: each an answer, or the error in its place."""

    pending: Summary | Exception
    oldest_idle_ms: int | Exception
    circuit: CircuitState | Exception
    is_at_work: bool | Exception
    is_waiting: bool | Exception

    @property
    def is_left_alone(self) -> bool:
        return self.is_at_work is True or self.is_waiting is True

    @property
    def has_work(self) -> bool:
        """Whether it is certain: what a look could not see, an ordinary run reports."""
        if not isinstance(self.pending, Summary) or not isinstance(self.circuit, CircuitState):
            return False
        return self.pending.count > 0 and _lets_in(self.circuit)


def _lets_in(circuit: CircuitState) -> bool:
    """Whether a run that has the lease may work, or probe."""
    return circuit.wait_sec == 0 and (circuit.state is State.CLOSED or circuit.seconds_left == 0)


class FanOut:
    """Shares out the targets of one app: each of their shards for itself."""

    def __init__(self, server: Server, targets: Sequence[Target]) -> None:
        self._server = server
        self._looks = {place_of(target): _asks(server, target) for target in targets}
        self._marks = {place_of(target): WaitingMark(target) for target in targets}

    async def share(self) -> Shared:
        """Look at every target. Where Redis does not answer, the timer's own run reports it."""
        places = list(self._looks)
        seen: dict[Place, _Look] = {}
        for at in range(0, len(places), AT_ONCE):
            seen |= await self._look(places[at : at + AT_ONCE])
        work = [place for place, look in seen.items() if look.has_work and not look.is_left_alone]
        alone = {place for place, look in seen.items() if look.is_left_alone}
        work.sort(key=lambda place: _idle_ms(seen[place]), reverse=True)
        return Shared(tuple(work), frozenset(places) - alone - frozenset(work))

    async def enqueue(self, work: Sequence[Place]) -> list[str]:
        """Mark the first MOST_MESSAGES of these targets, and return a message for each that nobody else has marked."""
        messages = [Message(*place, secrets.token_hex(8)) for place in work[:MOST_MESSAGES]]
        chosen: list[str] = []
        for at in range(0, len(messages), AT_ONCE):
            some = messages[at : at + AT_ONCE]
            asks = [self._marks[message.target, message.shard].set(message.mark).or_error() for message in some]
            answers = await self._ask(asks)
            chosen += [message.text for message, ours in zip(some, answers, strict=False) if ours is True]
        return chosen

    async def _look(self, places: Sequence[Place]) -> Mapping[Place, _Look]:
        asks = [ask for place in places for ask in self._looks[place]]
        answers = iter(await self._ask(asks))
        return dict(zip(places, _looks(answers), strict=False))

    async def _ask(self, asks: Sequence[Ask[Any]]) -> Sequence[Any]:
        """The answers; none where Redis cannot be used, which is logged."""
        retries, deadline = Retries(ATTEMPTS, LONGEST_DELAY_SEC), Deadline(PATIENCE_SEC, time.monotonic)
        try:
            return await retries.call(deadline, partial(self._server.ask, *asks))
        except (ServerError, RedisError, TimeoutError) as exc:
            logger.warning("reclaim: looking which targets have work: %s", describe(exc))
            return ()


def _asks(server: Server, target: Target) -> tuple[Ask[Any], ...]:
    pending = PendingList(server, target)
    asks: tuple[Ask[Any], ...] = (
        pending.count(),
        pending.oldest_idle_ms(),
        Circuit(server, target).read(),
        is_held(target.keys.lease),
        WaitingMark(target).is_set(),
    )
    return tuple(ask.or_error() for ask in asks)


def _looks(answers: Iterator[Any]) -> Iterator[_Look]:
    """The answers, five to a look."""
    for five in zip(*[answers] * 5, strict=True):
        yield _Look(*five)


def _idle_ms(look: _Look) -> int:
    return look.oldest_idle_ms if isinstance(look.oldest_idle_ms, int) else 0
