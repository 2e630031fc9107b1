"""A function that is not async runs in a thread of ours; one that hangs is left behind, and stops nothing (G4, G6)."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reclaim.entry import Entry
from reclaim.errors import RejectEntry, TooManyHang
from reclaim.handlers.function import FunctionHandler
from reclaim.handlers.loading import load
from reclaim.handlers.threads import Threads
from reclaim.keys import Template
from reclaim.run.replay import Replay
from reclaim.run.report import Outcome
from tests.faults import by_function, of_user, pending
from tests.support import Client, Endpoint, State, a_runner, a_target, age_all, env_for, given, run, state

pytestmark = pytest.mark.G4

OURS = "monitoring_app"
ROOT = Path(__file__).parents[3]


def wait_while(is_at_work: Callable[[], object]) -> None:
    """Wait for threads that are about to end; the event loop is not needed for that."""
    while is_at_work():
        time.sleep(0.01)


async def test_as_many_threads_are_at_work_as_there_are_lanes(embedded: Endpoint, client: Client) -> None:
    target = a_target(lanes=3)
    given(client, target, *(of_user(number, f"user_{number}") for number in range(1, 10)))
    meet = threading.Barrier(3, timeout=10)
    threads: set[int] = set()

    def handle(_: Entry) -> None:
        threads.add(threading.get_ident())
        meet.wait()

    report = await run(embedded, target, by_function(handle))

    assert (report.acknowledged, len(threads)) == (9, 3)
    assert threading.main_thread().ident not in threads
    assert state(client, target) == State(length=9)


async def test_what_the_function_raises_decides(embedded: Endpoint, client: Client) -> None:
    """As with an async function; StopIteration and SystemExit too."""
    target = a_target(lanes=2)
    given(client, target, *(of_user(number, f"user_{number}") for number in range(1, 6)))
    trouble = {1: RejectEntry("bad"), 2: ValueError("x"), 3: StopIteration(), 4: SystemExit(1)}

    def handle(entry: Entry) -> None:
        error = trouble.get(int(entry.text("id")))
        if error is not None:
            raise error

    report = await run(embedded, target, by_function(handle))

    assert (report.outcome, report.parked, report.failed, report.acknowledged) == (Outcome.COMPLETED, 1, 3, 1)


@pytest.mark.G3
async def test_a_call_that_hangs_is_charged_and_waited_for_in_this_process(embedded: Endpoint, client: Client) -> None:
    """The later entries of its key wait with it, in a later run and in a replay; all others are done."""
    target = a_target(lanes=2, delivery_backoff_sec=0)
    given(client, target, of_user(1, "a"), of_user(2, "a"), of_user(3, "b"), of_user(4, "c"))
    free = threading.Event()
    seen: list[bytes] = []

    def handle(entry: Entry) -> None:
        seen.append(entry.id)
        if entry.id == b"1-0" and seen.count(b"1-0") == 1:
            free.wait()

    async with a_runner(embedded, target, by_function(handle), hangs_sec=0.3) as runner:
        first = await runner.run(20)
        age_all(client, target)
        second = await runner.run(20)
        waiting = state(client, target).pending
        replayed = await Replay(target, runner.server, runner.handler).run()
        free.set()
        wait_while(runner.handler.at_work)
        age_all(client, target)
        third = await runner.run(20)

    assert (first.outcome, first.acknowledged, first.failed) == (Outcome.COMPLETED, 2, 1)
    assert next(iter(first.reasons)).startswith("HandlerTimeout: ")
    assert (second.acknowledged, second.failed, second.parked) == (0, 0, 0)
    assert waiting == pending(1, consumer=OURS, deliveries=2) | pending(2, consumer=OURS)
    assert replayed.chosen == 0
    assert third.acknowledged == 2
    assert [one for one in seen if one in {b"1-0", b"2-0"}] == [b"1-0", b"1-0", b"2-0"]
    assert sorted(seen) == [b"1-0", b"1-0", b"2-0", b"3-0", b"4-0"], "the others in any order, each in a thread"
    assert state(client, target) == State(length=4)


HANGING = {
    "thread": """
import time
def handle(entry):
    if entry.id == b"1-0":
        time.sleep(600)
""",
    "to_thread": """
import asyncio, time
async def handle(entry):
    if entry.id == b"1-0":
        await asyncio.to_thread(time.sleep, 600)
""",
    "pool": """
import time
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor()
def handle(entry):
    return pool.submit(time.sleep, 600 if entry.id == b"1-0" else 0)
""",
    "not cancelled": """
import asyncio
async def handle(entry):
    while entry.id == b"1-0":
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass
""",
}


@pytest.mark.G6
@pytest.mark.parametrize("how", HANGING)
def test_the_process_ends_though_a_call_hangs(how: str, embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    target = a_target()
    given(client, target, of_user(1, "a"), of_user(2, "b"))
    (tmp_path / "hanging.py").write_text(HANGING[how], encoding="utf-8")
    env = env_for(embedded, target, HANDLER="hanging:handle", RUN_BUDGET_SEC="2", PYTHONPATH=f"{tmp_path}:{ROOT}")

    ended = subprocess.run(
        [sys.executable, "-m", "reclaim", "run"], env=env, capture_output=True, text=True, check=False, timeout=60
    )

    assert (ended.returncode, "2 claimed, 1 acknowledged, 1 failed" in ended.stdout) == (0, True), ended.stdout
    assert "Traceback" not in ended.stderr.replace('"traceback"', "")
    assert state(client, target).pending.keys() == {b"1-0"}


async def test_no_call_is_begun_where_too_many_hang() -> None:
    free = threading.Event()
    threads = Threads("HANDLER a:b", most_left_behind=2)
    with threads:
        for _ in range(2):
            with threads.calling(lambda _: free.wait(30), None):
                pass  # it is given up at once
        with pytest.raises(TooManyHang, match="2 calls of HANDLER a:b hang"), threads.calling(print, None):
            pass
        free.set()
        wait_while(lambda: any(call.is_running for call in threads._left_behind))
        with threads.calling(str, 7) as call:
            assert await call.result() == "7"


async def test_a_wrapper_around_an_async_function_is_awaited(embedded: Endpoint, client: Client) -> None:
    target = a_target()
    given(client, target, of_user(1, "a"))
    seen: list[bytes] = []

    async def inner(entry: Entry) -> None:
        seen.append(entry.id)

    def handle(entry: Entry) -> object:
        return inner(entry)

    await run(embedded, target, by_function(handle))

    assert seen == [b"1-0"]


async def test_a_log_line_of_a_handler_names_its_run_and_entry(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """In its thread too, and in a logger of its own."""
    target = a_target()
    given(client, target, of_user(1, "a"))
    own = logging.getLogger("shop")

    def handle(_: Entry) -> None:
        own.warning("hello")

    report = await run(embedded, target, by_function(handle))
    own.warning("outside")

    named = [(one.reclaim_target, one.reclaim_run, one.reclaim_entry) for one in caplog.records if one.name == "shop"]
    assert named == [("s/g", report.run_id, "1-0"), ("", "", "")]


async def test_an_entry_knows_where_it_is_from_and_whether_it_is_its_last_delivery(
    embedded: Endpoint, client: Client
) -> None:
    target = a_target(max_deliveries=3, delivery_backoff_sec=0)
    given(client, target, of_user(1, "a"))
    seen: list[tuple] = []

    async def handle(entry: Entry) -> None:
        seen.append((entry.stream, entry.group, entry.deliveries, entry.is_last_delivery))
        raise ValueError

    for _ in range(2):
        await run(embedded, target, by_function(handle))
        age_all(client, target)

    assert seen == [("s", "g", 2, False), ("s", "g", 3, True)]


class Resource:
    """A resource that records when it is entered and left, and cannot be entered while it has trouble."""

    def __init__(self, client: Client, function: Callable[[Entry], object]) -> None:
        self.seen: list[object] = []
        self.trouble: Exception | None = None
        self._client = client
        self._function = function

    @asynccontextmanager
    async def manager(self) -> AsyncIterator[Callable[[Entry], object]]:
        if self.trouble is not None:
            raise self.trouble
        rows = self._client.execute_command("XPENDING", "s", "g", "-", "+", 10)
        self.seen.append({row[1] for row in rows})
        yield self._function
        self.seen.append("left")


def opened(resource: Resource, monkeypatch: pytest.MonkeyPatch) -> FunctionHandler:
    """The handler that the app would make of it."""
    module = type(sys)("a_module_of_a_user")
    module.resource = resource.manager
    monkeypatch.setitem(sys.modules, module.__name__, module)
    name = f"{module.__name__}:resource"
    return FunctionHandler(load(name), Template("{user}"), name)


@pytest.mark.G5
async def test_a_resource_is_entered_before_anything_is_claimed_and_left_at_the_end(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for all runs of a process. If it cannot be entered, nothing is claimed, and no entry is charged."""
    target = a_target()
    given(client, target, of_user(1, "a"))
    resource = Resource(client, lambda _: None)
    resource.trouble = ValueError("no such database")

    async with a_runner(embedded, target, opened(resource, monkeypatch)) as runner:
        failed = await runner.run(20)
        untouched = state(client, target).pending
        resource.trouble = None
        done = await runner.run(20)
        given(client, target, of_user(2, "a"))
        await runner.run(20)

    assert (failed.outcome, failed.claimed) == (Outcome.FAILED, 0)
    assert failed.reason.endswith(
        "HANDLER a_module_of_a_user:resource could not be entered: ValueError: no such database"
    )
    assert untouched == pending(1)
    assert done.acknowledged == 1
    assert resource.seen == [{b"worker"}, "left"]
    assert state(client, target) == State(length=2)
