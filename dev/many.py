"""Fills a server with many targets and many dead letters in a few seconds, to look at, to measure and for tests.

python -m dev.many --port 6379 --targets 100 --letters 100000
"""

import argparse
from collections.abc import Iterator

from redis import Redis

from reclaim.keys import Keys

FIRST_MS = 1_700_000_000_000
AT_ONCE = 2_000
ERRORS = (
    ("failed", "KeyError: 'sku'"),
    ("failed", "ValueError: no stock of 'A-{n}' (order {n})"),
    ("bad_entry", "no field 'id' for 'tweet:{{id}}'"),
    ("max_deliveries", "delivered 5 times without an end"),
)


def letters(keys: Keys, count: int) -> Iterator[tuple[bytes | str, ...]]:
    """Commands that make so many dead letters of several kinds, one a millisecond."""
    for n in range(count):
        reason, error = ERRORS[n % len(ERRORS)]
        about = ("id", f"{FIRST_MS + n - 60_000}-0", "reason", reason, "error", error.format(n=n))
        who = ("consumer", f"worker-{n % 7}", "deliveries", "5", "at", "2023-11-14T22:13:20.000+00:00")
        body = ("field:id", str(n), "field:user", f"user-{n % 1000}", "field:text", f"the text of number {n}, no more")
        yield ("XADD", keys.dead, f"{FIRST_MS + n}-0", *about, *who, *body)


def targets(count: int) -> Iterator[tuple[bytes | str, ...]]:
    """Commands that make so many streams with a group and an entry that is pending."""
    for n in range(count):
        stream = f"orders:{n:03}"
        yield ("XGROUP", "CREATE", stream, "billing", "0", "MKSTREAM")
        yield ("XADD", stream, "*", "id", str(n), "user", "u", "text", "t", "location", "l", "hashtags", "h")
        yield ("XREADGROUP", "GROUP", "billing", f"pod-{n}", "COUNT", "1", "STREAMS", stream, ">")


def fill(port: int, target_count: int, letter_count: int) -> None:
    """Make the targets, and the dead letters of the first of them."""
    with Redis(port=port) as client, client.pipeline(transaction=False) as pipeline:
        for command in (*targets(target_count), *letters(Keys.of(b"orders:000", b"billing"), letter_count)):
            pipeline.execute_command(*command)
            if len(pipeline) == AT_ONCE:
                pipeline.execute()
        pipeline.execute()


def main() -> None:
    """Fill a server on this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--targets", type=int, default=100)
    parser.add_argument("--letters", type=int, default=100_000)
    said = parser.parse_args()
    fill(said.port, said.targets, said.letters)


if __name__ == "__main__":
    main()
