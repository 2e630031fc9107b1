"""Owns a run's limits: until when it may do what, and why it begins nothing more."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from reclaim.run.attempts import STOP_SEC
from reclaim.run.order import MAX_HELD_KEYS, HeldKeys
from reclaim.run.report import Outcome
from reclaim.state.lease import Lease
from reclaim.times import Deadline

MOST_RESERVED_SEC = 5.0
ASKED = "asked to stop"


@dataclass(frozen=True, slots=True)
class Limits:
    """The deadlines of one run, so that it ends inside its budget (G6).

    Two equal reserves are kept free at the end of the run; each is a tenth of the budget, and at most 5 s. In the first
    reserve, handlers that are at work come to their end. In the first half of the second reserve the run cancels the
    handlers that are not done, and settles its pages. In the second half it closes.

        now            begin            work             settle         close
         | pages begin   | handlers end   | pages settle   | run closes   |
         |               | 1 reserve      | 1/2 reserve    | 1/2 reserve  |

    Attributes:
        budget_sec: all the time that the run has.
        begin: no page is claimed and nothing is given to a handler after it.
        work: a handler that has not ended is cancelled.
        settle: no command that claims or settles is tried again after it, and one on its way is given up.
        close: what is still open is left to the next run, and to the end of the lease.
        stop_sec: how long a handler may take to be cancelled; then the run goes on without it.
    """

    budget_sec: float
    begin: Deadline
    work: Deadline
    settle: Deadline
    close: Deadline
    stop_sec: float

    @classmethod
    def of(cls, budget_sec: float, clock: Callable[[], float]) -> Self:
        """The limits of a run that begins now."""
        reserve_sec = min(MOST_RESERVED_SEC, budget_sec / 10)
        return cls(
            budget_sec=budget_sec,
            begin=Deadline(budget_sec - 2 * reserve_sec, clock),
            work=Deadline(budget_sec - reserve_sec, clock),
            settle=Deadline(budget_sec - reserve_sec / 2, clock),
            close=Deadline(budget_sec, clock),
            stop_sec=min(STOP_SEC, reserve_sec / 4),
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends, why in words, and with which error if it failed."""

    outcome: Outcome
    reason: str = ""
    error: Exception | None = None


class Halt:
    """Says whether the run may begin something, and if not, why.

    It asks the stop signal, the lease, the circuit, the clock and the held keys. Whatever it says, the run finishes and
    settles the entries that it has begun.
    """

    def __init__(self, stop: asyncio.Event, lease: Lease, limits: Limits, held: HeldKeys) -> None:
        self._stop = stop
        self._lease = lease
        self._limits = limits
        self._held = held
        self._met: Ending | None = None

    def circuit_is_open(self, why: str) -> None:
        """Note that the circuit lets the run begin nothing more, for good."""
        self._met = self._met or Ending(Outcome.CIRCUIT_OPEN, why)

    def group_is_gone(self, why: str) -> None:
        """Note that the group that the run works in is not there any more."""
        self._met = Ending(Outcome.GROUP_GONE, why)

    def ending(self) -> Ending | None:
        """How the run is to end; None while it may begin something."""
        if self._stop.is_set():
            return Ending(Outcome.STOPPED, ASKED)
        if self._lease.lost:
            return Ending(Outcome.LEASE_LOST, "the run stalled for longer than its lease")
        if self._met is not None:
            return self._met
        if self._limits.begin.passed():
            return Ending(Outcome.OUT_OF_TIME, f"its {self._limits.budget_sec:g} s were over")
        if self._held.are_too_many:
            return Ending(Outcome.TOO_MANY_HELD, f"over {MAX_HELD_KEYS} order keys wait for an entry not done")
        return None
