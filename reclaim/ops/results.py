"""Owns the results of the operations: a frozen value for each. Each door shows it in its own way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reclaim.errors import ServerError
from reclaim.state.audit import AuditRecord
from reclaim.state.circuit import CircuitState, Effect
from reclaim.state.dead_letters import DeadLetter
from reclaim.state.lost import LostEntry

if TYPE_CHECKING:
    from reclaim.run.replay import ReplayReport  # of few commands and requests


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The whole status, ready for JSON. `error` is set if the server itself did not answer."""

    found: dict[str, Any]
    error: ServerError | None = None


@dataclass(frozen=True, slots=True)
class Runs:
    """Reports of a target's latest runs, newest first, each with its `id`.

    Attributes:
        next: ask for the page `before` this ID to go on; None at the end.
    """

    target: str
    runs: Sequence[dict[str, Any]]
    next: str | None


@dataclass(frozen=True, slots=True)
class Lost:
    """Lost entries of a target, the one found last first.

    Attributes:
        count: how many lost entries the target has on record.
        full: whether the record is full, so that earlier ones are no longer on it.
        next: ask for the page `before` this place to go on; None at the end.
    """

    target: str
    count: int
    full: bool
    lost: Sequence[LostEntry]
    next: str | None


@dataclass(frozen=True, slots=True)
class Letters:
    """Dead letters of a target.

    Attributes:
        count: how many dead letters the target has.
        looked: at how many of them this answer has looked; all it has found are here.
        next: the ID of the dead letter looked at last; ask for the page `after` it to go on. None at the end.
        last: the ID of the target's newest dead letter; None if there are none.
    """

    target: str
    count: int
    letters: Sequence[DeadLetter]
    looked: int
    next: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Dead letters that have failed in the same way.

    Attributes:
        reason: why they became dead letters.
        error_group: their error, without what differs from entry to entry.
        count: how many there are among those looked at.
        first: when the earliest of them came to the list; ISO 8601, UTC.
        last: when the latest did.
        example: the ID of one of them.
    """

    reason: str
    error_group: str
    count: int
    first: str
    last: str
    example: str

    def __add__(self, more: "LetterGroup") -> "LetterGroup":
        first, last = min(self.first, more.first), max(self.last, more.last)
        return replace(self, count=self.count + more.count, first=first, last=last)


@dataclass(frozen=True, slots=True)
class LetterGroups:
    """The groups among the dead letters that an answer has looked at, the largest first.

    Attributes:
        count: how many dead letters the target has.
        looked: at how many of them this answer has looked.
        matched: how many of those fit what was asked for.
        groups: at most `GROUPS_SHOWN` of them.
        others: how many dead letters are in smaller groups.
        next: the ID of the dead letter looked at last; ask for what comes `after` it to go on. None at the end.
        last: the ID of the target's newest dead letter; None if there are none.
    """

    target: str
    count: int
    looked: int
    matched: int
    groups: Sequence[LetterGroup]
    others: int
    next: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The dead letters with the IDs that a person asked for, and those of the IDs that no dead letter has."""

    target: str
    letters: Sequence[DeadLetter]
    missing: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did on a target; what it would do, if it is a dry run."""

    target: str
    dry_run: bool
    report: "ReplayReport"


@dataclass(frozen=True, slots=True)
class Discarded:
    """How many dead letters of a target were removed.

    Attributes:
        done: whether all that were meant were looked for; False if the time was up before.
        missing: how many of the IDs that were named are no dead letter's, nor its entry's.
    """

    target: str
    discarded: int
    done: bool = True
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Imported:
    """How many dead letters were made of those in a file."""

    target: str
    imported: int


@dataclass(frozen=True, slots=True)
class Named:
    """The dead letters that IDs name, which may be their own or their entries'.

    Attributes:
        letter_ids: the dead letters' own IDs, each once.
        missing: the IDs that name none.
    """

    letter_ids: Sequence[bytes]
    missing: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Audited:
    """What people did to a target, the latest first.

    Attributes:
        next: ask for the page `before` this ID to go on; None at the end.
    """

    target: str
    records: Sequence[AuditRecord]
    next: str | None


@dataclass(frozen=True, slots=True)
class CircuitOf:
    """The circuit of a target."""

    target: str
    circuit: CircuitState


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """What a person's change did to the circuit of a target, and the circuit as it is now."""

    target: str
    effect: Effect
    circuit: CircuitState
