"""Owns the facts: what the status tells about one target."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reclaim.state.circuit import CircuitState
from reclaim.state.lost import LostEntry


@dataclass(frozen=True, slots=True)
class Holder:
    """A consumer with pending entries. `idle_ms` is how long the consumer itself has been idle; None if not known."""

    consumer: str
    pending: int
    idle_ms: int | None


@dataclass(frozen=True, slots=True)
class Oldest:
    """The pending entry that has been idle longest, among those with the smallest IDs."""

    id: str
    consumer: str
    idle_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Pending:
    """What is pending in the group.

    Attributes:
        total: how many entries.
        consumers: how many consumers have pending entries.
        by_consumer: the consumers with the most pending entries.
        oldest: the entry that has been idle longest; None if nothing is pending.
    """

    total: int
    consumers: int = 0
    by_consumer: Sequence[Holder] = ()
    oldest: Oldest | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """How many lost entries the ledger holds, its latest, and whether it is full: then earlier ones are gone."""

    count: int = 0
    latest: Sequence[LostEntry] = ()
    full: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a target. What could not be read is None, and `error` says why.

    Attributes:
        target: ``stream/group``.
        consumer: our own name in the group.
        min_idle_ms: runs take over entries that have been idle for longer.
        tick_sec: the longest time between two runs.
        group_missing: the stream or its group is not there.
        missing_ok: that is no failure: it was never seen, and MISSING_OK is true.
        clock_behind_ms: at the last run the server's clock was so much behind where it had been before.
        lease: which run is at work on the target; None if none is.
        runs: the latest reports, newest first, each with its `id`.
        last_tick_at: when the last run looked at the group, by the server's clock (ISO 8601); None if that is not
            known. A run that finds nothing leaves no report, but it leaves this.
    """

    target: str
    stream: str
    group: str
    consumer: str
    min_idle_ms: int
    tick_sec: float
    group_missing: bool = False
    missing_ok: bool = False
    clock_behind_ms: int = 0
    pending: Pending | None = None
    circuit: CircuitState | None = None
    lease: str | None = None
    runs: Sequence[dict[str, Any]] = ()
    last_tick_at: str | None = None
    dead_letters: int | None = None
    dead_letter_maxlen: int = 100_000
    lost: Lost | None = None
    error: str | None = None
