"""A bad day: an hour's faults within minutes, and at the end every entry is accounted for, one by one."""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import RedisError

from dev.proxy import Proxy
from dev.server import HOST, Server
from dev.soak.lab import fail_over
from experiments.progress import say
from experiments.result import Claim, Result, Size, Table
from experiments.stage import Webhook, client_of, environment, hosted, wait
from reclaim.keys import Keys

if TYPE_CHECKING:
    from experiments.hosted import Hosted

TITLE = "A bad day"
STREAM, GROUP = "orders", "workers"
KEYS = Keys.of(STREAM.encode(), GROUP.encode())
USER, PASSWORD = "app", "of-a-bad-day"
SEED = 11
PRODUCES, READS = 5, 10  # entries at once
EVERY_SEC = 0.05
DROPS = 0.3  # of what the live consumer reads
BULK = 60  # poison entries, and bad ones, that come together
VANISH = 200  # entries that are pending when the group is made anew
HOUR_MS = 3_600_000
FAULTS = 12  # kinds
CLOCK = "reclaim.clock.went_back"
RUNS, CIRCUIT = ("reclaim.run.failed", "reclaim.run.recovered"), ("reclaim.circuit.opened", "reclaim.circuit.closed")

TEXT = """\
A producer adds entries. A live consumer acknowledges some and drops the others. The app works beside them in the
stand-in host, with alerts on. Then everything goes wrong, in an order that a seed makes: the server is killed and
failed over, the network is cut and slow, memory is full, permissions are taken, the stream is trimmed, the group is
made anew, the handler's database is away, poison comes in bulk, the app is killed, and the server's clock goes back by
an hour. (What the last run noted of the clock is put an hour ahead: to the next run that is the same.) Afterwards each
entry that was ever added is looked for. In the table it stands in the first place that fits: some entries that were
pending when their group was destroyed had been stored before."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How often each fault happens, how long one takes, and how long there is peace between two."""

    rounds: int
    fault_sec: float
    peace_sec: float


SIZES = {Size.QUICK: Sizes(1, 0.8, 0.3), Size.FULL: Sizes(4, 2.5, 2.0)}


@dataclass(slots=True)
class Found:
    """What there was.

    Attributes:
        happened: how often each fault happened.
        added: the kind of each entry that was added, by its ID.
        acknowledged: IDs that the live consumer has acknowledged.
        vanished: IDs that were pending when the group was destroyed.
        unread: IDs that nobody has read at the end, or that were trimmed before.
        stored: IDs that the handler has stored.
        dead: IDs of entries that are dead letters.
        lost: IDs that the ledger of the lost names.
        lost_at_most: how many more it tells of.
        pending: IDs that are pending at the end.
        events: the type of each alert that came, in order, and its ID.
    """

    happened: Counter[str] = field(default_factory=Counter)
    added: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    vanished: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    lost_at_most: int = 0
    pending: set[str] = field(default_factory=set)
    events: list[tuple[str, str]] = field(default_factory=list)

    def places(self) -> dict[str, set[str]]:
        """Where entries are, the first place that fits an entry counts."""
        return {
            "a dead letter": self.dead,
            "acknowledged by the live consumer": self.acknowledged,
            "stored by us, and acknowledged": self.stored - self.pending,
            "lost, and named": self.lost,
            "gone with the group, and counted": self.vanished,
            "pending": self.pending,
            "not read yet": self.unread,
        }

    def account(self) -> dict[str, Counter[str]]:
        """How many entries of each kind are in each place, ``nowhere`` among them."""
        places = self.places()
        counts: dict[str, Counter[str]] = {name: Counter() for name in [*places, "nowhere"]}
        for one, kind in self.added.items():
            place = next((name for name, ids in places.items() if one in ids), "nowhere")
            counts[place][kind] += 1
        return counts


class Day:
    """One bad day, on servers of its own."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.found = Found()
        self.rng = random.Random(SEED)
        self._stack = ExitStack()
        self._servers = threading.Lock()  # whoever has it, the servers are there
        self._over = threading.Event()
        self._numbers = count(1)

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        self.primary, self.replica = (enter(Server(appendonly="yes", appendfsync="always")) for _ in range(2))
        self.store = enter(Server(appendonly="yes"))
        self.proxy = enter(Proxy(self.primary.port))
        self.webhook = enter(Webhook())
        self.client: Any = client_of(self.primary)
        for server in (self.primary, self.replica):
            self._allow(server)
        client_of(self.replica).execute_command("REPLICAOF", HOST, self.primary.port)
        self.client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        settings = {"REDIS_HOST": f"{HOST}:{self.proxy.port}", "REDIS_USERNAME": USER, "REDIS_PASSWORD": PASSWORD}
        settings |= {"HANDLER": "experiments.bad_day_handler:handle", "STORE": self.store.address, "ORDER_KEY": "{n}"}
        settings |= {
            "MIN_IDLE_TIME_SEC": "3",
            "DELIVERY_BACKOFF_SEC": "0",
            "MAX_DELIVERIES": "3",
            "RETRY_ATTEMPTS": "2",
        }
        settings |= {"RECLAIM_SCHEDULE": "* * * * * *", "RUN_BUDGET_SEC": "10", "CIRCUIT_FAILURES": "50"}
        settings |= {"CIRCUIT_COOLDOWN_SEC": "2", "ALERT_WEBHOOK_URL": self.webhook.url}
        self.app: Hosted = enter(hosted(environment(self.primary, STREAM, GROUP, **settings)))[0]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def live(self) -> None:
        """Have everything go wrong, while entries come and go."""
        traffic = threading.Thread(target=self._traffic, daemon=True)
        traffic.start()
        faults: dict[str, Callable[[], None]] = {
            "the server is killed": self._kill_server,
            "the server fails over": self._fail_over,
            "the network is cut": self._cut,
            "the network is slow": self._slow,
            "memory is full": self._fill_memory,
            "permissions are taken": self._take_permissions,
            "the stream is trimmed": self._trim,
            "the group is made anew": self._make_group_anew,
            "the handler's database is away": self._take_store_away,
            "poison in bulk": self._poison,
            "the app is killed": self._kill_app,
            "the server's clock goes back": self._set_clock_back,
        }
        try:
            for _ in range(self.sizes.rounds):
                for name in self.rng.sample(sorted(faults), len(faults)):
                    time.sleep(self.sizes.peace_sec)
                    faults[name]()
                    self.found.happened[name] += 1
        finally:
            self._over.set()
            traffic.join(60)

    def heal(self) -> None:
        """Wait until what is pending is settled, and note what there is."""
        is_settled = wait(lambda: self._pending_count() == 0, 150.0)
        say(f"  {'all is settled' if is_settled else 'NOT all is settled'}; {len(self.found.added):,} entries")
        time.sleep(4.0)  # the runs after it tell that all is well again
        wait(self._is_all_told, 70.0)  # a process asks once a minute whether another one has told of a failure
        self._note()

    def _is_all_told(self) -> bool:
        """Whether each failed run and each open circuit that was told has had its end told too."""
        counts = self.webhook.counts()
        return all(counts[begin] == counts[end] for begin, end in (RUNS, CIRCUIT))

    # --- what comes and goes ---

    def _traffic(self) -> None:
        while not self._over.is_set():
            with self._servers, suppress(RedisError):
                self._add(["ok"] * PRODUCES)
                self._read("live", READS)
            time.sleep(EVERY_SEC)

    def _add(self, kinds: Sequence[str]) -> None:
        for kind in kinds:
            one = self.client.execute_command("XADD", STREAM, "*", "n", next(self._numbers), "kind", kind)
            self.found.added[one.decode()] = kind

    def _read(self, consumer: str, most: int) -> None:
        """Read entries; the live consumer acknowledges some of the good ones."""
        read = self.client.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=most)
        for entry_id, fields in read[0][1] if read else ():
            if consumer == "live" and fields[b"kind"] == b"ok" and self.rng.random() > DROPS:
                self.client.xack(STREAM, GROUP, entry_id)
                self.found.acknowledged.add(entry_id.decode())

    # --- what goes wrong ---

    def _kill_server(self) -> None:
        with self._servers:
            self.primary.kill()
            time.sleep(self.sizes.fault_sec)
            self.primary.start()
            self._allow(self.primary)
            wait(self._is_in_step, 20.0)

    def _fail_over(self) -> None:
        with self._servers:
            if not wait(lambda: fail_over(self.primary, self.replica), 20.0):
                raise RuntimeError("the server did not fail over")
            self.primary, self.replica = self.replica, self.primary
            self.client = client_of(self.primary)
            self.proxy.server_port = self.primary.port
            self.proxy.cut()

    def _cut(self) -> None:
        self.proxy.refuse()
        self.proxy.cut()
        time.sleep(self.sizes.fault_sec)
        self.proxy.accept()

    def _slow(self) -> None:
        self.proxy.reply_delay_sec = 0.1
        time.sleep(self.sizes.fault_sec)
        self.proxy.reply_delay_sec = 0.0

    def _fill_memory(self) -> None:
        self.client.config_set("maxmemory", "1mb")
        time.sleep(2 * self.sizes.fault_sec)
        self.client.config_set("maxmemory", "0")

    def _take_permissions(self) -> None:
        """Long enough for a run to fail."""
        self.client.execute_command("ACL", "SETUSER", USER, "-xack", "-xclaim", "-xpending", "-eval", "-evalsha")
        time.sleep(max(2.5, self.sizes.fault_sec))
        self._allow(self.primary)

    def _trim(self) -> None:
        """Entries that are pending go too; nobody has read them, if they come after the last one that was read."""
        with self._servers:
            self._add(["ok"] * 20)
            self._read("died", 20)
            self.client.xtrim(STREAM, maxlen=5, approximate=False)

    def _make_group_anew(self) -> None:
        """First a run sees what is pending: it is not idle for long enough yet."""
        with self._servers:
            self._add(["ok"] * VANISH)
            self._read("died", VANISH + 100)
            time.sleep(2.2)
            self.found.vanished |= self._pending()
            (group,) = self.client.xinfo_groups(STREAM)
            self.client.xgroup_destroy(STREAM, GROUP)
            self.client.xgroup_create(STREAM, GROUP, id=group["last-delivered-id"])

    def _take_store_away(self) -> None:
        self.store.kill()
        with self._servers:
            self._add(["ok"] * 150)
            self._read("died", 250)
        time.sleep(3.5 + self.sizes.fault_sec)
        self.store.start()

    def _poison(self) -> None:
        with self._servers:
            self._add(["poison", "bad"] * BULK)
            self._read("died", 3 * BULK)

    def _kill_app(self) -> None:
        self.app.kill()
        self.app.start()

    def _set_clock_back(self) -> None:
        """A run that is at work writes over what we write: then it is written again."""
        told = self.webhook.counts()[CLOCK]
        for _ in range(10):
            seconds, _ = self.client.time()
            self.client.hset(KEYS.seen, "server_ms", 1000 * int(seconds) + HOUR_MS)
            if wait(lambda: self.webhook.counts()[CLOCK] > told, 3.0):
                return

    # --- looking ---

    @staticmethod
    def _allow(server: Server) -> None:
        client_of(server).execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "+@all")

    def _is_in_step(self) -> bool:
        return b"master_link_status:up" in client_of(self.replica).execute_command(
            "INFO", "replication", NEVER_DECODE=True
        )

    def _pending_count(self) -> int:
        found: int = self.client.xpending(STREAM, GROUP)["pending"]
        return found

    def _pending(self) -> set[str]:
        rows = self.client.xpending_range(STREAM, GROUP, "-", "+", 100_000)
        return {row["message_id"].decode() for row in rows}

    def _note(self) -> None:
        found, client = self.found, self.client
        (group,) = client.xinfo_groups(STREAM)
        last = _place(group["last-delivered-id"].decode())
        found.unread = {one for one in found.added if _place(one) > last}
        found.pending = self._pending()
        found.stored = {one.decode() for one in client_of(self.store).hkeys("stored")}
        found.dead = {fields[b"id"].decode() for _, fields in client.xrange(KEYS.dead)}
        for _, fields in client.xrange(KEYS.lost):
            if b"at_most" in fields:
                found.lost_at_most += int(fields[b"at_most"])
            else:
                found.lost.add(fields[b"id"].decode())
        found.events = [(str(one["type"]), str(one["id"])) for one in self.webhook.events]


def _place(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)


async def experiment(size: Size) -> Result:
    """The day, and the account of it."""
    sizes = SIZES[size]
    found = await asyncio.to_thread(_do, sizes)
    account = found.account()
    kinds = ("ok", "poison", "bad")
    rows = [[place, *(counts[kind] for kind in kinds)] for place, counts in account.items()]
    rows.append(["all", *(sum(counts[kind] for counts in account.values()) for kind in kinds)])
    events = Counter(kind for kind, _ in found.events)
    tables = [
        Table("Where every entry is", ["place", "good", "poison", "bad"], rows),
        Table("What happened", ["fault", "times"], sorted(found.happened.items())),
        Table("Alerts that came", ["type", "times"], [[f"`{kind}`", times] for kind, times in sorted(events.items())]),
    ]
    return Result(f"{TEXT}\n\nThe seed is {SEED}.", claims(found, sizes), tables, [])


def claims(found: Found, sizes: Sizes) -> list[Claim]:
    """What was to be shown."""
    nowhere = sum(found.account()["nowhere"].values())
    twice = found.dead & (found.acknowledged | found.stored | found.lost)
    good = [one for one in found.dead if found.added.get(one) == "ok"]
    counted = found.lost_at_most + len(found.lost & found.vanished)
    made = [
        Claim(
            "Every fault happened.",
            len(found.happened) == FAULTS and set(found.happened.values()) == {sizes.rounds},
            f"{len(found.happened)} kinds, {sum(found.happened.values())} in all.",
        ),
        Claim(
            "Every entry is accounted for, one by one (G2).",
            bool(found.added) and not nowhere,
            f"{nowhere} of {len(found.added):,} are nowhere.",
        ),
        Claim("No dead letter is anywhere else.", not twice, f"{len(twice)} are."),
        Claim("Nothing is pending at the end.", not found.pending, f"{len(found.pending)} entries."),
        Claim(
            "Only poison and bad entries became dead letters.",
            bool(found.dead) and not good,
            f"{len(found.dead):,} dead letters, {len(good)} of good entries.",
        ),
        Claim(
            "What vanished with the group is counted.",
            counted >= sizes.rounds * VANISH,
            f"{len(found.vanished):,} vanished; at most {counted:,} are counted.",
        ),
    ]
    return [*made, *_of_alerts(found, sizes)]


def _of_alerts(found: Found, sizes: Sizes) -> list[Claim]:
    kinds = [kind for kind, _ in found.events]
    counts = Counter(kinds)
    once = {"reclaim.entries.dead_lettered": 1, "reclaim.entries.lost": 1, CLOCK: sizes.rounds}
    wrong = [kind for kind, times in once.items() if counts[kind] != times]
    made = [
        Claim(
            "Alerts that are told once came once: dead letters, losses, a clock that went back.",
            not wrong and len(set(found.events)) == len(found.events),
            f"{', '.join(f'{counts[kind]} {kind}' for kind in once)}.",
        )
    ]
    for begin, end in (RUNS, CIRCUIT):
        told = [kind for kind in kinds if kind in {begin, end}]
        is_well = bool(told) and told == [begin, end] * (len(told) // 2)
        made.append(
            Claim(f"Each `{begin}` was told once, and then its end.", is_well, f"{counts[begin]} and {counts[end]}.")
        )
    return made


def _do(sizes: Sizes) -> Found:
    with Day(sizes) as day:
        day.live()
        day.heal()
        return day.found
