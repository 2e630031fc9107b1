"""The producer: tweets as the article's are, with what real ones bring along (emoji, empty fields, the very long)."""

import random
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio import Redis

FIELDS = (b"id", b"user", b"text", b"location", b"hashtags")
FIRST_ID = 1_500_000_000_000_000_000
LONG_EVERY = 1000
BATCH_SIZE = 1000

Flat = list[bytes]  # names and values in turn, as XADD and HSET take them

_USERS = "abhi amelie bruno chidi dana eszter fatima goran hana ines jomo john josé kai lena mei 日向子".split()
_PLACES = ["", "India", "London", "Nairobi", "New York, NY", "São Paulo 🇧🇷", "東京", "the moon 🌕", "Zürich"]
_TAGS = "covid cats Medicine médecine python redis azure موسيقى worldcup 🚀".split()
_WORDS = """hello world the a this that is was when why never again good morning stream of thoughts coffee rain on
my way home 😀 🎉 👩‍👩‍👧‍👦 naïve façade привет 你好 #nofilter "quoted" it's 100% \\o/ <3 &amp; https://example.com/?q=1&r=2""".split()


def tweets(count: int, seed: int = 0, distinct_ids: int | None = None) -> Iterator[Flat]:
    """The first `count` tweets of a seed, each as one flat list of names and values.

    Args:
        count: how many.
        seed: equal seeds give equal tweets.
        distinct_ids: how many different ids they share among them; as many as there are tweets if not given.
    """
    rng = random.Random(seed)
    for number in range(count):
        values = (
            str(FIRST_ID + number % (distinct_ids or count)),
            f"{rng.choice(_USERS)}_{rng.randrange(10_000)}",
            _text(rng, is_long=number % LONG_EVERY == LONG_EVERY // 2),
            rng.choice(_PLACES),
            ",".join(rng.sample(_TAGS, rng.randrange(4))),
        )
        yield [part for name, value in zip(FIELDS, values, strict=True) for part in (name, value.encode())]


async def produce(
    client: "Redis", stream: str, count: int, seed: int = 0, distinct_ids: int | None = None
) -> list[bytes]:
    """Append `tweets` to a stream, in batches; return the IDs of the entries, in order.

    The client must not decode responses.
    """
    ids: list[bytes] = []
    remaining = tweets(count, seed, distinct_ids)
    while batch := list(islice(remaining, BATCH_SIZE)):
        pipeline = client.pipeline(transaction=False)
        for tweet in batch:
            pipeline.execute_command("XADD", stream, "*", *tweet)
        ids += await pipeline.execute()
    return ids


def _text(rng: random.Random, *, is_long: bool) -> str:
    """Up to 24 words; now and then none, and where it is to be long, 10 to 60 KB."""
    text = " ".join(rng.choices(_WORDS, k=rng.randrange(25)))
    if not is_long:
        return text
    length = rng.randrange(10_000, 60_000)
    return (f"{text} … " * (length // len(f"{text} … ".encode()) + 1)).encode()[:length].decode(errors="ignore")
