"""What the model knows of the entries, and what there is on the server."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.support import as_dict

MAX_DELIVERIES = 3
OURS = [b"monitoring_app", b"monitoring_app#0", b"monitoring_app#1"]  # of the whole target, and of its two shards
MIN_IDLE_MS = 600_000
BACKOFF_SEC = 1800  # DELIVERY_BACKOFF_SEC where there is one: the wait after the first charged try, and the longest
IDLE_MS = 700_000  # idle for so long, an entry is due unless it waits for its next try
IDS_PER_MS = 3
KEYS = ["a", "b", "c", "wrong"]  # order keys; the hash of ``wrong`` is none, but a string


@dataclass
class Made:
    """An entry as the model knows it.

    Attributes:
        key: its order key; None where it lacks the field.
        fields: as XADDed.
        status: unread, pending, live (a live consumer acknowledged it), handled, dead, lost, replayed, discarded, or
            gone (with its group or stream).
        reader: the live consumer that read it.
        finished: the reader stored it.
        deliveries: those that count, while it is pending.
        by_others: so many of them were to others; they use up none of our tries.
        is_removed: somebody else deleted it from the stream, or trimmed it away.
    """

    number: int
    key: str | None
    fields: list[bytes]
    status: str = "unread"
    reader: str = ""
    finished: bool = False
    deliveries: int = 1
    by_others: int = 1
    is_removed: bool = False

    @property
    def charged(self) -> int:
        """How many tries of ours count."""
        return self.deliveries - self.by_others

    @property
    def id(self) -> bytes:
        return b"%d-%d" % divmod(self.number, IDS_PER_MS)

    @property
    def can_be_stored(self) -> bool:
        return self.key is not None and self.key != "wrong"


@dataclass
class Slow:
    """The second group of a stream from which acknowledged entries are deleted: what it may still need."""

    read_up_to: int = 0
    held: set[int] = field(default_factory=set)

    def needs(self, number: int) -> bool:
        """Whether the entry must not be deleted for its sake."""
        return number > self.read_up_to or number in self.held


@dataclass(frozen=True)
class Seen:
    """What there is on the server."""

    pending: dict[int, tuple[bytes, bool, int]]  # owner, whether idle, deliveries
    letters: dict[int, list[dict[bytes, bytes]]]
    ledger: dict[int, list[dict[bytes, bytes]]]
    stream: set[int]
    values: dict[str, int]  # the number of the entry that each hash holds
    owed: set[int]  # what our runner is going to give back, from its own memory
    waits: set[int]  # idle, and not due yet, as they were tried before
    counted_lost: int  # how many the ledger of lost entries speaks of, at most

    def is_idle(self, number: int) -> bool:
        """Whether a run may take it: idle, or about to be given back."""
        return self.pending[number][1] or number in self.owed


@dataclass
class Act:
    """What a step of reclaim's was, and what it may cost.

    Attributes:
        is_clean: nothing was at fault but the entries charged.
        was_killed: the process was killed, or may have been.
        charged: entries that got an error of their own from the store.
        acknowledged: by a live consumer, meanwhile.
        taken: by a live consumer, meanwhile.
        touched: keys to whose hash a live consumer wrote meanwhile.
        others: what came of what others did meanwhile; None if nothing went wrong.
    """

    name: str
    is_clean: bool = False
    was_killed: bool = False
    charged: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    touched: set[str | None] = field(default_factory=set)
    others: list[BaseException | None] = field(default_factory=list)


def number_of(entry_id: bytes) -> int:
    ms, _, seq = entry_id.partition(b"-")
    return int(ms) * IDS_PER_MS + int(seq)


def by_number(entries: Iterable[tuple[bytes, list[bytes]]]) -> dict[int, list[dict[bytes, bytes]]]:
    """Dead letters, or lines of the ledger, by the number of the entry that they are about."""
    found: dict[int, list[dict[bytes, bytes]]] = {}
    for entry_id, flat in entries:
        about = as_dict(flat)
        found.setdefault(number_of(about[b"id"]), []).append(about | {b"letter": entry_id})
    return found
