"""Article two: 100 keys of 1,000 numbered entries each, in order, through crashes, poison and outages."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dev.server import Server
from experiments.hosted import Hosted
from experiments.order_handler import EVERY
from experiments.progress import say
from experiments.result import Claim, Result, Size, Table
from experiments.stage import Webhook, ask, client_of, environment, hosted, wait
from reclaim.counted import many
from reclaim.keys import Keys

TITLE = "100,000 entries in order (article two)"
STREAM, GROUP = "events", "processors"
KEYS = Keys.of(STREAM.encode(), GROUP.encode())
AT_ONCE = 1_000
AT_RISK = 2 * 500  # two pages are in work at most, and are acknowledged when all of a page is stored
OPENED = "reclaim.circuit.opened"
ROOT = Path(__file__).parents[1]

TEXT = """\
Producers write 100 keys of 1,000 numbered entries to one stream; four consumers read all of them, and are killed. Then
the app works in the stand-in host. Its processes are killed and started again several times, and for a while two run at
the same time; outages are tried with `SHARDS=2` in two processes. The handler appends each number to its key's
list.

Five variants:

- *once*: every hundredth entry throws when it is first tried.
- *always*: every hundredth throws always. At the end the handler is mended, and the dead letters are replayed.
- *minute*: what the handler needs is away for a minute; then a person closes the circuit over HTTP.
- *database*: the handler's own database is killed, and started again after a minute.
- *hash*: no handler, but hashes with `HASH_VERSION_FIELD`.

Waits are shortened by settings: `RECLAIM_SCHEDULE=* * * * * *`, `MIN_IDLE_TIME_SEC=1`, `DELIVERY_BACKOFF_SEC=0`,
`MAX_DELIVERIES=4`, `RETRY_ATTEMPTS=1`. Where entries throw, the circuit is to stay closed (`CIRCUIT_FAILURES=2000`). In
the outages 100 failures open it, and in *minute* only a person closes it (`CIRCUIT_COOLDOWN_SEC=0`)."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done.

    Attributes:
        keys: order keys.
        each: entries of each.
        kills: how often a process is killed while entries are handled.
        away_sec: how long an outage takes, about.
        begins_away: whether the outage is there when the app starts: few entries would be done before.
    """

    keys: int
    each: int
    kills: int
    away_sec: float
    begins_away: bool


SIZES = {Size.QUICK: Sizes(10, 100, 1, 2.0, begins_away=True), Size.FULL: Sizes(100, 1_000, 3, 60.0, begins_away=False)}


@dataclass(slots=True)
class Found:
    """What a variant left.

    Attributes:
        variant: its name.
        lists: each key's numbers, as the handler appended them; with the hash, the numbers that are stored.
        dead: the dead letters before their replay, by key; empty where none is to die.
        dead_left: how many dead letters there are at the end.
        pending: entries that are pending at the end.
        lost: lost entries at the end.
        kills: how often a process was killed.
        opened: alerts that told of an open circuit; -1 where it is not asked.
        deliveries: the most deliveries of a pending entry in the outage; 0 where there is none.
        kills_away: how many of the kills fell into the outage.
        seconds: how long the app took.
        old_versions: hashes that do not hold the ID of their own entry.
    """

    variant: str
    lists: dict[str, list[int]] = field(default_factory=dict)
    dead: dict[str, list[int]] = field(default_factory=dict)
    dead_left: int = 0
    pending: int = 0
    lost: int = 0
    kills: int = 0
    opened: int = -1
    deliveries: int = 0
    kills_away: int = 0
    seconds: float = 0.0
    old_versions: int = 0

    @property
    def twice(self) -> int:
        """How many numbers were handled again."""
        return sum(len(numbers) - len(set(numbers)) for numbers in self.lists.values())


class Variant:
    """One variant on servers of its own."""

    def __init__(self, name: str, sizes: Sizes, seed: int) -> None:
        self.name = name
        self.sizes = sizes
        self.found = Found(name)
        self._rng = random.Random(seed)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.server = self._stack.enter_context(Server())
        self.store = self._stack.enter_context(Server(appendonly="yes"))
        self.client: Any = client_of(self.server)
        self.lists: Any = client_of(self.store)
        self.webhook = self._stack.enter_context(Webhook())
        _fill(self.client, self.sizes)
        _let_consumers_die(self.server, self.client)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def env(self, **settings: str) -> dict[str, str]:
        """The app's settings."""
        given = {"MODE": self.name, "STORE": self.store.address, "HANDLER": "experiments.order_handler:handle"}
        given |= {"ORDER_KEY": "{key}", "MIN_IDLE_TIME_SEC": "1", "DELIVERY_BACKOFF_SEC": "0", "MAX_DELIVERIES": "4"}
        given |= {"RECLAIM_SCHEDULE": "* * * * * *", "CIRCUIT_FAILURES": "2000", "ALERT_WEBHOOK_URL": self.webhook.url}
        return environment(self.server, STREAM, GROUP, **given | {"RETRY_ATTEMPTS": "1"} | settings)

    @property
    def pending(self) -> int:
        """Entries that are pending now."""
        count: int = self.client.xpending(STREAM, GROUP)["pending"]
        return count

    def work(self, hosts: Sequence[Hosted], until: Callable[[], bool] | None = None, within_sec: float = 400.0) -> None:
        """Have the app work, and kill its processes at random moments at work, until nothing is pending."""
        done = until or (lambda: self.pending == 0)
        left, at_kill, pending = self.sizes.kills - self.found.kills_away, self._next(), self.pending
        began = time.monotonic()

        def kill_now_and_then() -> None:
            nonlocal left, at_kill, pending
            if left and time.monotonic() >= at_kill and self.pending < pending:  # it is at work again
                self.kill(self._rng.choice(hosts))
                left, at_kill, pending = left - 1, self._next(), self.pending

        if not wait(lambda: done() and (not left or not self.pending), within_sec, kill_now_and_then):
            say(f"  {self.name}: {self.pending:,} entries are pending still")
        self.found.seconds += time.monotonic() - began

    def kill(self, host: Hosted) -> None:
        """Kill a process and start another one in its place."""
        host.kill()
        host.start()
        self.found.kills += 1

    def _next(self) -> float:
        """When the next kill is due; hashes are done within a few seconds."""
        return time.monotonic() + self._rng.uniform(0.5, 1.5) * (
            4.0 if self.sizes.keys > 50 and self.name != "hash" else 0.6
        )

    def look(self) -> Found:
        """Note what there is at the end."""
        found = self.found
        found.pending, found.lost = self.pending, self.client.xlen(KEYS.lost)
        found.dead_left = self.client.xlen(KEYS.dead)
        found.lists = {key: list(map(int, self.lists.lrange(f"done:{key}", 0, -1))) for key in _keys(self.sizes)}
        say(f"  {self.name}: {found.seconds:.0f} s, {found.kills} kills, {found.twice} handled again")
        return found


async def experiment(size: Size) -> Result:
    """All variants, one after another."""
    sizes = SIZES[size]
    found = [_once(sizes), _always(sizes), _minute(sizes), _database(sizes), _hash(sizes)]
    rows = [
        [
            one.variant,
            sum(map(len, one.lists.values())),
            one.twice,
            sum(map(len, one.dead.values())),
            one.kills,
            one.deliveries or "",
            one.opened if one.opened >= 0 else "",
            one.seconds,
        ]
        for one in found
    ]
    columns = ["variant", "handled", "of them again", "dead letters before their replay", "kills"]
    columns += ["most deliveries in the outage", "events: circuit opened", "seconds of the app"]
    table = Table(f"{sizes.keys} keys of {sizes.each:,} entries", columns, rows)
    return Result(TEXT, claims(found, sizes), [table], [])


def claims(found: Sequence[Found], sizes: Sizes) -> list[Claim]:
    """What was to be shown, of all variants."""
    made = [one for of in found for one in _claims_of(of, sizes)]
    by_name = {one.variant: one for one in found}
    always, minute, database, hashes = (by_name[name] for name in ("always", "minute", "database", "hash"))
    thrown = list(range(EVERY, sizes.each + 1, EVERY))
    wrong = [key for key in _keys(sizes) if always.dead.get(key, []) != thrown]
    made.append(
        Claim(
            "Always: exactly the entries that always threw became dead letters.",
            not wrong and len(always.dead) == sizes.keys,
            f"{sum(map(len, always.dead.values())):,} dead letters, {len(wrong)} keys with others.",
        )
    )
    made.append(
        Claim("Always: their replay empties the dead letters.", always.dead_left == 0, f"{always.dead_left} are left.")
    )
    made.append(
        Claim("Minute: exactly one event told that the circuit opened.", minute.opened == 1, f"{minute.opened} came.")
    )
    for one in (minute, database):
        most = 1 + one.kills_away
        text = f"{one.variant.capitalize()}: the outage cost at most one delivery for each kill that fell into it."
        said = f"{many(one.deliveries, 'delivery', 'deliveries')} at most, the consumer's own one among them; "
        said += f"{many(one.kills_away, 'kill')}."
        made.append(Claim(text, 1 <= one.deliveries <= most, said))
    made.append(
        Claim(
            "Hash: none was stored twice, and none holds an older version.",
            hashes.twice == 0 and hashes.old_versions == 0,
            f"{hashes.twice} twice, {hashes.old_versions} with another version.",
        )
    )
    return made


def _claims_of(one: Found, sizes: Sizes) -> list[Claim]:
    """What holds for each variant."""
    name = one.variant.capitalize()
    wrong = [key for key in _keys(sizes) if not _is_in_order(one, key, sizes)]
    kept = Claim(
        f"{name}: each key's list has every number, in order.",
        not wrong,
        f"{sizes.keys - len(wrong)} of {sizes.keys} keys.",
    )
    left = {"pending": one.pending, "lost": one.lost}
    settled = Claim(
        f"{name}: nothing is pending and nothing is lost.",
        not any(left.values()),
        ", ".join(f"{n} {what}" for what, n in left.items()) + ".",
    )
    if one.variant == "hash":  # it has a claim of its own
        return [kept, settled]
    twice = Claim(
        f"{name}: only what a killed process had claimed and not acknowledged was handled again.",
        one.twice <= one.kills * AT_RISK,
        f"{one.twice} again; {many(one.kills, 'kill')}, {AT_RISK:,} entries at risk at each: two pages.",
    )
    return [kept, settled, twice]


def _is_in_order(one: Found, key: str, sizes: Sizes) -> bool:
    """Whether the first occurrences are all numbers in order; dead letters come after their replay, in order too."""
    numbers = list(dict.fromkeys(one.lists.get(key, [])))
    replayed = set(one.dead.get(key, []))
    wanted = [n for n in range(1, sizes.each + 1) if n not in replayed]
    return numbers == [*wanted, *sorted(replayed)]


def _once(sizes: Sizes) -> Found:
    with Variant("once", sizes, 1) as variant, hosted(variant.env()) as hosts:
        with hosted(variant.env()):  # twice at the same time, for a while
            variant.work(hosts, lambda: True, 30.0)
        variant.work(hosts)
        return variant.look()


def _always(sizes: Sizes) -> Found:
    with Variant("always", sizes, 2) as variant:
        with hosted(variant.env()) as hosts:
            variant.work(hosts)
        variant.found.dead = _dead(variant.client)
        words = [sys.executable, "-m", "reclaim", "dead", "replay", "--all", "--even-if-open"]
        subprocess.run(words, env=variant.env(MODE="mended"), cwd=ROOT, check=True, capture_output=True)
        return variant.look()


def _minute(sizes: Sizes) -> Found:
    settings = {"SHARDS": "2", "CIRCUIT_FAILURES": "100", "CIRCUIT_WINDOW_SEC": "30", "CIRCUIT_COOLDOWN_SEC": "0"}
    with ExitStack() as stack:
        variant = stack.enter_context(Variant("minute", sizes, 3))
        if sizes.begins_away:
            variant.lists.set("away", 1)
        hosts = stack.enter_context(hosted(variant.env(**settings), 2))
        if not sizes.begins_away:
            wait(lambda: variant.pending < sizes.keys * sizes.each * 0.7, 60.0)
            variant.lists.set("away", 1)
        is_open = wait(lambda: bool(variant.webhook.counts()[OPENED]), 60.0)
        say(f"  minute: the circuit {'is open' if is_open else 'DID NOT OPEN'}")
        variant.kill(hosts[0])
        variant.found.kills_away = 1
        time.sleep(sizes.away_sec)
        variant.found.deliveries = _most_deliveries(variant.client)
        variant.lists.delete("away")
        ask(hosts[1], "POST", "circuit", {"action": "close", "reason": "it is back", "who": "the experiment"})
        variant.work(hosts)
        variant.found.opened = variant.webhook.counts()[OPENED]
        return variant.look()


def _database(sizes: Sizes) -> Found:
    settings = {"SHARDS": "2", "CIRCUIT_FAILURES": "100", "CIRCUIT_COOLDOWN_SEC": "2"}
    with ExitStack() as stack:
        variant = stack.enter_context(Variant("database", sizes, 4))
        if sizes.begins_away:
            variant.store.kill()
        hosts = stack.enter_context(hosted(variant.env(**settings), 2))
        if not sizes.begins_away:
            wait(lambda: variant.pending < sizes.keys * sizes.each * 0.7, 60.0)
            variant.store.kill()
        time.sleep(sizes.away_sec / 2)
        variant.kill(hosts[1])
        variant.found.kills_away = 1
        time.sleep(sizes.away_sec / 2)
        variant.found.deliveries = _most_deliveries(variant.client)
        variant.store.start()
        variant.work(hosts)
        return variant.look()


def _hash(sizes: Sizes) -> Found:
    settings = {"HANDLER": "hash", "HASH_KEY": "number:{key}:{n}", "HASH_VERSION_FIELD": "version", "SHARDS": "2"}
    with Variant("hash", sizes, 5) as variant, hosted(variant.env(**settings), 2) as hosts:
        variant.work(hosts)
        found = variant.look()
        ids = {(fields[b"key"], fields[b"n"]): one for one, fields in variant.client.xrange(STREAM)}
        for key in _keys(sizes):
            with variant.client.pipeline(transaction=False) as pipeline:
                for number in range(1, sizes.each + 1):
                    pipeline.hgetall(f"number:{key}:{number}")
                stored = pipeline.execute()
            found.lists[key] = [int(one[b"n"]) for one in stored if one]
            found.old_versions += sum(one[b"version"] != ids[one[b"key"], one[b"n"]] for one in stored if one)
        return found


def _keys(sizes: Sizes) -> list[str]:
    return [f"k{number}" for number in range(sizes.keys)]


def _fill(client: Any, sizes: Sizes) -> None:
    """All entries; the keys take turns."""
    client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    with client.pipeline(transaction=False) as pipeline:
        for number in range(1, sizes.each + 1):
            for key in _keys(sizes):
                pipeline.execute_command("XADD", STREAM, "*", "key", key, "n", number)
            if len(pipeline) >= AT_ONCE:
                pipeline.execute()
        pipeline.execute()


def _let_consumers_die(server: Server, client: Any) -> None:
    """Four consumers read all there is, and are killed before they acknowledge any of it."""
    words = [sys.executable, "-m", "experiments.dying_consumer", server.address, STREAM, GROUP]
    consumers = [subprocess.Popen([*words, f"consumer-{number}"], cwd=ROOT) for number in range(1, 5)]
    try:
        length = client.xlen(STREAM)
        if not wait(lambda: client.xpending(STREAM, GROUP)["pending"] == length, 60.0):
            raise RuntimeError("the consumers did not read everything")
    finally:
        for consumer in consumers:
            consumer.kill()
            consumer.wait()


def _dead(client: Any) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for _, fields in client.xrange(KEYS.dead):
        found.setdefault(fields[b"field:key"].decode(), []).append(int(fields[b"field:n"]))
    return {key: sorted(numbers) for key, numbers in found.items()}


def _most_deliveries(client: Any) -> int:
    """The most deliveries that a pending entry has had."""
    most, start = 0, "-"
    while rows := client.xpending_range(STREAM, GROUP, start, "+", 10_000):
        most = max(most, *(row["times_delivered"] for row in rows))
        start = f"({rows[-1]['message_id'].decode()}"
    return most
