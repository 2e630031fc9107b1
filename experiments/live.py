"""A live producer or consumer in a process of its own, for the backlog's experiment; it works until SIGTERM.

`python -m experiments.live produce PORT STREAM GROUP FIRST FILE` adds 1,000 tweets a second, numbered from FIRST on.
`python -m experiments.live consume PORT STREAM GROUP NAME FILE` reads, stores and acknowledges them. At its end the
producer writes how many it has added, and the consumer two numbers for each entry: when it was acknowledged, and how
many seconds after the moment for which it was planned. So an entry that was added late counts from when it was due.
"""

import signal
import sys
import time
from array import array
from pathlib import Path
from types import FrameType
from typing import Any

import hiredis
from redis import Connection

from bench.backlog import tweet
from dev.server import HOST

EACH_SEC = 1_000
AT_ONCE = 5  # a burst each 5 ms: as many entries, and fewer wake-ups of these programs
BLOCK_MS = 100
PLANNED = b"planned"  # a field: the moment for which the entry was planned, in ns of the machine's monotonic clock


class _Told:
    """Whether somebody has told us to stop."""

    def __init__(self) -> None:
        self.to_stop = False
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.to_stop = True


def _send(connection: Connection, *commands: tuple[Any, ...]) -> list[Any]:
    packed = b"".join(map(hiredis.pack_command, commands))
    connection.send_packed_command([packed])  # type: ignore[no-untyped-call]  # redis-py gives it no types
    return [connection.read_response() for _ in commands]


def produce(connection: Connection, stream: str, first: int, file: Path) -> None:
    """Add tweets, a burst at each moment that is planned for one; none is left out, however late it is."""
    told, number = _Told(), first
    tweet(0)  # makes the texts
    planned = time.monotonic_ns()
    while not told.to_stop:
        planned += 1_000_000_000 * AT_ONCE // EACH_SEC
        if (wait_sec := (planned - time.monotonic_ns()) / 1e9) > 0:
            time.sleep(wait_sec)
        stamp = (PLANNED, b"%d" % planned)
        _send(connection, *(("XADD", stream, "*", *tweet(number + at), *stamp) for at in range(AT_ONCE)))
        number += AT_ONCE
    file.write_text(str(number - first), encoding="utf-8")


def consume(connection: Connection, stream: str, group: str, name: str, file: Path) -> None:
    """Read, store, acknowledge; write down how long it took."""
    told, taken = _Told(), array("d")
    read = ("XREADGROUP", "GROUP", group, name, "COUNT", 2 * AT_ONCE, "BLOCK", BLOCK_MS, "STREAMS", stream, ">")
    while not told.to_stop:
        (found,) = _send(connection, read)
        for _, entries in found or ():
            stores = [("HSET", b"tweet:" + flat[1], *flat) for _, flat in entries]
            _send(connection, *stores, ("XACK", stream, group, *(entry_id for entry_id, _ in entries)))
            now = time.monotonic_ns()
            for _, flat in entries:
                taken.extend((now / 1e9, (now - int(flat[-1])) / 1e9))
    file.write_bytes(taken.tobytes())


def main() -> None:
    """Do what the command line says."""
    what, port, stream, group, who, file = sys.argv[1:]
    connection = Connection(host=HOST, port=int(port), protocol=2, socket_timeout=60)  # type: ignore[no-untyped-call]  # redis-py gives it no types
    connection.connect()  # type: ignore[no-untyped-call]  # redis-py gives it no types
    if what == "produce":
        produce(connection, stream, int(who), Path(file))
    else:
        consume(connection, stream, group, who, Path(file))


if __name__ == "__main__":
    main()
