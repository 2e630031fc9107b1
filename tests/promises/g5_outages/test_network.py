"""A network that cuts, hangs, swallows replies and delays, at every command of a run."""

import pytest

from dev.proxy import Command, ErrorReply, Fault, Proxy
from reclaim.entry import Entry
from reclaim.handlers.function import FunctionHandler
from reclaim.handlers.loading import examined
from reclaim.keys import Template
from reclaim.run.report import Outcome
from reclaim.state.refunds import _KEEP
from tests.faults import LOADING, dead_letter, step
from tests.integration.state.circuits import end_cooldown
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    drop_lease,
    given,
    held,
    run,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G5

TIMEOUT_SEC = 0.3
FOR_EVER_SEC = 600.0  # longer than a test may take
FAULTS = {
    "cut before": Fault.CUT_BEFORE,
    "cut after": Fault.CUT_AFTER,
    "reply lost": Fault.DROP_REPLY,
    "hang": Fault.HANG,
    "loading": ErrorReply(LOADING),
}
MID_RUN = ["find", "read", "claim", "store", "park", "acknowledge"]
OPENING = ["take the lease", "count"]
AT_ONCE = ["cut before", "cut after", "loading"]  # noticed at once, and so tried on every kind of server
SILENT = ["reply lost", "hang"]  # noticed when the time for an answer is over

BAD = [b"user", b"nobody"]
ENTRIES = [*held(range(1, 5)), Held(BAD), *held(range(6, 8))]
ALL_DONE = State(
    hashes=stored(*ENTRIES[:4], *ENTRIES[5:]),
    length=7,
    dead=[dead_letter(5, BAD, "bad_entry", "MissingField: no field 'id' for 'tweet:{id}'")],
)


@pytest.mark.parametrize("fault", AT_ONCE)
@pytest.mark.parametrize("at", [*OPENING, *MID_RUN])
async def test_a_fault_at_any_command_is_mended_within_the_run(
    server: Endpoint, client: Client, proxy: Proxy, at: str, fault: str
) -> None:
    """One fault at one command, before or after it took effect: the run still brings every entry to its end, once."""
    await check_a_fault_is_mended(server, client, proxy, at, fault, timeout_sec=5.0)


@pytest.mark.parametrize("fault", SILENT)
@pytest.mark.parametrize("at", [*OPENING, *MID_RUN])
async def test_silence_at_any_command_is_mended_within_the_run(
    embedded: Endpoint, client: Client, embedded_proxy: Proxy, at: str, fault: str
) -> None:
    """As above, for faults that show only because no answer comes."""
    await check_a_fault_is_mended(embedded, client, embedded_proxy, at, fault, timeout_sec=TIMEOUT_SEC)


async def check_a_fault_is_mended(
    server: Endpoint, client: Client, proxy: Proxy, at: str, fault: str, *, timeout_sec: float
) -> None:
    target = a_target(page_size=4)
    given(client, target, *ENTRIES)
    name, args = step(at, server.kind)
    rule = proxy.when(name, FAULTS[fault], args=args)

    report = await run(proxy, target, timeout_sec=timeout_sec)

    assert (rule.hits, report.outcome, report.acknowledged, report.parked) == (1, Outcome.COMPLETED, 6, 1)
    assert state(client, target) == ALL_DONE


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", ["claim", "store", "acknowledge"])
async def test_a_fault_at_the_second_page_is_mended_too(
    embedded: Endpoint, client: Client, embedded_proxy: Proxy, at: str, fault: str
) -> None:
    """The page that is claimed ahead, while the first one is being settled, is given back and found again."""
    target = a_target(page_size=2)
    given(client, target, *ENTRIES)
    name, args = step(at, embedded.kind)
    skip = {"claim": 1, "store": 3, "acknowledge": 1}[at]
    rule = embedded_proxy.when(name, FAULTS[fault], args=args, skip=skip)

    report = await run(embedded_proxy, target, timeout_sec=TIMEOUT_SEC)

    assert (rule.hits, report.outcome) == (1, Outcome.COMPLETED)
    assert state(client, target) == ALL_DONE


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", [*OPENING, *MID_RUN])
async def test_a_fault_that_stays_for_a_whole_run_costs_nothing(
    embedded: Endpoint, client: Client, embedded_proxy: Proxy, at: str, fault: str
) -> None:
    """Entries that cannot be done now stay pending and uncharged, and the next run of the process does them."""
    target = a_target(page_size=4, retry_attempts=2)
    given(client, target, *ENTRIES)
    name, args = step(at, embedded.kind)
    rule = embedded_proxy.when(name, FAULTS[fault], args=args, times=None)

    async with a_runner(embedded_proxy, target, timeout_sec=TIMEOUT_SEC) as runner:
        await runner.run(30)
        after_fault = state(client, target)
        embedded_proxy.clear()
        drop_lease(client, target)
        assert rule.hits > 0
        assert (b"5-0" in after_fault.pending) == (not after_fault.dead)
        assert {deliveries for _, deliveries, _ in after_fault.pending.values()} <= {1}
        assert {age for _, _, age in after_fault.pending.values()} <= {"idle"}
        for number in (1, 2, 3, 4, 6, 7):
            assert b"%d-0" % number in after_fault.pending or b"tweet:%d" % number in after_fault.hashes

        report = await runner.run(30)

    assert report.outcome in {Outcome.COMPLETED, Outcome.NOTHING_PENDING}
    in_the_end = state(client, target)
    in_the_end.dead[0][b"consumer"] = b"worker"  # what was given back has been ours in between
    assert in_the_end == ALL_DONE


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_refund_that_fails_is_owed_and_paid_by_the_next_run(
    client: Client,
    embedded_proxy: Proxy,
    fault: str,
) -> None:
    """The store is out of order and the refund too: the entries are charged on the server until the next run."""
    target = a_target(retry_attempts=1)
    given(client, target, *held(range(1, 4)))
    embedded_proxy.when("HSET", ErrorReply(LOADING), times=None)
    name, args = step("keep or refund")
    refund = embedded_proxy.when(name, FAULTS[fault], args=args, times=None)

    async with a_runner(embedded_proxy, target, timeout_sec=TIMEOUT_SEC) as runner:
        await runner.run(30)
        assert refund.hits > 0
        embedded_proxy.clear()
        drop_lease(client, target)
        embedded_proxy.when(
            "HSET", ErrorReply(LOADING), times=None
        )  # the store is still out of order, the refund works

        await runner.run(30)

    assert state(client, target).pending == {b"%d-0" % n: (b"monitoring_app", 1, "idle") for n in (1, 2, 3)}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", ["release the lease", "sweep"])
async def test_a_fault_while_the_run_is_closed_costs_the_lease_at_most(
    client: Client,
    embedded_proxy: Proxy,
    at: str,
    fault: str,
) -> None:
    """The work is done. The lease may stay, and then it expires."""
    target = a_target()
    given(client, target, *ENTRIES)
    name, args = step(at)
    rule = embedded_proxy.when(name, FAULTS[fault], args=args)

    report = await run(embedded_proxy, target, timeout_sec=TIMEOUT_SEC)

    assert (rule.hits, report.outcome) == (1, Outcome.COMPLETED)
    if client.execute_command("EXISTS", target.keys.lease):
        assert 0 < client.execute_command("PTTL", target.keys.lease) <= 15_000
    drop_lease(client, target)
    assert state(client, target) == ALL_DONE


async def test_a_slow_network_only_takes_longer(client: Client, proxy: Proxy) -> None:
    """Latency in both directions is no fault."""
    target = a_target(page_size=2)
    given(client, target, *ENTRIES)
    proxy.request_delay_sec = proxy.reply_delay_sec = 0.02

    report = await run(proxy, target)

    assert report.outcome is Outcome.COMPLETED
    assert state(client, target) == ALL_DONE


async def test_connections_cut_again_and_again_lose_nothing(client: Client, proxy: Proxy) -> None:
    """Every seventh command loses its connection, for many runs: in the end all is stored and nothing is dead."""
    target = a_target(page_size=10, retry_attempts=2, circuit_failures=10_000)
    entries = held(range(1, 61))
    given(client, target, *entries)
    seen: dict[bytes, int] = {}

    def is_cut(args: Command) -> bool:
        key = args[0]
        if not key.startswith(b"tweet:") or int(args[2]) % 7:
            return False
        seen[key] = seen.get(key, 0) + 1
        return seen[key] < 5

    proxy.when("HSET", Fault.CUT_AFTER, times=None, args=is_cut)

    async with a_runner(proxy, target, timeout_sec=TIMEOUT_SEC) as runner:
        for _ in range(8):
            await runner.run(30)
            drop_lease(client, target)
            end_cooldown(client, target)

    assert state(client, target) == State(hashes=stored(*entries), length=60)


@pytest.mark.G6
async def test_a_run_ends_inside_its_budget_though_the_server_falls_silent(
    client: Client,
    embedded_proxy: Proxy,
) -> None:
    """Nothing is answered from the acknowledgement on, and we would wait for ever: the budget ends the run (G6)."""
    target = a_target()
    given(client, target, *held(range(1, 4)))
    for name in ("XACK", "EVAL"):
        embedded_proxy.when(
            name, Fault.HANG, times=None, args=lambda args: args[0] == b"s" or args[0] == _KEEP.encode()
        )

    report = await run(embedded_proxy, target, budget_sec=2.0, timeout_sec=FOR_EVER_SEC)

    assert report.outcome is Outcome.FAILED
    assert client.execute_command("XPENDING", "s", "g")[0] == 3


@pytest.mark.G6
@pytest.mark.parametrize(
    ("command", "first", "error"),
    [("HSET", b"tries", ConnectionError("no store")), ("HDEL", b"tries", None), ("XINFO", b"GROUPS", None)],
    ids=["tries kept", "tries removed", "group asked for"],
)
async def test_a_run_ends_inside_its_budget_though_what_it_notes_gets_no_answer(
    client: Client, embedded_proxy: Proxy, command: str, first: bytes, error: Exception | None
) -> None:
    """Redis falls silent after the entries were handled, and a batch may take for ever: the budget ends the run."""
    target = a_target(retry_attempts=1, max_deliveries=5)
    given(client, target, *held(range(1, 4), deliveries=3))

    async def handle(entry: Entry) -> None:
        if error is not None:
            raise error
        if command == "XINFO":
            client.execute_command("XACK", target.stream, target.group, entry.id)

    def is_meant(args: Command) -> bool:
        return args[0].endswith(first)

    embedded_proxy.when(command, Fault.HANG, times=None, args=is_meant, skip=0 if command == "HDEL" else 1)
    handler = FunctionHandler(examined(handle), Template("{id}"))

    await run(embedded_proxy, target, handler, budget_sec=2.0, timeout_sec=FOR_EVER_SEC)


async def test_nobody_at_the_address_is_said_so(
    client: Client,
    embedded_proxy: Proxy,
) -> None:
    """The server is down from the start: an error in plain words."""
    given(client, a_target(), Held(tweet(1)))
    embedded_proxy.refuse()
    embedded_proxy.cut()

    report = await run(embedded_proxy, a_target())

    assert report.outcome is Outcome.FAILED
    assert f"no connection to 127.0.0.1:{embedded_proxy.port}" in report.reason
