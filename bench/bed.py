"""Owns the test bed: a server of its own, tweets put on it as pending entries, and whether all of them ended right."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import hiredis
import trustme
from redis import Connection, SSLConnection

from dev.server import HOST, Server
from dev.tweets import FIRST_ID, Flat, tweets

GROUP = "redisearch_app_group"
CONSUMER = b"worker"
LONG_MS = 3_600_000  # idle for longer than any run here asks for
DISTINCT = 50_000  # tweets with texts of their own; more than that repeat the texts under other ids
AT_ONCE = 1_000
FIRST_MS = 1_700_000_000_000
CHECK_ALL_UP_TO = 100_000
OURS = ("REDIS_", "STREAM_", "RECLAIM_", "RUN_", "MONITORING_", "MIN_IDLE_", "HASH_", "HANDLER", "ORDER_KEY", "LANES")
ALSO_OURS = ("PAGE_", "RETRY_", "MAX_DELIVERIES", "CIRCUIT_", "CONSUMER_TTL", "DEAD_LETTER_", "ALERT_", "APPLICATION")

Command = tuple[bytes | str | int, ...]


class CheckFailed(Exception):
    """A run did not leave what it should have left; its time is worth nothing."""


@cache
def _texts() -> list[Flat]:
    return list(tweets(DISTINCT))


def tweet(number: int) -> Flat:
    """The tweet of this number: names and values in turn, its id like no other's."""
    flat = _texts()[number % DISTINCT]
    return flat if number < DISTINCT else [b"id", b"%d" % (FIRST_ID + number), *flat[2:]]


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
            with Server(kind, tls_pem=pem, slowlog_max_len="1024") as server:
                bed = cls(server, ca_file)
                try:
                    yield bed
                finally:
                    bed._connection.disconnect()

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
            packed = map(hiredis.pack_command, some)  # type: ignore[arg-type]  # its type says that a command is one word
            self._connection.send_packed_command([b"".join(packed)])
            replies += [self._connection.read_response() for _ in some]
        return replies

    def fill(self, backlog: Backlog, idle_ms: int = LONG_MS) -> None:
        """Empty the server, put the backlog's tweets on it, and let all be pending."""
        self.send([("FLUSHALL",)])
        for stream, numbers in backlog.parts():
            self.send(("XADD", stream, _entry_id(number), *tweet(number)) for number in numbers)
            self.send([("XGROUP", "CREATE", stream, GROUP, "$", "MKSTREAM")])
        self.hold(backlog, idle_ms)

    def refill(self, backlog: Backlog) -> None:
        """Let everything be pending again, with no hash stored yet: what `fill` does, without sending the tweets."""
        keys = (_key(number) for number in range(backlog.count))
        self.send(("UNLINK", *some) for some in _chunks(keys))
        self.hold(backlog, LONG_MS)

    def hold(self, backlog: Backlog, idle_ms: int) -> None:
        """Give every entry to a consumer that has been idle for so long (https://redis.io/docs/latest/commands/xclaim/)."""
        for stream, numbers in backlog.parts():
            self.send(
                ("XCLAIM", stream, GROUP, CONSUMER, 0, *ids, "IDLE", idle_ms, "RETRYCOUNT", 1, "FORCE", "JUSTID")
                for ids in _chunks(map(_entry_id, numbers))
            )
        self.send([("SLOWLOG", "RESET")])

    def check(self, backlog: Backlog, version_field: str | None = None) -> None:
        """See that nothing is pending and that every hash is what its tweet was; of very many, the hashes of some.

        Raises:
            CheckFailed: it is not so.
        """
        for name in backlog.names:
            (summary,) = self.send([("XPENDING", name, GROUP)])
            if summary[0]:
                raise CheckFailed(f"{summary[0]} entries of {name} are pending")
        every = 1 if backlog.count <= CHECK_ALL_UP_TO else 50
        there = sum(self.send(("EXISTS", *some) for some in _chunks(map(_key, range(backlog.count)))))
        if there != backlog.count:
            raise CheckFailed(f"{there} hashes for {backlog.count} entries")
        for first in range(0, backlog.count, every * AT_ONCE):
            numbers = range(first, min(first + every * AT_ONCE, backlog.count), every)
            for number, flat in zip(numbers, self.send(("HGETALL", _key(n)) for n in numbers), strict=True):
                if _as_dict(flat) != _expected(number, version_field):
                    raise CheckFailed(f"the hash {_key(number).decode()} is not as the tweet was")

    def slow_commands(self, floor_us: int = 10_000) -> list[tuple[int, str]]:
        """What SLOWLOG has noted since the backlog was filled: microseconds, and the command's beginning."""
        (entries,) = self.send([("SLOWLOG", "GET", -1)])
        noted = [(entry[2], b" ".join(entry[3][:3]).decode(errors="replace")[:80]) for entry in entries]
        return [one for one in noted if one[0] >= floor_us]

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


def _entry_id(number: int) -> bytes:
    return b"%d-%d" % (FIRST_MS + number // 4, number % 4)


def _key(number: int) -> bytes:
    return b"tweet:%d" % (FIRST_ID + number)


def _expected(number: int, version_field: str | None) -> dict[bytes, bytes]:
    fields = _as_dict(tweet(number))
    return fields | {version_field.encode(): _entry_id(number)} if version_field else fields


def _as_dict(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _chunks(values: Iterable[bytes]) -> Iterator[list[bytes]]:
    left = iter(values)
    while some := list(islice(left, AT_ONCE)):
        yield some
