"""Owns one world: its servers and networks, its runs, and what is written down of it. Its steps are other modules."""

import asyncio
import io
import json
import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import RedisError

from dev.proxy import Proxy, Rule, redis_6_0_commands
from dev.server import HOST
from dev.soak import journal
from dev.soak.child import Child, Nursery
from dev.soak.lab import REDIS_6_0, Client, Lab, raw_client
from dev.soak.plans import BUDGET_SEC, GROUP, Books, make_plans
from dev.soak.warm import Lines, Loop, Run
from reclaim.app import App
from reclaim.errors import ReclaimError
from reclaim.ops import operations
from reclaim.run.report import Outcome, RunReport
from reclaim.settings import Settings

if TYPE_CHECKING:
    from concurrent.futures import Future

LATE_SEC = 30.0  # what was begun and is not over so long after its budget never ends
MISTAKES = (TypeError, AttributeError, LookupError, ValueError, AssertionError, RecursionError)  # no fault leads to one


class World:
    """One world. Used as a context manager: `live`, then `heal`; afterwards the judge looks at it."""

    def __init__(self, lab: Lab, loop: Loop, nursery: Nursery, seed: str, kind: str | None = None) -> None:
        self.rng = Random(seed)
        self.seed = seed
        self.loop = loop
        self.nursery = nursery
        self.kind = kind or self.rng.choice(lab.kinds())
        self.servers = lab.servers(self.kind)
        self.books = [Books(plan) for plan in make_plans(self.rng)]
        self.count: Counter[str] = Counter()
        self.history: list[str] = []
        self.problems: list[str] = []
        self.reports: list[RunReport] = []
        self.clean_from: list[float] = [-1.0] * len(
            self.books
        )  # when the last run began that saw the group undisturbed
        self.owed_gone: Counter[int] = Counter()  # by target: gone with their group after a run had seen them
        self.last_reports: dict[str, RunReport] = {}
        self.run: Run | None = None
        self.child: Child | None = None
        self._faults_before_child = 0
        self.person: list[tuple[str, Future[Any]]] = []
        self.lines = Lines()
        self.is_calm = True  # no fault is in the network, or waits there
        self.rules: list[tuple[str, Rule]] = []  # what waits for a command, with the fault's name
        self.slow: dict[Proxy, int] = {}  # slow links, and how many commands had passed before
        self._began = time.monotonic()

    # --- beginning and end ---

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="soak-"))
        os.environ[journal.DIRECTORY] = str(self.directory)
        self._closed = socket.socket()  # bound and not listening: whoever connects is refused
        self._closed.bind((HOST, 0))
        self.closed_port: int = self._closed.getsockname()[1]
        self.client: Client = raw_client(self.servers[0].port)
        self.warm, self.deadly = (Proxy(self.servers[0].port, may_miss=True).__enter__() for _ in range(2))
        self.calm()
        for books in self.books:
            self.client.execute_command("XGROUP", "CREATE", books.plan.stream, GROUP, "0", "MKSTREAM")
            if books.plan.wrong_key:
                self.client.execute_command("SET", f"h{books.plan.number}:{books.plan.wrong_key}", "a string")
        logging.getLogger().addHandler(self.lines)
        logging.getLogger("reclaim").setLevel(logging.INFO)
        self.loop.loop.set_exception_handler(self._unhandled)
        self.targets = Settings.from_env(self.env(self.warm)).targets
        self.app: App = self.loop.begin(self._make_app()).result(LATE_SEC)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self.lines)
        self.end_child()
        with suppress(Exception):
            self.loop.begin(self.app.aclose()).result(LATE_SEC)
        self.warm.__exit__(None, None, None)
        self.deadly.__exit__(None, None, None)
        self.client.close()
        self._closed.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    async def _make_app(self) -> App:
        return App.from_env(self.env(self.warm))

    def env(self, proxy: Proxy) -> dict[str, str]:
        """The settings of the world, as an environment."""
        return {
            "REDIS_HOST": f"{HOST}:{proxy.port}",
            "REDIS_TLS": "false",
            "RUN_BUDGET_SEC": f"{BUDGET_SEC:g}",
            "RECLAIM_TARGETS": json.dumps([books.plan.settings for books in self.books]),
        }

    @property
    def now(self) -> float:
        """Seconds of the world."""
        return time.monotonic() - self._began

    def note(self, text: str) -> None:
        """Write down a step."""
        self.history.append(f"{self.now:7.3f}  {text}")

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.problems.append(f"an unhandled exception: {context.get('message')}: {context.get('exception')!r}")

    # --- for the steps ---

    def any(self) -> Books:
        return self.rng.choice(self.books)

    def reconnect(self) -> None:
        self.client.connection_pool.disconnect()

    # --- runs ---

    def start_run(self) -> None:
        if self.run is None:
            self.run = Run(self.loop.begin(self._watched_run()), self.now, self.faults)
            self.count["runs"] += 1
            self.note("a run begins")

    async def _watched_run(self) -> list[RunReport]:
        """A run of all targets; if it is late, what each task waits for is written down."""
        late = asyncio.get_running_loop().call_later(BUDGET_SEC + 0.5, self._note_tasks)
        try:
            return await operations.run_now(self.app)
        finally:
            late.cancel()

    def _note_tasks(self) -> None:
        for task in asyncio.all_tasks():
            text = io.StringIO()
            task.print_stack(file=text)
            self.note(f"a run is late: {text.getvalue()}")

    @property
    def faults(self) -> int:
        """How many faults there have been."""
        return self.count["faults"] + self.count["groups made anew"]

    def collect(self, *, wait: bool = False) -> None:
        """Take what is over: the run, and what people asked for."""
        run = self.run
        if run is not None:
            if wait:
                with suppress(TimeoutError):
                    run.future.result(BUDGET_SEC + LATE_SEC)
            late = self.now - run.began > BUDGET_SEC + LATE_SEC
            if run.future.done() or late:
                self.run = None
                self._take_run(run)
        left = []
        for what, future in self.person:
            if wait:
                with suppress(Exception):
                    future.result(LATE_SEC)
            if not future.done():
                left.append((what, future))
            elif exc := future.exception():
                self.note(f"{what}: {type(exc).__name__}: {str(exc)[:200]}")
                if not isinstance(exc, (ReclaimError, RedisError)):
                    self.problems.append(f"{what} raised {exc!r}")
            else:
                self.note(f"{what}: {str(future.result())[:200]}")
        self.person = left
        if wait and left:
            self.problems.append(f"not over: {[what for what, _ in left]}")

    def _take_run(self, run: Run) -> None:
        if not run.future.done():
            self.problems.append("G6: a run does not end")
            return
        if exc := run.future.exception():
            self.problems.append(f"a run raised {exc!r}")
            return
        for books, report in zip(self.books, run.future.result(), strict=True):
            self.reports.append(report)
            self.last_reports[report.target] = report
            numbers = {name: number for name, number in report.numbers().items() if number}
            self.count[f"outcome: {report.outcome.value}"] += 1
            self.note(f"a run of {report.target} ends: {report.outcome.value} {report.reason[:300]} {numbers}")
            if isinstance(report.error, MISTAKES) and not isinstance(report.error, UnicodeError):
                self.problems.append(f"a run failed with {report.error!r}")
            blocked = sum(line.word == "failed" for line in journal.read()) * 0.3  # at most, all of them blocking ones
            if report.seconds > BUDGET_SEC + 1.0 + blocked:
                self.problems.append(f"G6: a run took {report.seconds:.1f} s, its budget is {BUDGET_SEC:g} s")
            is_whole = report.outcome in {Outcome.COMPLETED, Outcome.NOTHING_PENDING}
            if is_whole and run.faults == self.faults and self.is_calm:
                self.clean_from[books.plan.number] = run.began

    def start_child(self) -> None:
        if self.child is None or self.child.over.is_set():
            self.end_child()
            self.child = self.nursery.start({**self.env(self.deadly), journal.DIRECTORY: str(self.directory)})
            self._faults_before_child = self.faults if self.is_calm else -1
            self.count["runs in a process of their own"] += 1
            self.note(f"a run begins in process {self.child.pid}")

    def kill_child(self) -> None:
        if self.child is not None and not self.child.over.is_set():
            time.sleep(self.rng.uniform(0, 0.08))
            self.end_child()

    def end_child(self) -> None:
        """Kill the process, if it lives, and remove its lease, as time would."""
        child, self.child = self.child, None
        if child is None:
            return
        if not child.over.is_set():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        child.over.wait(LATE_SEC)
        self.note(f"process {child.pid} is over: {child.ended}")
        if child.ended in {0, None}:
            if self.faults != self._faults_before_child:
                # It may have ended with refunds that it could not make: that is as if it had been killed.
                journal.write("killed", 0, about=str(child.pid))
            return
        if child.ended != -signal.SIGKILL:
            self.problems.append(f"process {child.pid} ended with {child.ended}")
        self.count["kills"] += 1
        journal.write("killed", 0, about=str(child.pid))
        deadline = time.monotonic() + 5
        while self.deadly._connections and time.monotonic() < deadline:  # noqa: SLF001  # until what it sent is done
            time.sleep(0.001)
        self._without_lease_of(child.pid)

    def _without_lease_of(self, pid: int) -> None:
        for target in self.targets:
            with suppress(RedisError):
                token = self.client.execute_command("GET", target.keys.lease) or b""
                if f"(process {pid},".encode() in token:
                    self.client.execute_command("DEL", target.keys.lease)

    # --- faults ---

    def strike(self, name: str) -> None:
        self.is_calm = False
        self.count["faults"] += 1
        self.count[f"fault: {name}"] += 1

    def calm(self) -> None:
        for name, rule in self.rules:
            self.count[f"happened: {name}"] += rule.hits
        for proxy, before in self.slow.items():
            self.count["happened: command over a slow link"] += len(proxy.commands) - before
        self.rules, self.slow = [], {}
        for proxy in (self.warm, self.deadly):
            proxy.clear()
            if self.kind == REDIS_6_0:
                redis_6_0_commands(proxy)
            proxy.request_delay_sec = proxy.reply_delay_sec = proxy.bytes_per_sec = 0.0
            proxy.accept()
            proxy.forget()
        self.is_calm = True

    # --- what there is ---

    def letters(self, books: Books) -> list[tuple[bytes, str]]:
        """The dead letters of a target: each with its entry's ID."""
        key = self.targets[books.plan.number].keys.dead
        found = self.client.execute_command("XRANGE", key, "-", "+")
        return [(one, dict(zip(flat[::2], flat[1::2], strict=True))[b"id"].decode()) for one, flat in found]
