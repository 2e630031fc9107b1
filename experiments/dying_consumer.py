"""A consumer that reads all there is, acknowledges nothing, and waits until it is killed."""

import sys
from typing import Any

from redis import Redis

PAGE_SIZE = 500


def main() -> None:
    """Read for ever: ``python -m experiments.dying_consumer HOST:PORT STREAM GROUP NAME``."""
    address, stream, group, name = sys.argv[1:]
    host, _, port = address.rpartition(":")
    client: Any = Redis(host=host, port=int(port), protocol=2)
    while True:
        client.xreadgroup(group, name, {stream: ">"}, count=PAGE_SIZE, block=1000)


if __name__ == "__main__":
    main()
