"""Measures how a target grows with the instances that work on it: stand-in hosts in processes of their own."""

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.backlog import Backlog
from bench.bed import GROUP, LONG_MS, PLAIN, Bed
from bench.contenders import COMPUTE_SEC, WAIT_SEC
from bench.measuring import Sample, turns
from bench.section import Goal, Say, Section, Sizes, Table
from dev.order import running_host
from dev.storage import Storage, is_installed
from reclaim.settings import Target

WORKERS = (1, 2, 4)
LANES = 32  # as a function has by default
HANDLERS = {"waits": "bench.contenders:wait", "computes": "bench.contenders:compute"}
ENTRIES = {"waits": round(6 * LANES / WAIT_SEC), "computes": round(6 / COMPUTE_SEC)}  # six seconds of one worker
# An instance that takes several messages has several shards in one process, which has one core.
_QUEUES = "AzureFunctionsJobHost__extensions__queues__"
ONE_MESSAGE_AT_ONCE = {f"{_QUEUES}batchSize": "1", f"{_QUEUES}newBatchThreshold": "0"}
LEAST_OF_TWO = 1.7
MOST_TO_BEGIN_SEC = 5.0
TIME_LIMIT_SEC = 120.0


@dataclass(frozen=True, slots=True)
class Worked:
    """What it took: from pending to begun, and from begun to done, in seconds."""

    to_begin_sec: float
    seconds: float


def workers(sizes: Sizes, say: Say) -> Section:
    """One, two and four hosts with as many shards; a handler that waits, and one that computes."""
    if not is_installed():
        return Section("More instances", "Azurite is not installed here, so nothing was measured.", [])
    taken: dict[tuple[str, int], list[Worked]] = {(name, count): [] for name in HANDLERS for count in WORKERS}
    part = min(1.0, sizes.waits_a_lane / 120)
    say("hosts in processes of their own")
    for at, (name, count) in turns(min(sizes.rounds, 3), taken):
        backlog = Backlog(max(count, round(part * ENTRIES[name])))
        one = _work(backlog, HANDLERS[name], count)
        taken[name, count].append(one)
        rate = backlog.count / one.seconds
        say(f"  {at} {name}, {count}: {rate:,.0f} entries/s, begun after {one.to_begin_sec:.1f} s")
    return _section(taken, part)


def _work(backlog: Backlog, handler: str, count: int) -> Worked:
    with ExitStack() as stack:
        bed = stack.enter_context(Bed.on(PLAIN))
        storage = stack.enter_context(Storage())
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        env = bed.env(backlog, HANDLER=handler, SHARDS=str(count), RECLAIM_SCHEDULE="* * * * * *", LANES=str(LANES))
        env |= {"FAN_OUT": "queue", "AzureWebJobsStorage": storage.connection, **ONE_MESSAGE_AT_ONCE}
        bed.put(backlog)
        for at in range(count):
            stack.enter_context(running_host(env, logs, at))
        began = time.monotonic()
        bed.hold(backlog, LONG_MS)
        return _watched(bed, backlog, count, began)


def _watched(bed: Bed, backlog: Backlog, count: int, began: float) -> Worked:
    """Watch until nothing is pending."""
    stream, group = backlog.names[0], GROUP
    leases = [part.keys.lease for part in Target(stream=stream, group=group, shards=count).parts]
    begun = 0.0
    while time.monotonic() - began < TIME_LIMIT_SEC:
        there, (left, *_) = bed.send([("EXISTS", *leases), ("XPENDING", stream, group)])
        begun = begun or (time.monotonic() if there else 0.0)
        if not left:
            bed.check_settled(backlog)
            return Worked(begun - began, time.monotonic() - begun)
        time.sleep(0.01)
    raise TimeoutError(f"{left} of {backlog.count} entries are pending after {TIME_LIMIT_SEC:g} s")


def _section(taken: Mapping[tuple[str, int], list[Worked]], part: float) -> Section:
    rows = [["handler", "hosts and shards", "entries/s", "× one", "from pending to begun, s"]]
    goals = []
    for (name, count), some in taken.items():
        rate = Sample([one.seconds for one in some]).per(round(part * ENTRIES[name]))
        alone = Sample([one.seconds for one in taken[name, 1]]).per(round(part * ENTRIES[name]))
        times, begun = rate.over(alone), Sample([one.to_begin_sec for one in some])
        rows.append([name, str(count), rate.show(), times.show(".2f"), begun.show(".1f")])
        if (name, count) == ("computes", 2):
            reached = times.median >= LEAST_OF_TWO
            goals.append(Goal("a handler that computes, two / one", f"≥ {LEAST_OF_TWO}", times.show(".2f"), reached))
    begun = Sample([one.to_begin_sec for some in taken.values() for one in some])
    wanted, reached = f"≤ {MOST_TO_BEGIN_SEC:g} s", begun.most <= MOST_TO_BEGIN_SEC
    goals.append(Goal("from pending to begun, over the queue", wanted, f"{begun.show('.1f')} s", reached))
    return Section("More instances", _TEXT, [Table(rows)], goals)


_TEXT = f"""\
Stand-in hosts (`dev/host.py`) in processes of their own, with `FAN_OUT=queue`, Azurite's queue between them, and as
many shards as hosts; each host takes one message at once. The timer ticks each second. One handler waits
{1000 * WAIT_SEC:g} ms for each entry, {LANES} at a time; the other uses the processor for {1000 * COMPUTE_SEC:g} ms.
Here are two processors, for the hosts and the server together: so a handler that computes cannot get beyond two."""
