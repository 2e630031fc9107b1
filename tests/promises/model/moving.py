"""The machine for handlers that move entries: producers, consumers, faults, kills and replays in any order.

After each step every entry is in exactly one place. A second copy would be a second place, and a lost entry has none:
so copies are counted. What reclaim did is read from Redis alone.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from redis.exceptions import RedisError

from dev.proxy import Command, ErrorReply
from dev.server import HOST
from reclaim import handlers
from reclaim.errors import ReclaimError
from reclaim.handlers.requeue import REQUEUES
from reclaim.run.replay import Replay
from reclaim.run.report import Outcome, RunReport
from reclaim.run.runner import Runner
from reclaim.settings import Settings
from reclaim.state.connection import connect
from reclaim.state.moves import _MOVE
from tests.promises.model.machine import MISTAKES, SHARED, SILENCE_SEC
from tests.promises.model.place import Place, wait_at_most
from tests.promises.model.steps import FAULT_NAMES, FAULTS, SILENT, STEPS
from tests.promises.model.world import OURS
from tests.support import LONG_MS, a_target, as_dict, settings_for

WIDE = [part for at in range(3_500) for part in (b"f%d" % at, b"")]  # too many fields for a script to pass on
KEYS = st.sampled_from(["a", "a", "a", "b", "b", "wide", None])
BATCHES = st.lists(st.tuples(KEYS, st.integers(1, 4)), min_size=1, max_size=4)


def is_move(args: Command) -> bool:
    return args[0].endswith(_MOVE.encode())


MOVE = [("EVAL", is_move), ("EXEC", lambda _: True)]
AT = {name: STEPS[name] for name in ("lease", "count", "find", "claim", "refund", "release", "read an entry")}
AT |= {"move": MOVE}
REPLAY_AT = {"move": MOVE, "read": [("XRANGE", lambda _: True)], "release": STEPS["release"]}


class MovingMachine(RuleBasedStateMachine):
    """The actions and the judgement."""

    place: ClassVar[Place]  # a subclass has it

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, str | None] = {}  # its order key
        self.finished: set[int] = set()  # by a live consumer
        self.theirs: set[bytes] = set()  # IDs that live consumers acknowledged
        self.client = self.place.client
        self.place.proxy.clear()
        self.server: Any = None

    # --- beginning and end ---

    @initialize(handler=st.sampled_from(["requeue", "forward"]), deletes=st.booleans(), first=BATCHES)
    def begin(self, *, handler: str, deletes: bool, first: list[tuple[str | None, int]]) -> None:
        """A stream, a group, a consumer that has died."""
        self.changes = {
            **SHARED,
            "handler": handler,
            "forward_stream": "f",
            "order_key": "{k}",
            "delete_acknowledged": deletes,
            "max_requeues": 2,
        }
        self.target = a_target(**self.changes)
        self.call("FLUSHALL")
        self.call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
        self.renew_runner()
        self.place.count["examples"] += 1
        self.abandon(first)

    def teardown(self) -> None:
        if self.server is not None:
            self.disconnect()

    def renew_runner(self) -> None:
        self.server = connect(settings_for(self.place.proxy, self.target))
        handler = handlers.make(self.server, self.target)
        self.runner = Runner(self.target, self.server, handler, sleep=lambda _: asyncio.sleep(0))
        self.runner.next_sweep = float("inf")

    def disconnect(self) -> None:
        """Close our connections, and wait until what was under way on them is over."""
        self.place.do(self.server.aclose())
        self.place.quiet(self.place.proxy)

    def call(self, *command: Any) -> Any:
        return self.client.execute_command(*command)

    # --- what others do ---

    @rule(batches=BATCHES)
    def abandon(self, batches: list[tuple[str | None, int]]) -> None:
        """Some entries are produced; a consumer reads all there is, requeued entries too, and dies."""
        self.step("produce and abandon")
        for key, count in batches:
            for _ in range(count):
                number = len(self.made) + 1
                self.made[number] = key
                keyed = [] if key is None else [b"k", key.encode()]
                self.call("XADD", "s", "*", b"n", b"%d" % number, *keyed, *(WIDE if key == "wide" else ()))
        self.call("XREADGROUP", "GROUP", "g", "alice", "STREAMS", "s", ">")
        self.age()
        self.judge()

    @rule()
    def time_passes(self) -> None:
        """Everything that is pending becomes idle."""
        self.step("time passes")
        self.age()
        self.judge()

    def age(self) -> None:
        for entry_id, consumer, *_ in self.rows():
            self.call("XCLAIM", "s", "g", consumer, 0, entry_id, "IDLE", LONG_MS, "JUSTID")

    @rule(count=st.integers(1, 8), finishes=st.integers(0, 8))
    def live(self, count: int, finishes: int) -> None:
        """A live consumer reads some entries, requeued ones too, and finishes some of those that it has."""
        self.step("live")
        self.call("XREADGROUP", "GROUP", "g", "bob", "COUNT", count, "STREAMS", "s", ">")
        mine = [row[0] for row in self.rows() if row[1] == b"bob"]
        for entry_id in mine[:finishes]:
            self.finish(entry_id)
        self.judge()

    def finish(self, entry_id: bytes) -> None:
        """A live consumer acknowledges an entry, if it is still pending."""
        ((_, fields),) = self.call("XRANGE", "s", entry_id, entry_id) or ((b"", b""),)
        if fields and self.call("XACK", "s", "g", entry_id):
            self.finished.add(int(as_dict(fields)[b"n"]))
            self.theirs.add(entry_id)

    # --- what reclaim does ---

    @rule()
    def run(self) -> None:
        """A run with nothing in its way moves or parks what is idle, and says how much it moved.

        What a run that was killed had claimed is not idle yet, and holds back its order key. What comes after an entry
        that becomes a dead letter waits for the next run.
        """
        self.step("run")
        before, keys, dead = self.copies(), self.keys(), self.dead()
        held = {keys[row[0]] for row in self.rows() if row[1] in OURS and not self.is_idle(row)}
        report = self.place.do(self.runner.run(30))
        note(f"{report.outcome.value} {report.reason}")
        assert report.outcome in {Outcome.COMPLETED, Outcome.NOTHING_PENDING}, report
        self.judge()
        assert sum((self.copies() - before).values()) == report.moved
        left = {keys[row[0]] for row in self.rows() if self.is_idle(row)}
        held |= {self.made[number] for number in self.dead() - dead}
        assert left <= held - {None}, f"G4: {left} could have been moved, and {held} had to wait"

    @rule(
        at=st.sampled_from([*sorted(AT), "move", "move", "move"]),
        fault=st.sampled_from(FAULT_NAMES),
        skip=st.sampled_from([0, 0, 0, 1, 2]),
        times=st.sampled_from([1, 1, 2, None]),
    )
    def run_with_fault(self, at: str, fault: str, skip: int, times: int | None) -> None:
        """A run with a fault at a command."""
        self.ensure_work()
        self.step("run with fault")
        self.arm(AT[at], fault, skip, times)
        self.run_armed()

    @rule(
        at=st.sampled_from(["claim", "move", "move", "refund"]),
        what=st.sampled_from(["finish", "take", "run"]),
        which=st.integers(0, 50),
        fault=st.sampled_from(["OOM", "cut after", None]),
    )
    def run_with_others(self, at: str, what: str, which: int, fault: str | None) -> None:
        """A run in the middle of which somebody else touches an entry; perhaps there is a fault too."""
        self.ensure_work()
        self.step(f"others meanwhile: {what}")
        rows = self.rows()
        chosen, errors = rows[which % len(rows)][0], list[BaseException]()

        left = [f"others_{what}"]

        def meddle() -> None:
            """Once, in the proxy's thread, which passes its error on to the test."""
            try:
                if left:
                    getattr(self, left.pop())(chosen)
            except BaseException as exc:  # noqa: BLE001  # see above
                errors.append(exc)

        for name, args in AT[at]:
            self.place.proxy.when(name, meddle, args=args)
        if fault is not None:
            self.arm(AT["move"], fault, 0, 1)
        self.run_armed()
        for error in errors:
            raise error

    def others_finish(self, entry_id: bytes) -> None:
        self.finish(entry_id)

    def others_take(self, entry_id: bytes) -> None:
        self.call("XCLAIM", "s", "g", "bob", 0, entry_id, "JUSTID")

    def others_run(self, _: bytes) -> None:
        """Another run believes that the one under way is dead. It is past every fault."""
        self.call("DEL", self.target.keys.lease)
        self.age()
        with ThreadPoolExecutor(1) as thread:  # this one has a loop already
            thread.submit(asyncio.run, self.another_run()).result()

    async def another_run(self) -> None:
        server = connect(Settings(HOST, self.place.server_port, (self.target,), tls=False))
        report = await Runner(self.target, server, handlers.make(server, self.target)).run(30)
        await server.aclose()
        assert report.outcome in {Outcome.COMPLETED, Outcome.NOTHING_PENDING}, report

    @rule(at=st.sampled_from([*sorted(AT), "move", "move"]), skip=st.sampled_from([0, 0, 0, 1, 2]))
    def run_killed(self, at: str, skip: int) -> None:
        """A run in a process of its own, killed (SIGKILL) when it sends a command."""
        self.ensure_work()
        self.step("run in a process")
        place = self.place
        for name, args in AT[at]:
            place.deadly.when(name, place.zygote.kill, args=args, skip=skip)
        if place.zygote.run(place.deadly.port, self.target, self.changes):
            place.count[f"killed at: {at}"] += 1
        place.quiet(place.deadly)
        place.deadly.clear()
        place.deadly.forget()
        self.call("DEL", self.target.keys.lease)
        self.judge()

    @rule(at=st.sampled_from([None, "move", *sorted(REPLAY_AT)]), fault=st.sampled_from(FAULT_NAMES))
    def replay(self, at: str | None, fault: str) -> None:
        """Dead letters are moved; perhaps with a fault at a command."""
        self.ensure_letters()
        self.step("replay")
        if at is not None:
            self.arm(REPLAY_AT[at], fault, 0, 2)
        replay = Replay(self.target, self.server, self.runner.handler, sleep=lambda _: asyncio.sleep(0))
        with suppress(*(() if at is None else (RedisError, ReclaimError, TimeoutError, OSError))):
            note(f"{self.place.do(replay.run(budget_sec=30))}")
        self.disarm()
        self.judge()
        assert at is not None or not self.call("XLEN", self.target.keys.dead), "a dead letter is left"

    def ensure_letters(self) -> None:
        """See to it that there are dead letters: an entry that was requeued twice, or delivered too often."""
        if self.call("XLEN", self.target.keys.dead):
            return
        self.abandon([("a", 1)])
        for entry_id, *_ in self.rows():
            count = ("RETRYCOUNT", self.target.max_deliveries)
            self.call("XCLAIM", "s", "g", OURS[0], 0, entry_id, "IDLE", LONG_MS, *count, "JUSTID")
        self.run()

    def ensure_work(self) -> None:
        """See to it that a run has something to do."""
        if not self.rows():
            self.abandon([("a", 2), ("b", 3), ("a", 2), ("wide", 1)])
        self.age()

    # --- faults ---

    def arm(self, step: list[tuple[str, Callable[[Command], bool]]], fault: str, skip: int, times: int | None) -> None:
        """Prepare a fault for the next run."""
        action = FAULTS[fault]
        wait_at_most(self.server, SILENCE_SEC if fault in SILENT else 5.0)
        for name, args in step:
            if name == "EXEC" and isinstance(action, ErrorReply):
                continue  # a server that refuses EXEC discards the transaction; the proxy could not make it do so
            self.place.proxy.when(name, action, args=args, skip=skip, times=times)

    def disarm(self) -> None:
        """No more faults; wait until what was under way is over."""
        self.place.proxy.clear()
        self.place.proxy.forget()
        wait_at_most(self.server, 5.0)
        self.disconnect()
        self.call("DEL", self.target.keys.lease)

    def run_armed(self) -> None:
        """Run, with what was prepared, and judge: it never says that it moved more than it did."""
        before = self.copies()
        report: RunReport = self.place.do(self.runner.run(30))
        note(f"{report.outcome.value} {report.reason}")
        assert not isinstance(report.error, MISTAKES), report.error
        self.disarm()
        self.judge()
        assert report.moved <= sum((self.copies() - before).values())

    # --- the judgement ---

    def rows(self) -> list[Any]:
        rows: list[Any] = self.call("XPENDING", "s", "g", "-", "+", 10_000)
        return rows

    def is_idle(self, row: list[Any]) -> bool:
        return bool(row[2] >= self.target.min_idle_ms)

    def keys(self) -> dict[bytes, str | None]:
        """The order key of each entry of the stream."""
        return {one: self.made[int(as_dict(flat)[b"n"])] for one, flat in self.call("XRANGE", "s", "-", "+")}

    def dead(self) -> set[int]:
        """The entries that are dead letters."""
        return {int(as_dict(flat)[b"field:n"]) for _, flat in self.call("XRANGE", self.target.keys.dead, "-", "+")}

    def copies(self) -> Counter[bytes]:
        """What was ever added to the stream that entries are moved to, and is not deleted, by ID."""
        to = "f" if self.target.handler == "forward" else "s"
        return Counter(entry_id for entry_id, _ in self.call("XRANGE", to, "-", "+"))

    def judge(self) -> None:
        """G2: each entry is in exactly one place, its fields as they were."""
        places: dict[int, list[str]] = {number: [] for number in self.made}
        for number, place, fields in self.found():
            places[number].append(place)
            key = self.made[number]
            assert fields.get(b"k") == (None if key is None else key.encode())
            assert len(fields) >= (len(WIDE) // 2 if key == "wide" else 1)
            assert int(fields.get(REQUEUES, b"0")) <= self.target.max_requeues
        for number in self.finished:
            places[number].append("finished")
        wrong = {number: of for number, of in places.items() if len(of) != 1}
        assert not wrong, f"G2: {wrong}"
        self.place.count["G2: entries in exactly one place"] += len(places)

    def found(self) -> Iterator[tuple[int, str, dict[bytes, bytes]]]:
        """Each place of each entry: the entry's number, the place, and its fields there."""
        pending = {row[0] for row in self.rows()}
        (group,) = self.call("XINFO", "GROUPS", "s")
        last = as_dict(group)[b"last-delivered-id"]
        stream = self.call("XRANGE", "s", "-", "+")
        assert pending <= {entry_id for entry_id, _ in stream}, "an entry is deleted that is pending"
        for entry_id, flat in stream:
            fields = as_dict(flat)
            if entry_id in pending or _order(entry_id) > _order(last):
                yield int(fields[b"n"]), "pending" if entry_id in pending else "unread", fields
            elif self.target.delete_acknowledged:
                assert entry_id in self.theirs, f"{entry_id!r} is not deleted"
        for _, flat in self.call("XRANGE", "f", "-", "+"):
            yield int(as_dict(flat)[b"n"]), "forwarded", as_dict(flat)
        for _, flat in self.call("XRANGE", self.target.keys.dead, "-", "+"):
            fields = {name[6:]: value for name, value in as_dict(flat).items() if name.startswith(b"field:")}
            yield int(fields[b"n"]), "dead", fields | {REQUEUES: b"0"}

    def step(self, name: str) -> None:
        self.place.count["steps"] += 1
        self.place.count[f"step: {name}"] += 1


def _order(entry_id: bytes) -> tuple[int, int]:
    ms, _, seq = entry_id.partition(b"-")
    return int(ms), int(seq)
