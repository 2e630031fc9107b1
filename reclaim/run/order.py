"""Owns the order within an order key (G3): which keys wait, and how entries are split so that none overtakes."""

from collections.abc import Iterator, Sequence

from reclaim.entry import Entry, id_number
from reclaim.handlers.outcomes import Keyed

LEAST_IN_LANE = 100  # entries, about: a batch of its own costs as much as some twenty entries
MAX_HELD_KEYS = 100_000  # more would cost too much memory


class HeldKeys:
    """The held order keys. Each waits for an entry that is not done: all entries from the smallest such ID on wait.

    Only the hash of a key is kept, as keys may be long. Two keys with the same hash wait for each other's entries,
    which delays them and breaks nothing.
    """

    def __init__(self) -> None:
        self._since: dict[int, int] = {}

    def hold(self, key: bytes, entry: Entry) -> None:
        """Let this entry, which is not done, hold back all later ones of its key."""
        at, number = hash(key), id_number(entry.id)
        self._since[at] = min(self._since.get(at, number), number)

    def holds(self, key: bytes, entry: Entry) -> bool:
        """Whether this entry has to wait."""
        since = self._since.get(hash(key))
        return since is not None and id_number(entry.id) >= since

    @property
    def is_empty(self) -> bool:
        """Whether no key waits."""
        return not self._since

    @property
    def are_too_many(self) -> bool:
        """Whether so many keys wait that the run has to end."""
        return len(self._since) > MAX_HELD_KEYS


def by_hash(work: Sequence[Keyed], lanes: int) -> list[list[Keyed]]:
    """At most so many lists, fewer for little work; the entries of a key are in one of them, in their order."""
    lanes = min(lanes, len(work) // LEAST_IN_LANE + 1)
    split: list[list[Keyed]] = [[] for _ in range(lanes)]
    for keyed in work:
        split[hash(keyed[0]) % lanes].append(keyed)
    return [lane for lane in split if lane]


def by_key(work: Sequence[Keyed]) -> list[list[Keyed]]:
    """A list for each order key, its entries in their order."""
    chains: dict[bytes, list[Keyed]] = {}
    for keyed in work:
        chains.setdefault(keyed[0], []).append(keyed)
    return list(chains.values())


def rounds(work: Sequence[Keyed]) -> Iterator[list[Keyed]]:
    """All entries, in lists that have at most one entry of each order key: first the first of each, and so on."""
    chains = by_key(work)
    for at in range(max(map(len, chains), default=0)):
        yield [chain[at] for chain in chains if at < len(chain)]
