"""What a run does when Redis or the network fails it.

Nothing is acknowledged before it is stored (G1), nothing is lost (G2), and no entry pays for an outage (G5).
"""

from collections.abc import Callable, Iterator

import pytest

from dev.proxy import Action, Command, ErrorReply, Fault, Proxy, Rule, redis_6_0_commands
from dev.server import Server
from reclaim.run.report import Outcome
from reclaim.settings import Target
from tests.faults import step
from tests.support import (
    AtClaim,
    Client,
    Endpoint,
    Held,
    State,
    a_target,
    age_all,
    drop_lease,
    given,
    held,
    raw_client,
    run,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G1

OUTAGES = ["OOM command not allowed", "LOADING Redis is loading", "READONLY You can't write", "MISCONF Errors writing"]


def of_a_tweet(words: Command) -> bool:
    """Of HSETs: one that stores an entry; not one that notes how often others delivered it."""
    return words[0].startswith(b"tweet:")


def places(proxy: Proxy, name: bytes, *words: bytes) -> list[int]:
    """The positions, among all commands sent, of the commands with this name and all these words."""
    sent = enumerate(list(proxy.commands))
    return [at for at, command in sent if command[0].upper() == name and set(words) <= set(command)]


@pytest.mark.parametrize("words", OUTAGES)
async def test_an_entry_is_acknowledged_only_after_storing_it_has_worked(
    client: Client, proxy: Proxy, words: str
) -> None:
    """HSET fails twice and then works: XACK comes after the one that worked, on the wire."""
    target = a_target()
    given(client, target, Held(tweet(1)))
    proxy.when("HSET", ErrorReply(words), times=2)

    report = await run(proxy, target)

    assert state(client, target) == State(hashes=stored(tweet(1)), length=1)
    assert len(places(proxy, b"HSET", b"tweet:1")) == 3
    assert places(proxy, b"XACK", b"1-0") > places(proxy, b"HSET", b"tweet:1")[-1:]
    assert len(places(proxy, b"XACK")) == 1
    assert (report.outcome, report.stored, report.acknowledged) == (Outcome.COMPLETED, 1, 1)


@pytest.mark.parametrize("words", OUTAGES)
async def test_an_entry_that_is_never_stored_is_not_acknowledged_and_its_delivery_refunded(
    server: Endpoint, client: Client, proxy: Proxy, words: str
) -> None:
    """HSET keeps failing because the server is out of order: the entry stays as it was, and the next run stores it."""
    target = a_target()
    given(client, target, Held(tweet(1), deliveries=4))
    proxy.when("HSET", ErrorReply(words), args=of_a_tweet, times=None)

    report = await run(proxy, target)

    assert state(client, target) == State(pending={b"1-0": (b"monitoring_app", 4, "idle")}, length=1)
    assert proxy.count("XACK") == 0
    assert (report.stored, report.acknowledged, report.retried) == (0, 0, 1)

    await run(server, target)

    assert state(client, target) == State(hashes=stored(tweet(1)), length=1)


async def test_one_hash_that_cannot_be_written_for_now_does_not_stop_the_others(client: Client, proxy: Proxy) -> None:
    """Only the entries of that hash stay pending, all of them refunded, those behind the first held back."""
    target = a_target(page_size=4)
    entries = [Held(tweet(number % 5, text=b"%d" % number)) for number in range(10)]
    given(client, target, *entries)
    proxy.when("HSET", ErrorReply("OOM no memory"), args=lambda words: words[0] == b"tweet:3", times=None)

    report = await run(proxy, target)

    others = [entry for number, entry in enumerate(entries) if number % 5 != 3]
    assert state(client, target) == State(
        pending={b"4-0": (b"monitoring_app", 1, "idle"), b"9-0": (b"monitoring_app", 1, "idle")},
        hashes=stored(*others),
        length=10,
    )
    assert (report.acknowledged, report.retried, report.held) == (8, 1, 1)


async def test_an_entrys_own_failure_is_charged_to_it(client: Client, proxy: Proxy) -> None:
    """After an error of its own the entry is pending, its delivery is counted, and its idle time begins again."""
    target = a_target()
    given(client, target, Held(tweet(1)), Held(tweet(2), deliveries=2))
    proxy.when("HSET", ErrorReply("ERR something odd"), args=lambda words: words[0] == b"tweet:2", times=None)

    report = await run(proxy, target)

    assert state(client, target) == State(
        pending={b"2-0": (b"monitoring_app", 3, "fresh")}, hashes=stored(tweet(1)), length=2
    )
    assert (report.acknowledged, report.failed, report.reasons) == (1, 1, {"ResponseError: something odd": 1})


@pytest.mark.parametrize("how", [ErrorReply("LOADING Redis is loading"), Fault.CUT_BEFORE], ids=["refused", "cut"])
async def test_what_was_stored_but_not_acknowledged_is_stored_again_by_the_next_run(
    server: Endpoint, client: Client, proxy: Proxy, how: ErrorReply | Fault
) -> None:
    """XACK keeps failing: the hashes are stored, the entries refunded. The next run stores them again."""
    target = a_target()
    entries = held(range(1, 4))
    given(client, target, *entries)
    proxy.when("XACK", how, times=None)

    failed = await run(proxy, target)

    assert state(client, target) == State(
        pending={b"%d-0" % n: (b"monitoring_app", 1, "idle") for n in (1, 2, 3)}, hashes=stored(*entries), length=3
    )
    assert (failed.outcome, failed.acknowledged) == (Outcome.FAILED, 0)

    client.execute_command("DEL", "tweet:2")
    report = await run(server, target)

    assert state(client, target) == State(hashes=stored(*entries), length=3)
    assert (report.stored, report.acknowledged) == (3, 3)


async def test_an_acknowledgement_whose_answer_is_lost_is_sent_again(client: Client, proxy: Proxy) -> None:
    """XACK takes effect and the connection is cut: the run goes on and completes."""
    target = a_target(page_size=2)
    entries = held(range(5))
    given(client, target, *entries)
    proxy.when("XACK", Fault.CUT_AFTER)

    report = await run(proxy, target)

    assert state(client, target) == State(hashes=stored(*entries), length=5)
    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 5)


CLAIM = "whatever claims"
LEASE = "what takes the lease"


def when(proxy: Proxy, name: str, action: Action, skip: int) -> Rule | AtClaim:
    """Let something happen to a command of this name, once."""
    if name == LEASE:
        command, args = step("take the lease")
        return proxy.when(command, action, args=args, skip=skip)
    return AtClaim(proxy, action, skip) if name == CLAIM else proxy.when(name, action, skip=skip)


CUTS = {
    "the first HSET, before": ("HSET", Fault.CUT_BEFORE, 0),
    "the first HSET, after": ("HSET", Fault.CUT_AFTER, 0),
    "a HSET in the middle, before": ("HSET", Fault.CUT_BEFORE, 7),
    "a HSET in the middle, after": ("HSET", Fault.CUT_AFTER, 7),
    "the last HSET of a page": ("HSET", Fault.CUT_AFTER, 9),
    "a claim that takes effect": (CLAIM, Fault.CUT_AFTER, 0),
    "a later claim that takes effect": (CLAIM, Fault.CUT_AFTER, 1),
    "a later claim that does not": (CLAIM, Fault.CUT_BEFORE, 1),
    "taking the lease": (LEASE, Fault.CUT_AFTER, 0),
    "counting what is pending": ("XPENDING", Fault.CUT_BEFORE, 0),
    "acknowledging": ("XACK", Fault.CUT_BEFORE, 1),
}


@pytest.mark.parametrize(("name", "fault", "skip"), CUTS.values(), ids=CUTS.keys())
async def test_a_connection_cut_in_the_middle_costs_nothing(
    client: Client, proxy: Proxy, name: str, fault: Fault, skip: int
) -> None:
    """Wherever the connection breaks once, the same run repairs it, and every entry is stored and acknowledged."""
    target = a_target(page_size=10, lanes=1)
    entries = held(range(25), deliveries=4)  # two deliveries more, and they would become dead letters
    given(client, target, *entries)
    rule = when(proxy, name, fault, skip)

    report = await run(proxy, target)

    assert rule.hits == 1
    assert state(client, target) == State(hashes=stored(*entries), length=25)
    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 25)


async def test_a_server_that_answers_nothing_fails_the_run_and_costs_no_delivery(client: Client, proxy: Proxy) -> None:
    """HSET gets no answer: when the time for a batch is over, the entries are given back."""
    target = a_target(retry_attempts=2)
    given(client, target, *held(range(3), deliveries=3))
    proxy.when("HSET", Fault.HANG, args=of_a_tweet, times=None)

    report = await run(proxy, target, timeout_sec=0.5)

    assert state(client, target) == State(
        pending={b"%d-0" % n: (b"monitoring_app", 3, "idle") for n in (1, 2, 3)}, length=3
    )
    assert (report.claimed, report.acknowledged, report.retried) == (3, 0, 3)


@pytest.fixture
def durable(server: Endpoint) -> Iterator[tuple[Server, Proxy]]:
    """A server of the same kind that forgets nothing (AOF, fsync always), and a proxy in front of it."""
    kind = "redis-7.0" if server.proxy is not None else server.kind  # what stands for Redis 6.0 where there is none
    with Server(kind, appendonly="yes", appendfsync="always") as durable, Proxy(durable.port) as proxy:
        if server.proxy is not None:
            redis_6_0_commands(proxy)
        yield durable, proxy


def killing(server: Server, target: Target, found: list[State]) -> Callable[[], None]:
    """A function that kills the server, starts it again between two commands, and notes the state after it."""

    def kill_and_start() -> None:
        server.kill()
        server.start()
        with raw_client(server.port) as client:
            found.append(state(client, target))

    return kill_and_start


@pytest.mark.parametrize(
    ("name", "skip"),
    [(CLAIM, 1), ("XACK", 0), ("XACK", 1), ("HSET", 25)],
    ids=["while claiming the second page", "before acknowledging", "between two pages", "while storing"],
)
async def test_a_server_killed_and_restarted_in_the_middle_of_a_run_loses_nothing(
    durable: tuple[Server, Proxy], name: str, skip: int
) -> None:
    """At that moment all that is acknowledged is stored (G1); the run, or the one after it, does the rest."""
    server, proxy = durable
    target = a_target(page_size=20)
    entries = held(range(60))
    with raw_client(server.port) as client:
        given(client, target, *entries)
    found: list[State] = []
    when(proxy, name, killing(server, target, found), skip)

    await run(proxy, target)

    (at_the_kill,) = found
    done = [entry for number, entry in enumerate(entries, 1) if b"%d-0" % number not in at_the_kill.pending]
    assert stored(*done).items() <= at_the_kill.hashes.items()
    with raw_client(server.port) as client:
        drop_lease(client, target)
        age_all(client, target)

        await run(proxy, target)

        assert state(client, target) == State(hashes=stored(*entries), length=60)
