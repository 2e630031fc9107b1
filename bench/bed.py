"""Owns the test bed: a server of its own, tweets put on it as pending entries, and whether all of them ended right."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from secrets import randbelow
from tempfile import TemporaryDirectory
from typing import Any, Self

import trustme
from redis import Connection, SSLConnection

from bench.backlog import Backlog, as_dict, entry_id, expected, key, number_of, tweet
from dev.server import HOST, Server
from reclaim.keys import Keys
from reclaim.state.packing import pack

PLAIN, TLS = "valkey-9", "redis-7.0"  # the embedded server, and the one that is built with TLS
GROUP = "redisearch_app_group"
CONSUMER = b"worker"
LONG_MS = 3_600_000  # idle for longer than any run here asks for
AT_ONCE = 1_000
CHECK_ALL_UP_TO, CHECK_ONE_IN = 100_000, 50  # comparing a million hashes would take longer than storing them
SLOW_US = 10_000  # what SLOWLOG notes
OURS = (
    "REDIS_",
    "STREAM_",
    "RECLAIM_",
    "RUN_",
    "MONITORING_",
    "MIN_IDLE_",
    "HASH_",
    "HANDLER",
    "ORDER_KEY",
    "LANES",
    "FORWARD_",
    "HTTP_",
)
ALSO_OURS = ("PAGE_", "RETRY_", "MAX_DELIVERIES", "CIRCUIT_", "CONSUMER_TTL", "DEAD_LETTER_", "ALERT_", "APPLICATION")

Command = tuple[bytes | str | int, ...]
Slow = tuple[int, str]  # a slow command: microseconds, and its beginning


class CheckFailed(Exception):
    """A run did not leave what it should have left; its time is worth nothing."""


class Bed:
    """One server, emptied and filled again and again; seen through a plain connection that no contender uses."""

    def __init__(self, server: Server, ca_file: Path | None = None) -> None:
        self.server = server
        self.ca_file = ca_file
        tls = {"ssl_ca_certs": str(ca_file)} if ca_file else {}
        maker: Any = SSLConnection if ca_file else Connection
        self._connection = maker(host=HOST, port=server.port, protocol=2, socket_timeout=60, **tls)

    @classmethod
    @contextmanager
    def on(cls, kind: str, *, tls: bool = False) -> Iterator[Self]:
        """A bed on a new server; with TLS it has a certificate of an authority that exists as long as the bed."""
        with TemporaryDirectory() as directory:
            pem, ca_file = _certificate(Path(directory)) if tls else (None, None)
            slowlog = {"slowlog_log_slower_than": str(SLOW_US), "slowlog_max_len": "1024"}
            with Server(kind, tls_pem=pem, **slowlog) as server:
                bed = cls(server, ca_file)
                try:
                    yield bed
                finally:
                    bed.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()

    def env(self, backlog: Backlog, port: int | None = None, **settings: str) -> dict[str, str]:
        """The environment of an app that serves this backlog, at a proxy's port if given: defaults but for these."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(OURS + ALSO_OURS)}
        env |= {"REDIS_HOST": f"{HOST}:{port or self.server.port}", "REDIS_TLS": "true" if self.ca_file else "false"}
        if self.ca_file:
            env["REDIS_CA_FILE"] = str(self.ca_file)
        if backlog.streams == 1:
            env |= {"STREAM_NAME": backlog.names[0], "STREAM_CONSUMER_GROUP_NAME": GROUP}
        else:
            listed = ",".join(f'{{"stream":"{name}","group":"{GROUP}"}}' for name in backlog.names)
            env["RECLAIM_TARGETS"] = f"[{listed}]"
        return env | settings

    def send(self, commands: Iterable[Command]) -> list[Any]:
        """Send commands, many at a time; return their replies."""
        replies: list[Any] = []
        left = iter(commands)
        while some := list(islice(left, AT_ONCE)):
            packed = map(pack, some)
            self._connection.send_packed_command([b"".join(packed)])
            replies += [self._connection.read_response() for _ in some]
        return replies

    def put(self, backlog: Backlog) -> None:
        """Empty the server, and put the backlog's tweets on it; none of them is pending yet."""
        self.send([("FLUSHALL",)])
        for stream, numbers in backlog.parts():
            self.send(("XADD", stream, entry_id(number), *tweet(number)) for number in numbers)
            self.send([("XGROUP", "CREATE", stream, GROUP, "$", "MKSTREAM")])

    def fill(self, backlog: Backlog) -> None:
        """Empty the server, put the backlog's tweets on it, and let all be pending."""
        self.put(backlog)
        self.hold(backlog, LONG_MS)

    def refill(self, backlog: Backlog) -> None:
        """Let everything be pending again, with no hash stored yet: what `fill` does, without sending the tweets."""
        keys = (key(number) for number in range(backlog.count))
        self.send(("UNLINK", *some) for some in _chunks(keys))
        self.hold(backlog, LONG_MS)

    def hold(self, backlog: Backlog, idle_ms: int) -> None:
        """Give every entry to a consumer that has been idle for so long (https://redis.io/docs/latest/commands/xclaim/)."""
        for stream, numbers in backlog.parts():
            self.send(
                ("XCLAIM", stream, GROUP, CONSUMER, 0, *ids, "IDLE", idle_ms, "RETRYCOUNT", 1, "FORCE", "JUSTID")
                for ids in _chunks(map(entry_id, numbers))
            )
        self.send([("SLOWLOG", "RESET")])

    def delete_newest(self, backlog: Backlog) -> None:
        """Append an entry to each stream and delete it: for all the app knows, any pending one may be gone too."""
        newest = entry_id(backlog.count)
        for stream in backlog.names:
            self.send([("XADD", stream, newest, *tweet(backlog.count)), ("XDEL", stream, newest)])

    def check(self, backlog: Backlog, version_field: str | None = None) -> None:
        """See that all is settled and that every hash is what its tweet was; of very many, the hashes of some.

        Raises:
            CheckFailed: it is not so.
        """
        self.check_settled(backlog)
        there = sum(self.send(("EXISTS", *some) for some in _chunks(map(key, range(backlog.count)))))
        if there != backlog.count:
            raise CheckFailed(f"{there} hashes for {backlog.count} entries")
        every = 1 if backlog.count <= CHECK_ALL_UP_TO else CHECK_ONE_IN
        chosen = range(randbelow(every), backlog.count, every)  # others each time
        for first in range(0, len(chosen), AT_ONCE):
            numbers = chosen[first : first + AT_ONCE]
            for number, flat in zip(numbers, self.send(("HGETALL", key(n)) for n in numbers), strict=True):
                if as_dict(flat) != expected(number, version_field):
                    raise CheckFailed(f"the hash {key(number).decode()} is not as the tweet was")

    def check_settled(self, backlog: Backlog) -> None:
        """See that nothing is pending, and that nothing became a dead letter or was lost.

        Raises:
            CheckFailed: it is not so.
        """
        for name in backlog.names:
            keys = Keys.of(name.encode(), GROUP.encode())
            summary, dead, lost = self.send([("XPENDING", name, GROUP), ("XLEN", keys.dead), ("XLEN", keys.lost)])
            for count, what in ((summary[0], "pending"), (dead, "dead letters"), (lost, "lost")):
                if count:
                    raise CheckFailed(f"{count} entries of {name} are {what}")

    def check_copies(
        self, backlog: Backlog, stream: str, *, behind: bool, more: Mapping[bytes, Callable[[bytes], bytes]]
    ) -> None:
        """See that all is settled, and that each tweet has one copy in this stream, which is as it should be.

        Args:
            backlog: of one stream.
            stream: where the copies are.
            behind: whether the entries themselves stand before them.
            more: the fields that a copy has behind those of its tweet, each as made of the entry's ID.

        Raises:
            CheckFailed: it is not so.
        """
        self.check_settled(backlog)
        start = f"({entry_id(backlog.count - 1).decode()}" if behind else "-"
        left = set(range(backlog.count))
        while some := self.send([("XRANGE", stream, start, "+", "COUNT", AT_ONCE)])[0]:
            for copy_id, flat in some:  # those of different order keys come in any order
                number = number_of(flat)
                wanted = [*tweet(number), *(part for name, of in more.items() for part in (name, of(entry_id(number))))]
                if [*flat] != wanted or number not in left:
                    raise CheckFailed(f"{copy_id.decode()} in {stream} is no copy of a tweet, or a second one")
                left.remove(number)
            start = f"({some[-1][0].decode()}"
        if left:
            raise CheckFailed(f"{len(left)} tweets have no copy in {stream}")

    def check_handled(self, backlog: Backlog, stored: int) -> None:
        """See that all is settled, and that as many entries were handled as there were: each of them once.

        Raises:
            CheckFailed: it is not so.
        """
        self.check_settled(backlog)
        if stored != backlog.count:
            raise CheckFailed(f"{stored} entries were handled, and there were {backlog.count}")

    def check_untouched(self, backlog: Backlog) -> None:
        """See that all entries are still pending, and the consumer's that had them.

        Raises:
            CheckFailed: it is not so.
        """
        for name, numbers in backlog.parts():
            (summary,) = self.send([("XPENDING", name, GROUP)])
            holders = {consumer: int(count) for consumer, count in summary[3] or []}
            if holders != {CONSUMER: len(numbers)}:
                raise CheckFailed(f"{len(numbers)} entries of {name} were {CONSUMER.decode()}'s, and are: {holders}")

    def slow_commands(self) -> list[Slow]:
        """What SLOWLOG has noted since the backlog was filled."""
        (entries,) = self.send([("SLOWLOG", "GET", -1)])
        return [(entry[2], b" ".join(entry[3][:3]).decode(errors="replace")[:80]) for entry in entries]

    def version(self) -> str:
        """The server and its version."""
        (info,) = self.send([("INFO", "server")])
        facts = dict(line.partition(":")[::2] for line in info.decode().splitlines())
        if "valkey_version" in facts:
            return f"Valkey {facts['valkey_version']}"
        return f"Redis {facts['redis_version']}"


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A private key with its certificate, and the authority that signed it."""
    authority = trustme.CA()
    pem, ca_file = directory / "server.pem", directory / "ca.pem"
    authority.issue_cert(HOST, "localhost").private_key_and_cert_chain_pem.write_to_path(pem)
    authority.cert_pem.write_to_path(ca_file)
    return pem, ca_file


def _chunks(values: Iterable[bytes]) -> Iterator[list[bytes]]:
    left = iter(values)
    while some := list(islice(left, AT_ONCE)):
        yield some
