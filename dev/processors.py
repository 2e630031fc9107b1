"""A flaky processor, as the article's are: it reads tweets, stores each as a hash, and drops one in five on purpose.

What it drops it has read, but neither stored nor acknowledged. It works until it is killed; at the end of the stream it
waits for more.
"""

import argparse
import os
import random
from typing import Any

from redis import Redis

PAGE_SIZE = 500
DROP_ONE_IN = 5
WAIT_MS = 1000


def work(client: Redis, stream: str, group: str, consumer: str, seed: int = 0) -> None:
    """Read, store and acknowledge for ever, but for one entry in five."""
    rng = random.Random(seed)
    while True:
        streams: Any = client.xreadgroup(group, consumer, {stream: ">"}, count=PAGE_SIZE, block=WAIT_MS)
        for _, entries in streams:
            pipeline = client.pipeline(transaction=False)
            for entry_id, fields in entries:
                if rng.randrange(DROP_ONE_IN):
                    pipeline.hset(b"tweet:" + fields[b"id"], mapping=fields)
                    pipeline.xack(stream, group, entry_id)
            pipeline.execute()


def main() -> None:
    """Run one processor; user and password come from the environment, as a command line is for everyone to read."""
    parser = argparse.ArgumentParser(prog="python -m dev.processors", description="Run a flaky processor.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--ca-file", help="certificates to trust with --tls; default: the system's")
    parser.add_argument("--stream", default="tweets_stream")
    parser.add_argument("--group", default="redisearch_app_group")
    parser.add_argument("--consumer", required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    client = Redis(
        host=arguments.host,
        port=arguments.port,
        username=os.environ.get("REDIS_USERNAME") or None,
        password=os.environ.get("REDIS_PASSWORD") or None,
        ssl=arguments.tls,
        ssl_ca_certs=arguments.ca_file,
        protocol=2,
    )
    work(client, arguments.stream, arguments.group, arguments.consumer, arguments.seed)


if __name__ == "__main__":
    main()
