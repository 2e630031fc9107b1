"""What tests are made of: a state is given, one act, and the whole state afterwards is one value to compare.

    target = a_target(page_size=2)
    given(client, target, Held(tweet(1)), Held(tweet(2), idle_ms=0))
    report = await run(server, target)
    assert state(client, target) == State(pending={b"2-0": (b"worker", 1, "fresh")}, hashes={...}, length=2)

Time is arranged by command (XCLAIM … IDLE … RETRYCOUNT … JUSTID), so nothing sleeps.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, Protocol

from redis import Redis
from redis.exceptions import ResponseError

from dev.proxy import Action, Proxy
from dev.server import HOST
from reclaim import handlers
from reclaim.handlers.outcomes import Handler
from reclaim.run.report import RunReport
from reclaim.run.runner import Runner
from reclaim.settings import Settings, Target
from reclaim.state.claim import _CLAIM
from reclaim.state.connection import connect

Client = Redis
Flat = Sequence[bytes]

LONG_MS = 3_600_000  # idle for longer than any test's least idle time
AT_ONCE = 1000
ENV_NAMES = ("REDIS_", "STREAM_", "RECLAIM_", "RUN_", "MONITORING_", "MIN_IDLE_", "HASH_", "HANDLER", "ORDER_KEY")


class HasPort(Protocol):
    """Anything with a port to connect to: an Endpoint, a Proxy, a dev Server."""

    port: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to reach a server.

    Attributes:
        kind: the server's kind.
        port: what the code under test connects to.
        server_port: the server's own port, past every proxy.
        proxy: what refuses commands in front of it, if anything does.
    """

    kind: str
    port: int
    server_port: int
    proxy: object = None

    def __repr__(self) -> str:
        return f"<{self.kind}>"


# --- making what is tested -------------------------------------------------------------------------------------------


def a_target(**changes: Any) -> Target:
    """A target with short retry delays: stream ``s``, group ``g``, and the changes that are given."""
    return Target(**{"stream": "s", "group": "g", "retry_max_delay_sec": 0.01, **changes})


def settings_for(place: HasPort, *targets: Target, **changes: Any) -> Settings:
    """Settings for plain connections to a place."""
    return Settings(**{"host": HOST, "port": place.port, "targets": targets or (a_target(),), "tls": False, **changes})


def env_for(place: HasPort, target: Target | None = None, **settings: str) -> dict[str, str]:
    """Settings as an environment, with nothing else in it but what a process needs."""
    target = target or a_target()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(ENV_NAMES)},
        "PYTHONUNBUFFERED": "1",
        "REDIS_HOST": f"{HOST}:{place.port}",
        "REDIS_TLS": "false",
        "STREAM_NAME": target.stream,
        "STREAM_CONSUMER_GROUP_NAME": target.group,
        "MIN_IDLE_TIME_SEC": f"{target.min_idle_ms / 1000:g}",
        "PAGE_SIZE": str(target.page_size),
        **settings,
    }


@asynccontextmanager
async def a_runner(
    place: HasPort, target: Target, handler: Handler | None = None, timeout_sec: float = 5.0, **changes: Any
) -> AsyncIterator[Runner]:
    """A runner for a target, with the handler that the target asks for unless another is given."""
    server = connect(settings_for(place, target), timeout_sec)
    handler = handler or handlers.make(server, target)
    try:
        yield Runner(target, server, handler, own=handlers.own_errors(target), **changes)
    finally:
        if handler.resource is not None:
            await handler.resource.leave()
        await server.aclose()


async def run(
    place: HasPort,
    target: Target,
    handler: Handler | None = None,
    *,
    budget_sec: float = 30.0,
    stop: asyncio.Event | None = None,
    timeout_sec: float = 5.0,
) -> RunReport:
    """One run by a runner of its own. As in the app, a handler counts as hanging after half of the budget."""
    async with a_runner(place, target, handler, timeout_sec, hangs_sec=budget_sec / 2) as runner:
        return await runner.run(budget_sec, stop)


def functions() -> dict[str, Any]:
    """The function app's functions by name, as a worker finds them. A worker asks once; tests may ask again."""
    import function_app  # noqa: PLC0415  # tests that do not need it shall not depend on it

    function_app.app.functions_bindings = None  # azure-functions keeps the names, and takes them for others' next time
    return {function.get_function_name(): function for function in function_app.app.get_functions()}


# --- what is given ---------------------------------------------------------------------------------------------------


def raw_client(port: int, **options: Any) -> Client:
    """A blocking client that gives every reply as the server sent it: bytes, integers, lists."""
    client = Redis(host=HOST, port=port, protocol=2, socket_timeout=30, **options)
    client.response_callbacks.clear()
    return client


@dataclass(frozen=True, slots=True)
class Held:
    """An entry that a consumer has read and not acknowledged; with no consumer, one that nobody has read yet."""

    fields: Flat
    consumer: str | None = "worker"
    idle_ms: int = LONG_MS
    deliveries: int = 1


def tweet(number: int, **changes: bytes) -> list[bytes]:
    """A small tweet with its five fields. The same number always gives the same tweet."""
    values = {
        "id": b"%d" % number,
        "user": b"user_%d" % number,
        "text": f"hello {number} 😀".encode(),
        "location": b"",
        "hashtags": b"covid,cats",
    } | changes
    return [part for name, value in values.items() for part in (name.encode(), value)]


def held(numbers: range, **changes: Any) -> list[Held]:
    """Tweets of these numbers, all pending with the same consumer, idle time and delivery count."""
    return [Held(tweet(number), **changes) for number in numbers]


def given(client: Client, target: Target, *entries: Held) -> list[bytes]:
    """Make the stream, the group and these entries; return their IDs, which are ``1-0``, ``2-0`` and so on.

    Entries that nobody has read come last, as in any stream.
    """
    with suppress(ResponseError):  # BUSYGROUP: more of them
        client.execute_command("XGROUP", "CREATE", target.stream, target.group, "0", "MKSTREAM")
    last: bytes = b"0-0"
    if client.execute_command("XLEN", target.stream):
        ((last, _),) = client.execute_command("XREVRANGE", target.stream, "+", "-", "COUNT", 1)
    first = int(last.partition(b"-")[0]) + 1
    ids = [b"%d-0" % number for number in range(first, first + len(entries))]
    numbered = list(zip(ids, entries, strict=True))
    assert all(b.consumer is None for a, b in pairwise(entries) if a.consumer is None)
    for some in _chunks(numbered, AT_ONCE):
        with client.pipeline(transaction=False) as pipeline:
            for entry_id, entry in some:
                pipeline.execute_command("XADD", target.stream, entry_id, *entry.fields)
            pipeline.execute()
    read = [(entry_id, entry) for entry_id, entry in numbered if entry.consumer is not None]
    for consumer, one_reader in groupby(read, key=lambda pair: str(pair[1].consumer)):
        for some in _chunks(list(one_reader), AT_ONCE):
            _read(client, target, consumer, len(some))
    age(client, target, dict(read))
    return ids


def lived_in(client: Client, target: Target) -> None:
    """Something was stored for the target before: an entry that HASH_KEY does not fit is a bad one from now on."""
    client.execute_command("HSET", target.keys.seen, f"stored under:{target.hash_key}", 1)


def _read(client: Client, target: Target, consumer: str, count: int) -> None:
    client.execute_command("XREADGROUP", "GROUP", target.group, consumer, "COUNT", count, "STREAMS", target.stream, ">")


def age(client: Client, target: Target, entries: Mapping[bytes, Held]) -> None:
    """Give pending entries the consumer, idle time and delivery count asked for."""

    def alike(pair: tuple[bytes, Held]) -> tuple[str, int, int]:
        return str(pair[1].consumer), pair[1].idle_ms, pair[1].deliveries

    with client.pipeline(transaction=False) as pipeline:
        for (consumer, idle_ms, deliveries), group in groupby(sorted(entries.items(), key=alike), key=alike):
            for some in _chunks([entry_id for entry_id, _ in group], AT_ONCE):
                _set(pipeline, target, consumer, some, idle_ms, "RETRYCOUNT", deliveries)
        pipeline.execute()


def _set(client: Any, target: Target, consumer: str, ids: Sequence[bytes], idle_ms: int, *options: Any) -> None:
    to = (target.stream, target.group, consumer)
    client.execute_command("XCLAIM", *to, 0, *ids, "IDLE", idle_ms, *options, "JUSTID")


def age_all(client: Client, target: Target, idle_ms: int = LONG_MS) -> int:
    """Set the idle time of every pending entry, but not its consumer or delivery count; return how many there are."""
    count = 0
    start = "-"
    while rows := pending_rows(client, target, start):
        for consumer, some in groupby(sorted(rows, key=lambda row: row[1]), key=lambda row: row[1]):
            _set(client, target, consumer.decode(), [row[0] for row in some], idle_ms)
        count += len(rows)
        ms, _, seq = rows[-1][0].decode().partition("-")
        start = f"{ms}-{int(seq) + 1}"
    return count


def drop_lease(client: Client, target: Target) -> None:
    """Remove the lease that a dead run left behind."""
    client.execute_command("DEL", target.keys.lease)


class AtClaim:
    """Does something once, at a claim.

    Attributes:
        hits: how many claims it has happened to.
    """

    def __init__(self, proxy: Proxy, action: Action, skip: int = 0) -> None:
        self._rule = proxy.when("EVAL", action, args=lambda words: words[0] == _CLAIM.encode(), skip=skip)

    @property
    def hits(self) -> int:
        return self._rule.hits


# --- what there is afterwards ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is on the server, but for times, the history of runs, the audit and the totals.

    Attributes:
        pending: who holds each entry, how often it was delivered, and whether it is ``idle`` or ``fresh``.
        hashes: every hash, by its key.
        length: how many entries the stream has.
        dead: the dead letters, oldest first, without `at` and `traceback`.
        lost: the ledger of lost entries, oldest first, without `at` and `idle_ms`.
        other_keys: every other key, the lease for one.
    """

    pending: dict[bytes, tuple[bytes, int, str]] = field(default_factory=dict)
    hashes: dict[bytes, dict[bytes, bytes]] = field(default_factory=dict)
    length: int = 0
    dead: list[dict[bytes, bytes]] = field(default_factory=list)
    lost: list[dict[bytes, bytes]] = field(default_factory=list)
    other_keys: list[bytes] = field(default_factory=list)


def state(client: Client, target: Target) -> State:
    """The whole state of a server that serves this one target."""
    keys = sorted(client.execute_command("KEYS", "*"))
    keys_of = target.keys  # those of the circuit and of tries have tests of their own
    ours = {keys_of.stream, keys_of.dead, keys_of.lost, keys_of.runs, keys_of.circuit, keys_of.failures, keys_of.seen}
    ours |= {keys_of.tries, keys_of.audit, keys_of.totals}
    hash_keys = [key for key in keys if key not in ours and client.execute_command("TYPE", key) == b"hash"]
    return State(
        pending={
            entry_id: (consumer, deliveries, "idle" if idle_ms >= target.min_idle_ms else "fresh")
            for entry_id, consumer, idle_ms, deliveries in pending_rows(client, target, limit=100_000)
        },
        hashes=hashes(client, hash_keys),
        length=client.execute_command("XLEN", target.stream),
        dead=_records(client, target.keys.dead, without={b"at", b"traceback"}),
        lost=_records(client, target.keys.lost, without={b"at", b"idle_ms"}),
        other_keys=[key for key in keys if key not in ours and key not in hash_keys],
    )


def pending_rows(client: Client, target: Target, start: str = "-", limit: int = 10_000) -> list[list[Any]]:
    """Lines of XPENDING: ID, consumer, idle ms, deliveries; none where there is no group."""
    if not client.execute_command("EXISTS", target.stream):
        return []
    rows: list[list[Any]] = client.execute_command("XPENDING", target.stream, target.group, start, "+", limit)
    return rows


def pending_count(client: Client, target: Target) -> int:
    """How many entries are pending."""
    count: int = client.execute_command("XPENDING", target.stream, target.group)[0]
    return count


def hashes(client: Client, keys: Sequence[bytes]) -> dict[bytes, dict[bytes, bytes]]:
    """These hashes, by their keys."""
    found: list[Any] = []
    for some in _chunks(keys, AT_ONCE):
        with client.pipeline(transaction=False) as pipeline:
            for key in some:
                pipeline.execute_command("HGETALL", key)
            found += pipeline.execute()
    return {key: as_dict(flat) for key, flat in zip(keys, found, strict=True)}


def stored(*entries: Held | Flat) -> dict[bytes, dict[bytes, bytes]]:
    """The hashes that these entries make, in their order: ``tweet:<id>``, every field as it is."""
    made: dict[bytes, dict[bytes, bytes]] = {}
    for entry in entries:
        fields = as_dict(entry.fields if isinstance(entry, Held) else entry)
        made.setdefault(b"tweet:" + fields[b"id"], {}).update(fields)
    return made


def as_dict(flat: Flat) -> dict[bytes, bytes]:
    """Names and values in turn, as a dict; the last of equal names wins, as with HSET."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _records(client: Client, key: bytes, without: set[bytes]) -> list[dict[bytes, bytes]]:
    entries = client.execute_command("XRANGE", key, "-", "+")
    return [{name: value for name, value in as_dict(flat).items() if name not in without} for _, flat in entries]


def _chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (values[at : at + size] for at in range(0, len(values), size))
