"""Owns the metrics: what Prometheus scrapes, read from Redis alone, so that each instance tells the same.

One round trip for each target. What could not be read is left out, and `reclaim_up` of the target is 0.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from reclaim.app import App
from reclaim.entry import by_name
from reclaim.errors import ServerError
from reclaim.run.report import COUNTS
from reclaim.settings import Target
from reclaim.state import totals
from reclaim.state.ask import Ask, plain
from reclaim.state.circuit import Circuit, CircuitState, State
from reclaim.state.pending import PendingList, Summary
from reclaim.state.seen import Seen

CONTENT_TYPE = "text/plain; version=0.0.4"  # in UTF-8


@dataclass(frozen=True, slots=True)
class Measured:
    """What was read of a target."""

    pending: Summary | Exception
    oldest_idle_ms: int | Exception
    dead: int | Exception
    lost: int | Exception
    circuit: CircuitState | Exception
    seen: Seen | Exception
    totals: dict[str, int] | Exception

    @property
    def is_up(self) -> bool:
        """Whether everything could be read, and the group is there."""
        parts = (self.pending, self.oldest_idle_ms, self.dead, self.lost, self.circuit, self.seen, self.totals)
        return _count(self.pending) is not None and not any(isinstance(one, Exception) for one in parts)


async def metrics(app: App) -> str:
    """The metrics of all targets that the settings name, in Prometheus' text format. No error of Redis is raised."""
    units = list(app.units.values())
    measured = await asyncio.gather(*(_measured(app, unit.target) for unit in units))
    registry = CollectorRegistry()
    found = {unit.target: one for unit, one in zip(units, measured, strict=True)}
    registry.register(_Targets(found))
    return generate_latest(registry).decode()


async def _measured(app: App, target: Target) -> Measured:
    pending = PendingList(app.server, target)
    asks = (
        pending.count().or_error(),
        pending.oldest_idle_ms().or_error(),
        plain("XLEN", target.keys.dead).or_error(),
        plain("XLEN", target.keys.lost).or_error(),
        Circuit(app.server, target).read().or_error(),
        Ask.one(("HGETALL", target.keys.seen), lambda flat: Seen.read(by_name(flat))).or_error(),
        totals.read(target).or_error(),
    )
    try:
        return Measured(*await app.server.ask(*asks))
    except (ServerError, RedisError, OSError) as exc:
        return Measured(*[exc] * len(asks))


class _Targets(Collector):
    """What was read, as metrics."""

    def __init__(self, found: dict[Target, Measured]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """All of them, each with a value for each target of which it is known."""
        yield self._gauge("up", "1: all of this could be read, and the group is there", lambda one: one.is_up)
        yield self._gauge("pending_entries", "entries that are pending", lambda one: _count(one.pending))
        yield self._gauge(
            "oldest_idle_seconds",
            "how long the pending entry with the smallest ID has been idle",
            lambda one: _thousandth(one.oldest_idle_ms),
        )
        yield self._gauge("dead_letters", "dead letters that wait for a person", lambda one: _known(one.dead))
        yield self._gauge("lost_entries", "lost entries on record", lambda one: _known(one.lost))
        yield self._gauge(
            "circuit_open", "1: runs claim nothing; 0.5: a probe is under way", lambda one: _open(one.circuit)
        )
        yield self._gauge(
            "last_tick_age_seconds",
            "how long ago a run looked at the group; a quiet target's too",
            lambda one: _age(one.seen),
        )
        counters = CounterMetricFamily(
            "reclaim_entries", "what became of entries in all runs", labels=["stream", "group", "what"]
        )
        runs = CounterMetricFamily("reclaim_runs", "runs that have ended", labels=["stream", "group"])
        for target, one in self._found.items():
            if isinstance(one.totals, dict):
                runs.add_metric([target.stream, target.group], one.totals.get("runs", 0))
                for name in COUNTS:
                    counters.add_metric([target.stream, target.group, name], one.totals.get(name, 0))
        yield counters
        yield runs

    def _gauge(self, name: str, text: str, value: Callable[[Measured], float | None]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"reclaim_{name}", text, labels=["stream", "group"])
        for target, one in self._found.items():
            number = value(one)
            if number is not None:
                family.add_metric([target.stream, target.group], number)
        return family


def _known(value: int | Exception) -> float | None:
    return None if isinstance(value, Exception) else value


def _count(value: Summary | Exception) -> float | None:
    return value.count if isinstance(value, Summary) and value.group_missing is None else None


def _thousandth(value: int | Exception) -> float | None:
    return None if isinstance(value, Exception) else value / 1000


def _open(value: CircuitState | Exception) -> float | None:
    if isinstance(value, Exception):
        return None
    return {State.CLOSED: 0, State.HALF_OPEN: 0.5}.get(value.state, 1)


def _age(value: Seen | Exception) -> float | None:
    if isinstance(value, Exception) or value.sight is None:
        return None
    return max(0.0, time.time() - value.sight.at_ms / 1000)
