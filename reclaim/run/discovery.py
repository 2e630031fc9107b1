"""Owns the targets that patterns find (RECLAIM_TARGETS): which there are, and which of them have work.

There may be ten thousand, nearly all of them idle. So a found target gets no run of its own while nothing is pending
there: it is looked at together with 499 others, in one round trip. A run is made for it when entries are pending, when
its circuit is not closed, or when entries were pending at the last run and its group is gone, which that run has to
count (G2).
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from reclaim.bounded import first_few
from reclaim.counted import many
from reclaim.errors import ServerError, describe
from reclaim.keys import is_ours
from reclaim.names import name_bytes, written
from reclaim.retry import Retries
from reclaim.settings import Pattern, Settings, Target
from reclaim.state.ask import Ask
from reclaim.state.connection import Server
from reclaim.state.pending import PendingList, Summary
from reclaim.state.streams import FoundStreams, Pair
from reclaim.times import Deadline

logger = logging.getLogger("reclaim")

AT_ONCE = 500  # targets that one round trip looks at
MOST_AT_ONCE = 500  # found targets that one tick runs; the oldest first, the others at the next tick
ATTEMPTS, PATIENCE_SEC, LONGEST_DELAY_SEC = 3, 10.0, 0.5


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look saw of a found target: each an answer, or the error in its place."""

    pending: Summary | Exception
    oldest_idle_ms: int | Exception
    was_pending: int | Exception
    circuit: bytes | Exception | None

    @property
    def is_gone(self) -> bool:
        """Whether the stream or the group is not there any more."""
        return isinstance(self.pending, Summary) and self.pending.group_missing is not None

    @property
    def has_work(self) -> bool:
        """Whether it needs a run: what a look could not see, the run reports."""
        if not isinstance(self.pending, Summary) or self.circuit not in {None, b"closed"}:
            return True
        return self.pending.count > 0 or (self.is_gone and self.was_pending != 0)


@dataclass(frozen=True, slots=True)
class Looked:
    """What one tick saw of all the targets that patterns have found.

    Attributes:
        idle: how many need no run.
        with_work: how many need one.
        run_now: how many of these the tick runs.
        oldest_idle_ms: how long the pending entry with the smallest ID has been idle, where that is longest.
    """

    idle: int
    with_work: int
    run_now: int
    oldest_idle_ms: int


class Discovery:
    """What the patterns of one app have found. It remembers it from tick to tick, and asks Redis only what changed.

    Attributes:
        looked: what the last tick saw; None where it saw nothing.
    """

    def __init__(self, settings: Settings, server: Server) -> None:
        self._patterns = sorted(settings.patterns, key=lambda one: -one.weight)
        self._every_ms = round(1000 * settings.discover_sec)
        self._server = server
        self._named = {(target.keys.stream, target.group_bytes) for target in settings.targets}
        self._leases = {target.keys.lease for target in settings.targets}
        forwarded = [*settings.targets, *(one.template for one in settings.patterns)]
        self._forwarded_to = {one.forward_stream_bytes for one in forwarded if one.handler == "forward"}
        self._streams = FoundStreams(server, self._is_wanted, lambda pair: self._pattern(pair) is not None)
        self._version: int | None = None
        self._pairs: dict[Pair, int] = {}
        self._targets: dict[str, Target] = {}
        self._asks: dict[str, tuple[Ask[Any], ...]] = {}
        self._told_of_nothing: set[str] = set()
        self.looked: Looked | None = None

    def target(self, name: str) -> Target | None:
        """The target of this name, whether or not it is there; None where no pattern matches it."""
        if name in self._targets:
            return self._targets[name]
        for at, char in enumerate(name):
            if char == "/":
                target = self._of((_bytes(name[:at]), _bytes(name[at + 1 :])))
                if target is not None and target.name == name:
                    return target
        return None

    async def with_work(self) -> list[Target]:
        """One tick: go on with the search, look at all that was found, and return the targets that need a run.

        Those whose oldest entry has been idle longest come first; at most MOST_AT_ONCE. Where Redis does not answer,
        nothing is returned, and the log says it: the named targets' runs report it, and the next tick looks again.
        """
        self.looked = None
        try:
            await self._search()
            looks = await self._look(list(self._targets))
        except (ServerError, RedisError, TimeoutError, OSError) as exc:
            logger.warning("reclaim: the targets that patterns find could not be looked at: %s", describe(exc))
            return []
        work = [(name, look) for name, look in looks.items() if look.has_work]
        work.sort(key=lambda one: -_idle_ms(one[1]))
        chosen = [self._targets[name] for name, _ in work[:MOST_AT_ONCE]]
        what = "reclaim: %s found by patterns: %d idle, %d with work, of which %d are run now"
        logger.log(_level(work), what, many(len(looks), "target"), len(looks) - len(work), len(work), len(chosen))
        oldest_ms = max((_idle_ms(look) for look in looks.values()), default=0)
        self.looked = Looked(len(looks) - len(work), len(work), len(chosen), oldest_ms)
        await self._forget([name for name, look in looks.items() if look.is_gone and not look.has_work])
        return chosen

    async def found(self) -> dict[str, int] | None:
        """How many targets each pattern has found, by its name; None before the first pass has ended.

        Raises:
            ServerError, redis.exceptions.RedisError: Redis does not answer.
        """
        progress = await self._call(self._streams.progress)
        if progress.is_foreign or not progress.ended_ms:
            return None
        self._learn(await self._call(self._streams.pairs), progress.version)
        served = Counter(self._pattern((one.keys.stream, one.group_bytes)) for one in self._targets.values())
        return {pattern.name: served[pattern] for pattern in self._patterns}

    # --- the search ---

    async def _search(self) -> None:
        """Read what others have found, and go on with the pass, or begin one, where it is time."""
        progress = await self._call(self._streams.progress)
        if progress.is_foreign:
            logger.warning("reclaim: reclaim:streams is in the format of a newer release, and is left as it is")
            return
        if progress.version != self._version:
            self._learn(await self._call(self._streams.pairs), progress.version)
        if progress.cursors is None and progress.now_ms - progress.ended_ms < self._every_ms:
            return
        now, pairs, vanished = await self._streams.step(progress, self._pairs)
        self._learn(pairs, now.version)
        self._tell_vanished([_name(pair) for pair in vanished])
        if now.cursors is None:
            self._warn_of_nothing()

    def _learn(self, pairs: dict[Pair, int], version: int) -> None:
        """Make the targets of these pairs. Two streams whose keys would be the same are not served both."""
        if version == self._version and pairs.keys() == self._pairs.keys():
            self._pairs = pairs
            return
        before = self._targets
        targets = {pair: before.get(_name(pair)) or self._of(pair) for pair in pairs}
        leases = set(self._leases)
        self._targets = {}
        for target in targets.values():
            if target is None:
                continue
            lease = target.keys.lease
            if lease in leases:
                logger.warning("reclaim %s: another target has the same keys, so it is left alone", target.name)
                continue
            leases.add(lease)
            self._targets[target.name] = target
        self._asks = {name: self._asks.get(name) or _asks(self._server, one) for name, one in self._targets.items()}
        new = self._targets.keys() - before.keys()
        if new and self._version is not None:
            logger.info(
                "reclaim: %s new: %s", many(len(new), "target is", "targets are"), first_few(sorted(new), len(new))
            )
        self._pairs, self._version = pairs, version

    def _of(self, pair: Pair) -> Target | None:
        pattern = self._pattern(pair)
        return None if pattern is None else pattern.target(*pair)

    def _pattern(self, pair: Pair) -> Pattern | None:
        """The most specific pattern that matches; of equals the first that is listed."""
        if pair in self._named or not self._is_wanted(pair[0]):
            return None
        return next((one for one in self._patterns if one.matches(*pair)), None)

    def _is_wanted(self, stream: bytes) -> bool:
        if is_ours(stream) or stream in self._forwarded_to or not _can_be_served(stream):
            return False
        return any(one.stream.matches(stream) for one in self._patterns)

    def _tell_vanished(self, names: Sequence[str]) -> None:
        if names:
            what = "reclaim: %s there no more that patterns had found: %s"
            logger.warning(what, many(len(names), "target is", "targets are"), first_few(sorted(names), len(names)))

    def _warn_of_nothing(self) -> None:
        """Warn of each pattern that matches nothing, once."""
        for pattern in self._patterns:
            if not any(pattern.matches(*pair) for pair in self._pairs):
                if pattern.name not in self._told_of_nothing:
                    logger.warning("reclaim: the pattern %r in RECLAIM_TARGETS matches nothing", pattern.name)
                self._told_of_nothing.add(pattern.name)
            else:
                self._told_of_nothing.discard(pattern.name)

    # --- the look ---

    async def _look(self, names: Sequence[str]) -> dict[str, _Look]:
        looks: dict[str, _Look] = {}
        for at in range(0, len(names), AT_ONCE):
            some = names[at : at + AT_ONCE]
            asks = [ask for name in some for ask in self._asks[name]]
            answers = iter(await self._call(partial(self._server.ask, *asks)))
            looks |= zip(some, _looks(answers), strict=True)
        return looks

    async def _forget(self, names: Sequence[str]) -> None:
        """Forget targets that have gone. A run has counted what was pending there, if anything was."""
        gone = [(target.keys.stream, target.group_bytes) for name in names if (target := self._targets.pop(name, None))]
        if not gone:
            return
        self._tell_vanished(names)
        for pair in gone:
            self._pairs.pop(pair, None)
        try:
            await self._streams.remove(gone)
        except (ServerError, RedisError, OSError) as exc:
            logger.warning("reclaim: what has vanished could not be forgotten: %s", describe(exc))

    async def _call(self, function: Any) -> Any:
        deadline = Deadline(PATIENCE_SEC, time.monotonic)
        return await Retries(ATTEMPTS, LONGEST_DELAY_SEC).call(deadline, function)


def _asks(server: Server, target: Target) -> tuple[Ask[Any], ...]:
    pending, keys = PendingList(server, target), target.keys
    asks: tuple[Ask[Any], ...] = (
        pending.count(),
        pending.oldest_idle_ms(),
        Ask.one(("HGET", keys.seen, "pending"), lambda count: int(count or 0)),
        Ask.one(("HGET", keys.circuit, "state"), lambda state: state),
    )
    return tuple(ask.or_error() for ask in asks)


def _looks(answers: Iterator[Any]) -> Iterator[_Look]:
    """The answers, four to a look."""
    for four in zip(*[answers] * 4, strict=True):
        yield _Look(*four)


def _idle_ms(look: _Look) -> int:
    return look.oldest_idle_ms if isinstance(look.oldest_idle_ms, int) else 0


def _level(work: Sequence[Any]) -> int:
    return logging.INFO if work else logging.DEBUG


def _name(pair: Pair) -> str:
    return "/".join(map(written, pair))


def _bytes(text: str) -> bytes:
    try:
        return name_bytes(text)
    except ValueError:
        return b""


def _can_be_served(stream: bytes) -> bool:
    """Whether our own keys can be in the stream's slot: braces must make a hash tag."""
    _, opened, rest = stream.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return bool(opened and closed and tag) or (b"{" not in stream and b"}" not in stream)
