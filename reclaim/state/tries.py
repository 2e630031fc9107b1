"""Owns `tries`: what is known, from run to run, of each entry that was tried and is not done.

It is a hash, ``{stream}:reclaim:group:tries`` (the braces are part of the name). A field is an entry's ID. Its value is
text, with one space between the parts:

    1                 the version of this format
    charged           how many tries of ours count against the entry
    first_ms          when we tried it first, Unix ms by our own clock; 0: not yet
    last_ms           when we tried it last; 0: not yet
    deliveries        the delivery count that we left it with
    verdict           of the last try: fail, retry, or none (no try has come to an end yet)
    digest            8 bytes of BLAKE2 of its order key, in hexadecimal; - where the key was not known
    reason            why the last try failed, 200 characters at most

There are 100,000 records at most. An entry without a record is judged by its idle time and its delivery count.
A record of another version is left as it is.
"""

import logging
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from redis.exceptions import RedisError

from reclaim.counted import many
from reclaim.entry import readable
from reclaim.errors import ServerError, said
from reclaim.settings import Target
from reclaim.state.ask import Ask, Command, Reply, plain, raised
from reclaim.state.connection import Server
from reclaim.state.formats import FORMAT

logger = logging.getLogger("reclaim")

MAX_RECORDS = 100_000
MAX_REASON = 200
READ_AT_ONCE = 1000  # about; 1 to 2 ms
STALE_AT_ONCE = 500  # records that are compared with the pending list in one round trip
STALE_IN_A_RUN = 2000
_NO_DIGEST = b"-"


class Try(NamedTuple):
    """What is known of an entry's tries; the parts of a record."""

    charged: int = 0
    first_ms: int = 0
    last_ms: int = 0
    deliveries: int = 1
    verdict: str = "none"
    digest: bytes = b""
    reason: str = ""

    def to_bytes(self) -> bytes:
        """The record, as it is kept."""
        numbers = b"%d %d %d %d" % (self.charged, self.first_ms, self.last_ms, self.deliveries)
        digest = self.digest.hex().encode() or _NO_DIGEST
        reason = self.reason[:MAX_REASON].encode(errors="backslashreplace")
        return b" ".join((FORMAT, numbers, self.verdict.encode(), digest, reason))

    @classmethod
    def from_bytes(cls, record: bytes) -> "Try | None":
        """The record, without its reason; None if it is of another version, or no record at all."""
        try:
            version, charged, first, last, deliveries, verdict, digest, _ = record.split(b" ", 7)
            if version != FORMAT:
                return None
            known = b"" if digest == _NO_DIGEST else bytes.fromhex(digest.decode())
            return cls(int(charged), int(first), int(last), int(deliveries), verdict.decode(), known)
        except ValueError:
            return None


def reason_in(record: bytes) -> str:
    """Why the last try failed, as a record says it; empty if it is of another version, or no record at all."""
    parts = record.split(b" ", 7)
    return readable(parts[7]) if len(parts) == 8 and parts[0] == FORMAT else ""  # as `to_bytes` has


class Tries:
    """The records of one target, as one run has read and changed them.

    Attributes:
        known: every record that can be read, by the entry's ID.
    """

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._name = target.name
        self._key = target.keys.tries
        self._stream = target.keys.stream
        self._group = target.group_bytes
        self._foreign: set[bytes] = set()  # entries whose record is of another version
        self.known: dict[bytes, Try] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is no record."""
        return not (self.known or self._foreign)

    def count(self) -> Ask[Reply]:
        """How many records there are."""
        return plain("HLEN", self._key)

    async def read(self) -> None:
        """Read all records, some at a time."""
        cursor: Reply = 0
        while True:
            cursor, flat = await self._server.call("HSCAN", self._key, cursor, "COUNT", READ_AT_ONCE)
            for entry_id, record in zip(flat[::2], flat[1::2], strict=True):
                one = Try.from_bytes(record)
                if one is None:
                    self._foreign.add(entry_id)
                else:
                    self.known[entry_id] = one
            if int(cursor) == 0:
                break
        if self._foreign:
            logger.warning(
                "reclaim %s: %s of another release and left alone, of entry %s for one",
                self._name,
                many(len(self._foreign), "record of tries is", "records of tries are"),
                readable(min(self._foreign)),
            )

    async def look_up(self, entry_ids: Sequence[bytes]) -> None:
        """Read the records of these entries, which may have been written since `read`."""
        for at in range(0, len(entry_ids), READ_AT_ONCE):
            some = entry_ids[at : at + READ_AT_ONCE]
            records = await self._server.call("HMGET", self._key, *some)
            for entry_id, record in zip(some, records, strict=True):
                one = None if record is None else Try.from_bytes(record)
                if one is not None:
                    self.known[entry_id] = one

    async def forget_all(self) -> None:
        """Remove all records: they are of entries that are gone with their group."""
        await self._server.call("UNLINK", self._key)

    def change(self, records: Mapping[bytes, Try], done: Iterable[bytes] = ()) -> list[Ask[Reply]]:
        """What keeps these records, and removes those of entries that are done. It may be nothing."""
        removed = [one for one in done if self.known.pop(one, None) is not None or one in self._foreign]
        self._foreign.difference_update(removed)
        room = MAX_RECORDS - len(self.known) - len(self._foreign)
        flat: list[bytes] = []
        for entry_id, record in records.items():
            if entry_id in self._foreign:
                continue
            if entry_id not in self.known:
                if room <= 0:
                    continue
                room -= 1
            self.known[entry_id] = record._replace(reason="")
            flat += (entry_id, record.to_bytes())
        asks = [plain("HSET", self._key, *flat)] if flat else []
        return [*asks, plain("HDEL", self._key, *removed)] if removed else asks

    async def keep(self, records: Mapping[bytes, Try]) -> None:
        """Keep these records, or fail, and then know of them no more than before.

        Raises:
            ServerError, redis.exceptions.RedisError: they could not be kept.
        """
        before = {one: self.known[one] for one in records if one in self.known}
        try:
            await self._server.ask(*self.change(records))
        except BaseException:
            for one in records:
                self.known.pop(one, None)
            self.known.update(before)
            raise

    async def remove_stale(self, pending: Collection[bytes]) -> None:
        """Remove records of entries that are no longer pending, after a look at some of those not known to be.

        Args:
            pending: IDs of entries that are known to be pending.
        """
        doubtful = [one for one in self.known if one not in pending]
        doubtful = random.sample(doubtful, min(len(doubtful), STALE_IN_A_RUN))
        for at in range(0, len(doubtful), STALE_AT_ONCE):
            some = doubtful[at : at + STALE_AT_ONCE]
            looks: list[Command] = [("XPENDING", self._stream, self._group, one, one, 1) for one in some]
            rows = raised(await self._server.batch(looks))
            gone = [one for one, row in zip(some, rows, strict=True) if not row]
            await self.send(self.change({}, gone))

    async def send(self, asks: Sequence[Ask[Reply]]) -> None:
        """Send what `change` has made, if anything. No run fails for it: delivery counts decide then."""
        if not asks:
            return
        try:
            self.warn(await self._server.ask(*(ask.or_error() for ask in asks)))
        except (RedisError, ServerError, OSError) as exc:
            self.warn([exc])

    def warn(self, answers: Iterable[Reply]) -> None:
        """Log what could not be written down."""
        for answer in answers:
            if isinstance(answer, Exception):
                logger.warning("reclaim %s: what was tried could not be written down: %s", self._name, said(answer))
