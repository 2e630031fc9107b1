"""The machine: everything that may happen to a stream and its group; the judge looks on after each step."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any, ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from redis.exceptions import RedisError

from dev.proxy import Command, ErrorReply, Rule
from dev.server import HOST
from reclaim import handlers
from reclaim.errors import ReclaimError
from reclaim.handlers.hash import _STORE_NEWER
from reclaim.run.replay import Replay
from reclaim.run.report import Outcome, RunReport
from reclaim.run.runner import Runner
from reclaim.settings import Settings
from reclaim.state.connection import connect
from reclaim.state.dead_letters import DeadLetters
from reclaim.state.pending import Row
from reclaim.state.tries import Try
from tests.promises.model.judge import Judge
from tests.promises.model.place import Place, wait_at_most
from tests.promises.model.steps import (
    ERROR,
    FAULT_NAMES,
    FAULTS,
    MEDDLING_STEPS,
    OUTAGES,
    REPLAY_STEPS,
    SILENT,
    STEPS,
    is_hash,
)
from tests.promises.model.world import (
    BACKOFF_SEC,
    IDLE_MS,
    KEYS,
    MAX_DELIVERIES,
    MIN_IDLE_MS,
    OURS,
    Act,
    Made,
    Seen,
    Slow,
    by_number,
    number_of,
)
from tests.support import LONG_MS, a_target, as_dict, lived_in, settings_for

SHARED = {  # the target, as far as it is not the default
    "min_idle_ms": MIN_IDLE_MS,
    "hash_key": "hash:{k}",
    "page_size": 3,
    "lanes": 2,
    "retry_attempts": 2,
    "retry_max_delay_sec": 0.001,
    "max_deliveries": MAX_DELIVERIES,
    "circuit_failures": 1_000_000,
}
LIVE = ["alice", "bob"]
MADE_KEYS = st.sampled_from(["a", "a", "a", "b", "b", "c", "wrong", None])
SOME = st.sampled_from([0, 1, 2, 4, 16, 16])
NO_NUMBER = 2**63  # greater than any entry's
MUCH_ROOM = 100_000  # for dead letters
BATCHES = st.lists(st.tuples(MADE_KEYS, st.integers(1, 4)), min_size=1, max_size=4)
MISTAKES = (TypeError, AttributeError, LookupError, ValueError)  # no fault may lead to one
SILENCE_SEC = 0.3  # how long an answer may take in a run with a fault that shows by silence only


async def _all(runs: Iterable[Coroutine[Any, Any, RunReport]]) -> list[RunReport]:
    return list(await asyncio.gather(*runs))


class Machine(RuleBasedStateMachine):
    """The actions and the judgement."""

    place: ClassVar[Place]  # a subclass has it
    shards: ClassVar[int] = 1  # each with connections of its own, as on an instance of its own

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, Made] = {}
        self.armed: list[Rule] = []
        self.fault: tuple[str, ...] = ()
        self.client = self.place.client
        self.place.proxy.clear()
        self.servers: list[Any] = []

    # --- beginning and end ---

    @initialize(
        version=st.booleans(),
        deletes=st.sampled_from([None, "alone", "beside"]),
        backoff_sec=st.sampled_from([0, 0, BACKOFF_SEC]),
        room=st.sampled_from([MUCH_ROOM, MUCH_ROOM, 2]),
        first=BATCHES,
    )
    def begin(
        self, *, version: bool, deletes: str | None, backoff_sec: int, room: int, first: list[tuple[str | None, int]]
    ) -> None:
        """A stream, a group, a consumer that has died; and one hash key that is taken by something else.

        Acknowledged entries stay in the stream, or are deleted: where the group is alone, or beside one that is slower.
        There is room for all dead letters, or for few.
        """
        self.version = b"version" if version else None
        self.slow = None if deletes is None else Slow(0 if deletes == "beside" else NO_NUMBER)
        self.changes = {
            **SHARED,
            "delivery_backoff_sec": backoff_sec,
            "dead_letter_maxlen": room,
            **({"hash_version_field": "version"} if version else {}),
            **({"delete_acknowledged": True} if deletes else {}),
            **({"shards": self.shards} if self.shards > 1 else {}),
        }
        self.target = a_target(**self.changes)
        self.judge = Judge(self.made, self.place.count, is_versioned=version, slow=self.slow, room=room)
        self.sighted: set[int] = set()  # what the last run saw pending as it ended, if it was a clean one
        self.call("FLUSHALL")
        self.call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
        if deletes == "beside":
            self.call("XGROUP", "CREATE", "s", "slow", "0")
        self.call("SET", "hash:wrong", "a string")
        lived_in(self.client, self.target)
        self.call("SCRIPT", "LOAD", _STORE_NEWER)  # or else one that is refused would take others along
        self.renew_runner()
        self.seen = self.look()
        self.place.count["examples"] += 1
        self.abandon(first, "alice", 1, 2)

    def teardown(self) -> None:
        self.disconnect()

    def renew_runner(self) -> None:
        """What new processes begin with: each has one of the shards."""
        self.servers = [
            connect(settings_for(self.place.proxy, self.target, cluster=self.place.is_cluster))
            for _ in range(self.shards)
        ]
        self.runners = [
            Runner(part, server, handlers.make(server, part), sleep=lambda _: asyncio.sleep(0))
            for part, server in zip(self.target.parts, self.servers, strict=True)
        ]
        for runner in self.runners:
            runner.next_sweep = float("inf")

    def disconnect(self) -> None:
        """Close our connections, and wait until what was under way on them is over."""
        for server in self.servers:
            self.place.do(server.aclose())
        self.place.quiet(self.place.proxy)

    def run_all(self) -> list[RunReport]:
        """A run of each shard, all at the same time."""
        reports = self.place.do(_all(runner.run(30) for runner in self.runners))
        for report in reports:
            note(f"{report.outcome.value} {report.reason}")
        return reports

    def drop_leases(self) -> None:
        """What becomes of the leases of processes that died, in time."""
        self.call("DEL", self.target.keys.lease, *(part.keys.lease for part in self.target.parts))

    def call(self, *command: Any) -> Any:
        return self.client.execute_command(*command)

    # --- what others do ---

    @rule(key=MADE_KEYS, count=st.integers(1, 4), consumer=st.sampled_from([None, *LIVE]), dies=st.booleans())
    def produce(self, key: str | None, count: int, consumer: str | None, *, dies: bool) -> None:
        """Some entries of one order key, or without one; perhaps a consumer reads all there is, and perhaps it dies."""
        self.step("produce")
        self.add(key, count)
        if consumer is not None:
            self.read_some(consumer, 100)
            if dies:
                self.age(lambda row: row[0] == consumer.encode())
        self.watch()

    @rule(batches=BATCHES, consumer=st.sampled_from(LIVE), deliveries=st.sampled_from([1, 1, 1, 2, 3]), slow=SOME)
    def abandon(self, batches: list[tuple[str | None, int]], consumer: str, deliveries: int, slow: int) -> None:
        """Some entries are produced, a consumer reads all there is, perhaps not the first to do so, and dies.

        A second group, if there is one, is done with some of what it holds.
        """
        self.step("produce and abandon")
        for key, count in batches:
            self.add(key, count)
        for one in self.read_some(consumer, 100):
            one.deliveries = one.by_others = deliveries
            self.call("XCLAIM", "s", "g", consumer, 0, one.id, "RETRYCOUNT", deliveries, "JUSTID")
        self.age(lambda row: row[0] == consumer.encode())
        self.second_reads(4 * slow, slow)
        self.watch()

    def add(self, key: str | None, count: int) -> None:
        for _ in range(count):
            number = len(self.made) + 1
            fields = [b"n", b"%d" % number] if key is None else [b"k", key.encode(), b"n", b"%d" % number]
            self.made[number] = Made(number, key, fields)
            self.call("XADD", "s", self.made[number].id, *fields)

    @rule(consumer=st.sampled_from(LIVE), count=st.integers(1, 8))
    def read(self, consumer: str, count: int) -> None:
        """A live consumer reads."""
        self.step("read")
        self.read_some(consumer, count)
        self.watch()

    def read_some(self, consumer: str, count: int) -> list[Made]:
        reply = self.call("XREADGROUP", "GROUP", "g", consumer, "COUNT", count, "STREAMS", "s", ">")
        read = [self.made[number_of(entry_id)] for entry_id, _ in (reply[0][1] if reply else [])]
        for one in read:
            one.status, one.reader = "pending", consumer
        self.seen = self.look()
        return read

    @rule(which=st.integers(0, 50), consumer=st.sampled_from(LIVE))
    def finish(self, which: int, consumer: str) -> None:
        """A live consumer stores an entry that it has read, and then acknowledges it, be it ever so late."""
        mine = [one for one in self.made.values() if one.reader == consumer and not one.finished and one.can_be_stored]
        if not mine:
            return
        self.step("finish")
        self.finish_one(mine[which % len(mine)])
        self.watch()

    def finish_one(self, one: Made) -> bool:
        """Store it and acknowledge it as a live consumer does; say whether it was still pending."""
        one.finished = True
        version = [] if self.version is None else [self.version, one.id]
        self.call("HSET", f"hash:{one.key}", *one.fields, *version)
        if not self.call("XACK", "s", "g", one.id):
            return False
        one.status = "live"
        return True

    @rule(ours=st.booleans(), idle_ms=st.sampled_from([LONG_MS, LONG_MS, IDLE_MS]))
    def time_passes(self, *, ours: bool, idle_ms: int) -> None:
        """Everything that is pending becomes idle, or what we hold does; perhaps not for long enough to be due."""
        self.step("time passes")
        self.age(lambda row: row[0] in OURS or not ours, idle_ms)
        self.watch()

    def age(self, chosen: Callable[[tuple[bytes, bool, int]], bool], idle_ms: int = LONG_MS) -> None:
        """Let entries be idle; not those that are deleted, as XCLAIM would drop them."""
        for number, row in self.seen.pending.items():
            if number in self.seen.stream and chosen(row):
                self.call("XCLAIM", "s", "g", row[0], 0, self.made[number].id, "IDLE", idle_ms, "JUSTID")
        self.seen = self.look()

    @rule(which=st.integers(0, 50), trims=st.booleans())
    def delete(self, which: int, *, trims: bool) -> None:
        """Somebody deletes a pending entry, or trims the stream so that it is the first one left."""
        there = sorted(self.seen.pending.keys() & self.seen.stream)
        if not there:
            return
        chosen = there[which % len(there)]
        self.step("trim" if trims else "delete")
        if trims:
            self.call("XTRIM", "s", "MAXLEN", sum(number >= chosen for number in self.seen.stream))
        else:
            self.call("XDEL", "s", self.made[chosen].id)
        for number in self.seen.stream:
            if number < chosen if trims else number == chosen:
                self.made[number].is_removed = True
        self.watch()

    @rule(reads=SOME, finishes=SOME)
    def second_group(self, reads: int, finishes: int) -> None:
        """The second group reads some entries and acknowledges some that it has read."""
        self.step("second group")
        self.second_reads(reads, finishes)
        self.watch()

    def second_reads(self, reads: int, finishes: int) -> None:
        if self.slow is None or self.slow.read_up_to == NO_NUMBER:
            return
        reply = self.call("XREADGROUP", "GROUP", "slow", "carol", "COUNT", reads, "STREAMS", "s", ">") if reads else []
        for entry_id, _ in reply[0][1] if reply else []:
            self.slow.read_up_to = number_of(entry_id)
            self.slow.held.add(number_of(entry_id))
        for number in sorted(self.slow.held)[:finishes]:
            self.call("XACK", "s", "slow", self.made[number].id)
            self.slow.held.discard(number)

    @rule(deletes=st.booleans(), run_between=st.booleans())
    def make_anew(self, *, deletes: bool, run_between: bool) -> None:
        """The group is destroyed and made anew, or its stream is deleted; perhaps a run finds neither in between.

        What was pending, and what nobody had read, is gone. What a run had seen pending is counted in the ledger.
        """
        self.step("stream made anew" if deletes else "group made anew")
        owed, counted = self.sighted & self.seen.pending.keys(), self.seen.counted_lost
        self.judge.gone(deletes=deletes)
        self.call(*(("DEL", "s") if deletes else ("XGROUP", "DESTROY", "s", "g")))
        if run_between:
            reports = self.run_all()
            assert {report.outcome for report in reports} == {Outcome.GROUP_MISSING}, reports
        self.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        if deletes and self.slow is not None and self.slow.read_up_to != NO_NUMBER:
            self.call("XGROUP", "CREATE", "s", "slow", "$")
            self.slow.read_up_to, self.slow.held = len(self.made), set()
        self.watch()
        self.run()
        if deletes or run_between:  # else nothing may tell, if no run of ours had claimed anything in the group
            assert self.seen.counted_lost - counted >= len(owed), f"G2: {owed} are gone, and not counted"
            self.place.count["G2: gone and counted"] += len(owed)

    # --- what reclaim does ---

    def is_full(self) -> bool:
        """Whether there is no room for another dead letter."""
        return sum(map(len, self.seen.letters.values())) >= self.target.dead_letter_maxlen

    @rule()
    def run(self) -> None:
        """A run with nothing in its way."""
        self.step("run")
        before = self.seen
        reports = self.run_all()
        self.judged(before, Act("run", is_clean=True))
        self.sighted = set(self.seen.pending)
        ends = {Outcome.COMPLETED, Outcome.NOTHING_PENDING} | ({Outcome.DEAD_LETTERS_FULL} if self.is_full() else set())
        assert {report.outcome for report in reports} <= ends, reports
        assert not self.call("EXISTS", *(part.keys.lease for part in self.target.parts))

    @rule(
        at=st.sampled_from([*sorted(STEPS), "store", "store", "acknowledge", "claim", "refund"]),
        fault=st.sampled_from(FAULT_NAMES),
        skip=st.sampled_from([0, 0, 0, 1, 2, 4]),
        times=st.sampled_from([1, 1, 2, None]),
    )
    def run_with_fault(self, at: str, fault: str, skip: int, times: int | None) -> None:
        """A run with a fault at a command."""
        self.ensure_work()
        if at == "park":
            self.abandon([(None, 1), ("wrong", 1)], "alice", 1, 2)
        act = Act("run with fault")
        self.arm(act, STEPS[at], at, fault, skip, times)
        if at == "refund":  # there is none unless something cannot be stored
            self.place.proxy.when("HSET", OUTAGES["OOM"], args=is_hash, times=3)
            self.place.proxy.when("EVALSHA", OUTAGES["OOM"], times=3)
        self.run_armed(act)

    @rule(skip=st.sampled_from([0, 0, 1]), times=st.sampled_from([1, 2, None]))
    def run_with_bad_entries(self, skip: int, times: int | None) -> None:
        """A run in which the store does not take some entries, and it is their own fault: the others are done."""
        self.ensure_work()
        act = Act("run with bad entries", is_clean=True)
        self.arm(act, STEPS["store"], "store", ERROR, skip, times)
        self.run_armed(act)

    @rule(
        at=st.sampled_from(["claim", "store", "acknowledge", "refund", "park"]),
        what=st.sampled_from(["delete", "finish", "take", "run"]),
        which=st.integers(0, 50),
        fault=st.sampled_from(["OOM", "cut after", "READONLY", None]),
    )
    def run_with_others(self, at: str, what: str, which: int, fault: str | None) -> None:
        """A run in the middle of which somebody else touches an entry; perhaps there is a fault too."""
        self.ensure_work()
        act = Act("run with others")
        one = self.made[sorted(self.seen.pending)[which % len(self.seen.pending)]]
        for name, args in MEDDLING_STEPS[at]:
            self.place.proxy.when(name, lambda: self.meddle(act, what, one), args=args)
        if fault is None:
            self.step(act.name)
        else:
            self.arm(act, STEPS["store"], "store", fault, 0, 2)
        self.run_armed(act)
        if act.others:
            self.place.count[f"others meanwhile: {what}"] += 1

    def meddle(self, act: Act, what: str, one: Made) -> None:
        """What somebody else does, in the proxy's thread; once."""
        if act.others:
            return
        act.others.append(None)
        try:
            getattr(self, "others_" + what)(act, one)
        except BaseException as exc:  # noqa: BLE001  # the thread passes its error on to the test
            act.others.append(exc)

    def others_delete(self, _: Act, one: Made) -> None:
        one.is_removed = True
        self.call("XDEL", "s", one.id)

    def others_take(self, act: Act, one: Made) -> None:
        if self.call("XRANGE", "s", one.id, one.id):
            self.call("XCLAIM", "s", "g", "bob", 0, one.id, "JUSTID")
            act.taken.add(one.number)

    def others_finish(self, act: Act, one: Made) -> None:
        if one.can_be_stored and not one.finished:
            act.touched.add(one.key)
            if self.finish_one(one):
                act.acknowledged.add(one.number)

    def others_run(self, _: Act, __: Made) -> None:
        """Another run believes that the one under way is dead. It is past every fault."""
        self.drop_leases()
        with ThreadPoolExecutor(1) as thread:  # this one has a loop already
            thread.submit(asyncio.run, self.another_run()).result()

    async def another_run(self) -> None:
        """It speaks to the node of a cluster as to a plain server: else it would be sent to the proxy, which waits."""
        server = connect(Settings(HOST, self.place.server_port, (self.target,), tls=False))
        parts = self.target.parts
        reports = await _all(Runner(part, server, handlers.make(server, part)).run(30) for part in parts)
        await server.aclose()
        ends = {Outcome.COMPLETED, Outcome.NOTHING_PENDING}
        ends |= {Outcome.DEAD_LETTERS_FULL} if self.judge.room < MUCH_ROOM else set()
        assert {report.outcome for report in reports} <= ends, reports

    @rule(at=st.sampled_from([*sorted(STEPS), "store", "acknowledge"]), skip=st.sampled_from([0, 0, 0, 1, 2, 4]))
    def run_killed(self, at: str, skip: int) -> None:
        """A run in a process of its own, killed (SIGKILL) when it sends a command."""
        self.ensure_work()
        self.step("run in a process")
        before, place = self.seen, self.place
        for name, args in STEPS[at]:
            place.deadly.when(name, place.zygote.kill, args=args, skip=skip)
        place.announce(place.deadly)
        ended = place.zygote.run(place.deadly.port, self.target, self.changes, cluster=place.is_cluster)
        place.announce(place.proxy)
        place.quiet(place.deadly)
        place.deadly.clear()
        place.deadly.forget()
        self.drop_leases()
        if ended:
            place.count[f"killed at: {at}"] += 1
        self.judged(before, Act("run killed", was_killed=True))

    @rule()
    def restart(self) -> None:
        """The process is replaced; what it owed is forgotten, which may cost a delivery."""
        if not self.seen.owed:
            return
        self.step("restart")
        self.disconnect()
        for number in self.seen.owed & self.seen.pending.keys():
            self.made[number].deliveries = self.seen.pending[number][2]
        self.renew_runner()
        self.watch()

    @rule(
        limit=st.sampled_from([None, None, 1, 3]),
        at=st.sampled_from([None, None, *sorted(REPLAY_STEPS)]),
        fault=st.sampled_from(FAULT_NAMES),
    )
    def replay(self, limit: int | None, at: str | None, fault: str) -> None:
        """Dead letters are handled once more; perhaps with a fault at a command."""
        if not any(self.made[number].can_be_stored for number in self.seen.letters):
            self.abandon([("a", 2), ("b", 1)], "alice", MAX_DELIVERIES, 2)
            self.run()
        act = Act("replay", is_clean=at is None)
        before = self.seen
        if at is None:
            self.step("replay")
        else:
            self.arm(act, REPLAY_STEPS[at], at, fault, 0, 2)
        replay = Replay(self.target, self.servers[0], self.runners[0].handler, sleep=lambda _: asyncio.sleep(0))
        with nullcontext() if act.is_clean else suppress(RedisError, ReclaimError, TimeoutError, OSError):
            note(f"{self.place.do(replay.run(limit=limit, budget_sec=30))}")
        self.disarm()
        self.seen = self.look()
        replayed = self.judge.replay(before, self.seen, act)
        if act.is_clean and limit is None:
            stuck = {number for number in before.letters if self.made[number].can_be_stored} - replayed
            assert not stuck, f"{stuck} could have been replayed"

    @rule(which=st.sets(st.integers(0, 20), min_size=1))
    def discard(self, which: set[int]) -> None:
        """A person throws dead letters away."""
        dead = sorted(self.seen.letters)
        if not dead:
            return
        self.step("discard")
        chosen = {dead[one % len(dead)] for one in which}
        ids = [letter[b"letter"] for number in chosen for letter in self.seen.letters[number]]
        self.place.do(DeadLetters(self.servers[0], self.target).discard(ids))
        for number in chosen:
            self.made[number].status = "discarded"
        self.watch()

    def ensure_work(self) -> None:
        """See to it that a run has something to do.

        Preconditions would not do: Hypothesis wants them to be the same each time, and what a run has brought about
        depends on its timing too.
        """
        if any(map(self.seen.is_idle, self.seen.pending)):
            return
        if self.seen.pending.keys() & self.seen.stream:
            self.time_passes(ours=False, idle_ms=LONG_MS)
        else:
            self.abandon([("a", 2), ("b", 3), ("a", 2)], "alice", 1, 2)

    # --- faults ---

    def arm(self, act: Act, step: Any, at: str, fault: str, skip: int, times: int | None) -> None:
        """Prepare a fault for the next run."""
        self.step(act.name)
        if at == "end of the claim" and isinstance(FAULTS[fault], ErrorReply):
            fault = (
                "cut after"  # a server that refuses EXEC discards the transaction; the proxy could not make it do so
            )
        self.wait_at_most(SILENCE_SEC if fault in SILENT else 5.0)
        self.armed = [
            self.place.proxy.when(name, FAULTS[fault], args=self.noting(act, at, fault, args), skip=skip, times=times)
            for name, args in step
        ]
        self.fault = (f"at: {at}", f"of kind: {fault}")

    def noting(self, act: Act, at: str, fault: str, args: Callable[[Command], bool]) -> Callable[[Command], bool]:
        """Notes which entries were stored with an error of their own."""

        def noted(command: Command) -> bool:
            if not args(command):
                return False
            if at == "write down":
                self.judge.has_lost_records = True
            if at == "store" and fault == ERROR:
                act.charged.add(int(command[command.index(b"n") + 1]))
            return True

        return noted

    def disarm(self) -> None:
        """No more faults; count those that happened; wait until what was under way is over."""
        armed, self.armed = self.armed, []
        if any(one.hits for one in armed):
            for what in self.fault:
                self.place.count[f"fault {what}"] += 1
            self.place.count["faults that happened"] += 1
        self.place.proxy.clear()
        self.place.proxy.forget()
        self.wait_at_most(5.0)
        self.disconnect()
        self.drop_leases()

    def wait_at_most(self, seconds: float) -> None:
        for server in self.servers:
            wait_at_most(server, seconds)

    def run_armed(self, act: Act) -> None:
        """Run, with what was prepared, and judge."""
        before = self.seen
        for report in self.run_all():
            assert not isinstance(report.error, MISTAKES), report.error
        self.disarm()
        for error in filter(None, act.others):
            raise error
        self.judged(before, act)

    def judged(self, before: Seen, act: Act) -> None:
        """Look at what there is now, and judge."""
        self.sighted = set()
        self.seen = self.look()
        self.judge.run(before, self.seen, act)

    # --- what there is ---

    def look(self) -> Seen:
        """Everything, from Redis; and what our runner owes, from it."""
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("XPENDING", "s", "g", "-", "+", 10_000)
            pipeline.execute_command("XRANGE", self.target.keys.dead, "-", "+")
            pipeline.execute_command("XRANGE", self.target.keys.lost, "-", "+")
            pipeline.execute_command("XRANGE", "s", "-", "+")
            for key in KEYS[:-1]:
                pipeline.execute_command("HGETALL", f"hash:{key}")
            pipeline.execute_command("GET", "hash:wrong")
            pipeline.execute_command("HGETALL", self.target.keys.tries)
            rows, dead, lost, stream, *hashes, wrong, tries = pipeline.execute()
        assert wrong == b"a string"
        records = {entry_id: Try.from_bytes(record) for entry_id, record in as_dict(tries).items()}
        waits = {number_of(row[0]) for row in rows if self.waits(row, records.get(row[0]))}
        return Seen(
            {
                number_of(row[0]): (row[1], row[2] >= MIN_IDLE_MS and number_of(row[0]) not in waits, row[3])
                for row in rows
            },
            by_number(dead),
            by_number((one, flat) for one, flat in lost if b"at_most" not in flat[::2]),
            {number_of(entry_id) for entry_id, _ in stream},
            {key: self.value(key, as_dict(flat)) for key, flat in zip(KEYS, hashes, strict=False) if flat},
            {
                number_of(row.id)
                for row in self.debts()
                if any(row.id == one[0] and one[1] in OURS and one[3] == row.deliveries for one in rows)
            },
            waits,
            sum(int(as_dict(flat).get(b"at_most", 1)) for _, flat in lost),
        )

    def waits(self, row: list[Any], record: Try | None) -> bool:
        """Whether an entry is idle, and not due: it was tried and charged, and no run has died of it since."""
        if record is None or not record.charged or (row[1] in OURS and row[3] > record.deliveries):
            return False
        return MIN_IDLE_MS <= row[2] < 1000 * self.target.delivery_backoff_sec

    def debts(self) -> list[Row]:
        """What our runners are going to give back as soon as they can."""
        return [row for runner in self.runners for row in runner.refunds.waiting()]

    def value(self, key: str, held: dict[bytes, bytes]) -> int:
        """The entry that a hash holds, whole and nothing else."""
        one = self.made[int(held[b"n"])]
        wanted = as_dict(one.fields) | ({} if self.version is None else {self.version: one.id})
        assert (held, one.key) == (wanted, key)
        return one.number

    def step(self, name: str) -> None:
        self.place.count["steps"] += 1
        self.place.count[f"step: {name}"] += 1

    def watch(self) -> None:
        """After a step of others: all is as the model has it."""
        self.seen = self.look()
        self.judge.places(self.seen)

    @invariant()
    def every_entry_is_in_one_place(self) -> None:
        """G2, once more after each step, whatever it was."""
        if hasattr(self, "seen"):
            self.judge.places(self.seen)


class ShardedMachine(Machine):
    """The same with two shards (SHARDS=2), each on connections of its own: two workers of the fan-out."""

    shards = 2
