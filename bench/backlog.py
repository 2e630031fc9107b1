"""Owns what is put on servers: numbered tweets, the IDs of their entries, and the hashes that are to become of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from dev.tweets import FIRST_ID, Flat, tweets

DISTINCT = 50_000  # tweets with texts of their own; more than that repeat the texts under other ids
FIRST_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """Pending tweets: so many in all, in so many streams of one group each."""

    count: int
    streams: int = 1

    @property
    def names(self) -> list[str]:
        """The streams."""
        return ["tweets_stream"] if self.streams == 1 else [f"tweets_stream_{at}" for at in range(self.streams)]

    def parts(self) -> Iterator[tuple[str, range]]:
        """Each stream, and the numbers of its tweets."""
        each = self.count // self.streams
        for at, name in enumerate(self.names):
            yield name, range(at * each, (at + 1) * each)


def tweet(number: int) -> Flat:
    """The tweet of this number: names and values in turn, its id like no other's."""
    flat = _texts()[number % DISTINCT]
    return flat if number < DISTINCT else [b"id", b"%d" % (FIRST_ID + number), *flat[2:]]


def entry_id(number: int) -> bytes:
    """The ID of this tweet's entry; greater numbers have greater IDs."""
    return b"%d-%d" % (FIRST_MS + number // 4, number % 4)


def key(number: int) -> bytes:
    """The hash that this tweet is stored as."""
    return b"tweet:%d" % (FIRST_ID + number)


def number_of(flat: Sequence[bytes]) -> int:
    """The number of the tweet that has these fields."""
    return int(as_dict(flat)[b"id"]) - FIRST_ID


def expected(number: int, version_field: str | None) -> dict[bytes, bytes]:
    """What that hash is to hold."""
    fields = as_dict(tweet(number))
    return fields | {version_field.encode(): entry_id(number)} if version_field else fields


def as_dict(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Names and values in turn, by name."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


@cache
def _texts() -> list[Flat]:
    return list(tweets(DISTINCT))
