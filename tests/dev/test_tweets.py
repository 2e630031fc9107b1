"""The tweets the other tests and the demo live on, and how they get into a stream."""

from collections import Counter

import pytest
from redis.asyncio import Redis

from dev.server import Server
from dev.tweets import FIELDS, produce, tweets


def test_a_seed_gives_the_same_tweets_every_time_and_another_seed_gives_others() -> None:
    assert list(tweets(50, seed=1)) == list(tweets(50, seed=1))
    assert list(tweets(50, seed=1)) != list(tweets(50, seed=2))


def test_every_tweet_has_the_five_fields_in_the_articles_order() -> None:
    assert {tuple(tweet[::2]) for tweet in tweets(500)} == {FIELDS}


def test_the_awkward_is_among_them() -> None:
    """Empty texts, places and hashtags; emoji; and texts of 10 to 60 KB, all of it valid UTF-8."""
    sample = list(tweets(2000))
    texts = [tweet[5] for tweet in sample]

    assert any("😀" in text.decode() for text in texts)
    for position in (5, 7, 9):
        assert b"" in [tweet[position] for tweet in sample]
    assert [10_000 - 3 <= len(text) < 60_000 for text in texts if len(text) > 2000] == [True, True]


def test_hashtags_are_separated_by_commas() -> None:
    assert any(tag in tweet[9].split(b",") for tweet in tweets(100) for tag in (b"covid", b"redis"))


@pytest.mark.parametrize(("distinct", "times"), [(None, 1), (20, 5)])
def test_ids_are_unique_unless_they_are_told_to_repeat(distinct: int | None, times: int) -> None:
    ids = Counter(tweet[1] for tweet in tweets(100, distinct_ids=distinct))

    assert set(ids.values()) == {times}


async def test_produce_appends_them_in_order_and_returns_the_entry_ids() -> None:
    with Server() as server:
        client = Redis(port=server.port, protocol=2)
        ids = await produce(client, "tweets", 1234, seed=3)
        entries = await client.xrange("tweets")
        await client.aclose()

    assert [entry_id for entry_id, _ in entries] == ids
    assert [fields for _, fields in entries] == [dict(zip(t[::2], t[1::2], strict=True)) for t in tweets(1234, seed=3)]
