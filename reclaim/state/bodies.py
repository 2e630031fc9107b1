"""Owns how the bodies of entries are read: a few by each command, and together no more than a page may weigh.

An entry's body never changes while it is in its stream, so it is read before the entry is claimed: what takes long to
arrive is not ours meanwhile, and costs no delivery if it never does.

Nobody tells how large an entry is, but its body does. So a few are read first, spread over all that are asked for, and
what lies between two of them is taken to weigh what the heavier one does. Where nothing is known, or entries were heavy
before, the very first one is read alone.

Light entries with no others between them in the stream are read in runs, one command for each run. The samples tell:
each of them is a pair, if entries were light before. Once a run has brought others too, each entry is read by a command
of its own until the bodies are let go.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, pairwise, repeat

from reclaim.state.connection import Server

PAGE_BYTES = 4 * 2**20  # the most that the bodies of one page are to come to
SAMPLES = 8  # places read to learn what lies between them: 8 MB at most where entries have come to 1 MB each
PAIR = 2  # entries read at each place, where they are light
RUN = 8  # light entries that one command reads: 4 MB at most, and 8 MB where they have come to 1 MB each
STEP = 4  # after a failure a quarter is asked for; after what works, up to four times as many
READ_AT_ONCE = 1_000  # as large as a page can be

Body = Sequence[bytes] | None  # names and values in turn; None where the entry is not in the stream


class Bodies:
    """Reads the bodies of the entries of one stream, and remembers what they weighed, from run to run too.

    Attributes:
        mean: how many bytes an entry had that `first` gave last, on average.
    """

    def __init__(self, server: Server, stream: bytes, *, in_order: bool = True) -> None:
        """Make it.

        Args:
            server: what has the stream.
            stream: its key.
            in_order: whether all IDs asked for will be written as Redis writes them, and ascend; else nothing is read
                in runs.
        """
        self.mean = 0.0
        self._server = server
        self._stream = stream
        self._in_order = in_order
        self._heaviest: int | None = None  # of what was read last; None: nothing is known, or reading it has failed
        self._at_most: int | None = None  # entries to read at once, since so many more could not be read
        self._others_between = False  # whether a run brought entries that were not asked for, since `forget_all`
        self._read: dict[bytes, Body] = {}  # for this call of `first` and the one before, and not forgotten
        self._asked: Sequence[bytes] = ()  # by the call before

    async def first(self, ids: Sequence[bytes]) -> list[Body]:
        """The bodies of the first of these entries: as many as come to PAGE_BYTES, and at least one.

        What was read is there when the next call asks for it, until it is forgotten: what did not fit any more, and
        what was read before an error.

        Raises:
            redis.exceptions.RedisError, ServerError: as `Server.batch`. The next call begins with one entry.
        """
        if self._read:
            self._read = {one: self._read[one] for one in chain(self._asked, ids) if one in self._read}
        self._asked = ids
        known, self._heaviest = self._heaviest, None
        are_runs = await self._sample(ids, known)
        some = self._as_many_as_may(ids[: self._fitting(ids)])
        await self._fetch(self._missing(some, RUN if are_runs else 1))
        bodies = [self._read[one] for one in some]
        size = sum(map(_weight, bodies))
        self.mean = size / len(bodies)
        if size > PAGE_BYTES:
            bodies = _within(bodies)
            self.mean = sum(map(_weight, bodies)) / len(bodies)
        self._heaviest = size if _at_once(size) >= SAMPLES else max(map(_weight, bodies))  # the least work where light
        return bodies

    def expects_light(self, count: int) -> bool:
        """Whether so many entries come to a quarter of a page's weight, if they weigh what the last ones did."""
        return self._at_most is None and 0 < 4 * self.mean * count <= PAGE_BYTES

    def forget(self, ids: Iterable[bytes]) -> None:
        """Let go of the bodies of entries that will not be asked for again."""
        deque(map(self._read.pop, ids, repeat(None)), maxlen=0)

    def forget_all(self) -> None:
        """Let go of all bodies; what they weighed is remembered."""
        self._read, self._asked, self._others_between = {}, (), False

    async def _sample(self, ids: Sequence[bytes], known: int | None) -> bool:
        """Read some, spread over all: one where entries may be heavy. Whether the others may be read in runs."""
        if known is None or _at_once(known) < SAMPLES:
            await self._fetch(self._missing(ids[:1], 1))
            known = max(map(_weight, map(self._read.get, ids[:1])), default=0)
        count = min(len(ids), self._at_most or SAMPLES, SAMPLES, _at_once(known))
        if count < 2:
            return False
        may_be_light = self._in_order and not self._others_between and self._at_most is None and count == SAMPLES
        each = PAIR if may_be_light and len(ids) >= PAIR * SAMPLES else 1
        places = [at * (len(ids) - each) // (count - 1) for at in range(count)]
        samples = [ids[at : at + each] for at in places]
        await self._fetch([run for pair in samples for run in self._missing(pair, each)])
        heaviest = max(_weight(self._read[one]) for one in chain.from_iterable(samples))
        return each == PAIR and not self._others_between and _at_once(heaviest) >= SAMPLES

    def _fitting(self, ids: Sequence[bytes]) -> int:
        """How many of the first ones come to PAGE_BYTES, as far as it is known; at least one."""
        known = [at for at, one in enumerate(ids) if one in self._read]
        size = 0
        for at, then in pairwise(known):
            weight, next_weight = _weight(self._read[ids[at]]), _weight(self._read[ids[then]])
            size += weight
            fit = max(0, PAGE_BYTES - size) // max(weight, next_weight, 1)
            if fit < then - at - 1:
                return at + 1 + fit
            size += (then - at - 1) * max(weight, next_weight)
        last = known[-1] if known else 0
        weight = max(1, _weight(self._read[ids[last]])) if known else 1
        return last + max(1, min(len(ids) - last, (PAGE_BYTES - size) // weight))

    def _as_many_as_may(self, ids: Sequence[bytes]) -> Sequence[bytes]:
        """The first ones, up to as many not read yet as may be read at once; at least one."""
        if self._at_most is None:
            return ids
        missing = [at for at, one in enumerate(ids) if one not in self._read]
        return ids if len(missing) <= self._at_most else ids[: missing[self._at_most]]

    def _missing(self, ids: Sequence[bytes], most: int) -> list[Sequence[bytes]]:
        """Those not read yet, in runs of so many at most; what was read is in no run, nor between two of one."""
        known = [at for at, one in enumerate(ids) if one in self._read] if self._read else ()
        return [
            ids[at : min(at + most, end)]
            for before, end in pairwise((-1, *known, len(ids)))
            for at in range(before + 1, end, most)
        ]

    async def _fetch(self, runs: Sequence[Sequence[bytes]]) -> None:
        """Read runs of entries. If that fails, fewer are asked for the next times, down to one.

        What a run's command did not reach, because other entries come before it, is read by a command of its own.
        """
        if not runs:
            return
        asked = list(chain.from_iterable(runs))
        try:
            replies = await self._server.ranges(self._stream, runs)
        except BaseException:
            self._at_most = max(1, len(asked) // STEP)
            raise
        if self._at_most is not None:
            self._at_most = self._at_most * STEP if self._at_most < READ_AT_ONCE else None
        found: dict[bytes, Body] = dict(chain.from_iterable(replies))
        if list(found) == asked:  # nearly always
            self._read |= found
            return
        self._others_between = self._others_between or not found.keys() <= set(asked)
        missed: list[Sequence[bytes]] = []
        for run, reply in zip(runs, replies, strict=True):
            if len(run) == 1:
                self._read[run[0]] = reply[0][1] if reply else None
                continue
            is_whole = len(reply) < len(run) or reply[-1][0] == run[-1]
            for one in run:
                if is_whole or one in found:
                    self._read[one] = found.get(one)
                else:
                    missed.append([one])
        await self._fetch(missed)


def _within(bodies: Sequence[Body]) -> list[Body]:
    """The first ones, up to PAGE_BYTES; at least one."""
    sizes = accumulate(map(_weight, bodies))
    return list(bodies[: max(1, sum(size <= PAGE_BYTES for size in sizes))])


def _weight(body: Body) -> int:
    return 0 if body is None else len(b"".join(body))  # in half the time of a sum of lengths, where words are short


def _at_once(weight: int) -> int:
    """How many entries of this weight make a page."""
    return max(1, PAGE_BYTES // max(weight, 1))
