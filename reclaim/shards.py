"""Owns the shards of a target (SHARDS): which order keys one of them has, and how its consumer is called.

A target's order keys are divided among its shards, so that one order key is always in the same one. Each shard has a
lease and a consumer of its own, so the shards run at the same time, in one process or in several, and the order within
a key still holds.
"""

from dataclasses import dataclass

MARK = "#"  # between a consumer's name and its shard's number


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a target; by default the whole.

    Attributes:
        index: its number, from 0 on.
        of: how many there are.
    """

    index: int = 0
    of: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole target."""
        return self.of == 1

    @property
    def is_first(self) -> bool:
        """Whether it does what is done once for all shards."""
        return self.index == 0

    def has(self, digest: bytes) -> bool:
        """Whether an order key is this shard's, by the key's digest: 8 bytes, the same in every process."""
        return int.from_bytes(digest) % self.of == self.index

    def that_has(self, digest: bytes) -> "Shard":
        """Which of the shards, this one or another, has an order key."""
        return Shard(int.from_bytes(digest) % self.of, self.of)

    def consumer(self, name: str) -> str:
        """What the shard is called in the group, where MONITORING_CONSUMER_NAME is `name`."""
        return name if self.is_whole else f"{name}{MARK}{self.index}"


WHOLE = Shard()


def is_ours(consumer: bytes, name: bytes) -> bool:
    """Whether a consumer is one of ours: `name` itself, or that of a shard, however many there are or were."""
    if not consumer.startswith(name):
        return False
    rest = consumer[len(name) :]
    return not rest or (rest[:1] == MARK.encode() and rest[1:].isdigit())
