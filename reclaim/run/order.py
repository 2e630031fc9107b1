"""Owns the order within an order key (G3): which keys wait, and how entries are split so that none overtakes."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from reclaim.entry import Entry, id_number
from reclaim.handlers.outcomes import Keyed

LEAST_IN_LANE = 100  # entries, about: a batch of its own costs as much as some twenty entries
MAX_HELD_KEYS = 100_000  # more would cost too much memory


def digest(key: bytes) -> bytes:
    """An order key in 8 bytes, the same in every process and release."""
    return blake2b(key, digest_size=8).digest()


class HeldKeys:
    """The held order keys. Each waits for an entry that is not done: all entries from the smallest such ID on wait.

    Only the digest of a key is kept: keys may be long, and records of earlier runs know only the digest. Two keys with
    the same digest wait for each other's entries, which delays them and breaks nothing.
    """

    def __init__(self) -> None:
        self._since: dict[bytes, int] = {}
        self._deferred: dict[bytes, int] = {}

    def hold(self, key: bytes, entry: Entry) -> None:
        """Let this entry, which is not done, hold back all later ones of its key."""
        self.hold_digest(digest(key), entry.id)

    def hold_digest(self, key_digest: bytes, entry_id: bytes) -> None:
        """The same, where only the key's digest and the entry's ID are known."""
        _hold_from(self._since, key_digest, entry_id)

    def defer(self, key_digest: bytes, entry_id: bytes) -> None:
        """The same, until `release_deferred`."""
        _hold_from(self._deferred, key_digest, entry_id)

    def is_deferred_only(self, key: bytes, entry: Entry) -> bool:
        """Whether this entry has to wait, and will not have to after `release_deferred`."""
        key_digest, number = digest(key), id_number(entry.id)
        is_held = number >= self._since.get(key_digest, number + 1)
        return not is_held and number >= self._deferred.get(key_digest, number + 1)

    def release_deferred(self) -> None:
        """Let go what was held by `defer` alone."""
        self._deferred.clear()

    def holds(self, key: bytes, entry: Entry) -> bool:
        """Whether this entry has to wait."""
        return self.holds_digest(digest(key), entry.id)

    def holds_digest(self, key_digest: bytes, entry_id: bytes) -> bool:
        """The same, where only the key's digest and the entry's ID are known."""
        number = id_number(entry_id)
        return number >= min(self._since.get(key_digest, number + 1), self._deferred.get(key_digest, number + 1))

    @property
    def is_empty(self) -> bool:
        """Whether no key waits."""
        return not (self._since or self._deferred)

    @property
    def are_too_many(self) -> bool:
        """Whether so many keys wait that the run has to end."""
        return len(self._since) > MAX_HELD_KEYS


def _hold_from(since: dict[bytes, int], key_digest: bytes, entry_id: bytes) -> None:
    number = id_number(entry_id)
    since[key_digest] = min(since.get(key_digest, number), number)


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


def in_batches(some: Sequence[Keyed], most: int) -> list[list[Keyed]]:
    """Entries in ID order, in lists of so many at most."""
    in_order = sorted(some, key=lambda keyed: id_number(keyed[1].id))
    return [in_order[at : at + most] for at in range(0, len(in_order), most)]
