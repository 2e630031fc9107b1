"""Owns what a world is made of before anything happens: its server, its targets and their settings, and its entries."""

import json
from dataclasses import dataclass, field
from random import Random

from dev.soak.scripted import KINDS, PLANS
from reclaim.settings import OF_TARGET

GROUP = "g"
KEYS = ["a", "b", "c", "d"]
VERSION = "version"
STREAMS = ["tweets", "orders{eu}", "a stream ü"]
BUDGET_SEC = 3.0
FIRST_MS, EPOCH_MS = 2_000_000_000, 10_000_000  # a stream made anew gets smaller IDs than the one before
MIN_IDLE_SEC = 0.3
POISON = "poison"


@dataclass(frozen=True, slots=True)
class Plan:
    """One target of a world.

    Attributes:
        number: its place among the world's targets; its handlers are called after it.
        mode: `function`; or `unique` (each entry has a hash of its own); or `shared` or `versioned` (each order key has
            one).
        settings: its settings as an object of RECLAIM_TARGETS.
        is_foreign: whether HASH_KEY fits none of its entries.
        failing: how many of 10 entries have a plan of failures.
        wrong_key: an order key whose hash is none, but a string; None if there is no such key.
    """

    number: int
    stream: str
    mode: str
    settings: dict[str, object]
    is_foreign: bool
    failing: int
    wrong_key: str | None

    @property
    def max_deliveries(self) -> int:
        return int(str(self.settings["max_deliveries"]))


@dataclass(slots=True)
class Made:
    """An entry that was added, and what is known of it.

    Attributes:
        epoch: how often the stream had been made anew before.
        is_bad: it can never be stored: by HASH_KEY, or because of what it holds.
        is_read: a consumer has read it, so that it was pending.
        read_at: when, in seconds of the world.
        is_removed: somebody deleted it, or trimmed it away.
        is_gone: its group or stream was made anew while it was pending, or while nobody had read it.
        is_dropped: a person discarded its dead letter, or tried to.
    """

    id: str
    fields: list[bytes]
    key: str
    kind: str
    epoch: int
    is_bad: bool = False
    is_read: bool = False
    read_at: float = 0.0
    is_removed: bool = False
    is_gone: bool = False
    is_dropped: bool = False


def make_plans(rng: Random) -> list[Plan]:
    """The targets of a world."""
    return [_plan(rng, number) for number in range(rng.choice([1, 1, 2, 3]))]


def _plan(rng: Random, number: int) -> Plan:
    mode = rng.choice([*["function"] * 5, "unique", "unique", "shared", "versioned", "versioned"])
    settings: dict[str, object] = {
        "stream": STREAMS[number],
        "group": GROUP,
        "min_idle_time_sec": MIN_IDLE_SEC,
        "page_size": rng.choice([1, 3, 10, 50, 500]),
        "lanes": rng.choice([1, 2, 8]),
        "retry_attempts": rng.choice([1, 2, 3]),
        "retry_max_delay_sec": 0.02,
        "max_deliveries": rng.choice([2, 3, 5]),
        "delivery_backoff_sec": rng.choice([0, 0.2, 90]),
        "delete_acknowledged": rng.random() < 0.3,
        "circuit_failures": rng.choice([3, 10, 100, 1000]),
        "circuit_window_sec": rng.choice([0.5, 30]),
        "circuit_cooldown_sec": rng.choice([0.05, 0.3]),
        "circuit_share": rng.choice([0, 0, 0.5]),
        "missing_ok": rng.random() < 0.3,
        "retry_for_sec": rng.choice([86400, 86400, 0, 1]),
        "dead_letter_maxlen": rng.choice([100_000, 100_000, 100_000, 5]),
    }
    if mode == "function":
        settings |= {"handler": f"dev.soak.scripted:{rng.choice(KINDS)}_{number}", "hash_key": "{key}"}
        if rng.random() < 0.5:
            settings |= {"order_key": "{key}"}
    else:
        settings["hash_key"] = f"h{number}:{{n}}" if mode == "unique" else f"h{number}:{{key}}"
    if mode == "versioned":
        settings["hash_version_field"] = VERSION
    known = {row.key for row in OF_TARGET}
    settings = {name: value for name, value in settings.items() if name in known}
    is_foreign = mode != "function" and rng.random() < 0.12
    wrong_key = KEYS[-1] if mode in {"shared", "versioned"} and rng.random() < 0.4 else None
    return Plan(number, STREAMS[number], mode, settings, is_foreign, rng.choice([0, 2, 5, 10, 10]), wrong_key)


def make_entry(rng: Random, plan: Plan, sequence: int, epoch: int) -> Made:
    """A random entry: one of ours, or somebody else's."""
    entry_id = _id(sequence, epoch)
    key, number = rng.choice(KEYS), f"{plan.number}.{sequence}"
    if plan.is_foreign or rng.random() < 0.12:
        kind = rng.choice(list(_FOREIGN))
        return Made(entry_id, _FOREIGN[kind], "", f"foreign: {kind}", epoch, is_bad=plan.mode != "function")
    fields = [b"n", number.encode(), b"key", key.encode(), b"text", b"hello %d" % sequence]
    kind, is_bad = "plain", key == plan.wrong_key
    if plan.mode == "function" and rng.randrange(10) < plan.failing:
        fields += [b"plan", f"{rng.choice(PLANS)}:{rng.choice([1, 1, 2, 3, 6])}".encode()]
    odd = rng.random()
    if odd < 0.04:
        fields, kind = [*fields, b"tag", b"one", b"tag", b"two"], "a name twice"
    elif odd < 0.06:
        fields, kind = [*fields, b"blob", rng.randbytes(rng.choice([50_000, 300_000, 1_000_000]))], "large"
    elif odd < 0.08:
        key, kind, is_bad = "", "empty key", plan.mode in {"shared", "versioned"}
        fields[3] = b""
        if plan.mode == "unique":
            fields[1], is_bad = b"", True
    elif odd < 0.1 and plan.mode == "versioned":
        fields, kind, is_bad = [*fields, VERSION.encode(), b"7"], "version field", True
    return Made(entry_id, fields, key, kind, epoch, is_bad)


def make_poison(plan: Plan, sequence: int, epoch: int) -> Made:
    """One that can never be stored: its function always fails, or it has nothing that HASH_KEY needs."""
    entry_id, key = _id(sequence, epoch), f"poison-{sequence}"
    if plan.mode == "function":
        fields = [b"n", f"{plan.number}.{sequence}".encode(), b"key", key.encode(), b"plan", b"raise:1000000"]
        return Made(entry_id, fields, key, POISON, epoch)
    return Made(entry_id, [b"junk", key.encode()], "", POISON, epoch, is_bad=True)


def make_healthy(plan: Plan, sequence: int, epoch: int) -> Made:
    """One that can be stored, with an order key of its own."""
    key = f"healthy-{sequence}"
    fields = [b"n", f"{plan.number}.{sequence}".encode(), b"key", key.encode(), b"text", b"hello"]
    return Made(_id(sequence, epoch), fields, key, "healthy", epoch)


def _id(sequence: int, epoch: int) -> str:
    return f"{FIRST_MS - epoch * EPOCH_MS + sequence}-0"


_EVENT = json.dumps({"specversion": "1.0", "type": "order", "data": {"id": 7}, "pubsubname": "p"}).encode()
_FOREIGN: dict[str, list[bytes]] = {
    "spring": [b"_class", b"com.example.Order", b"payload.id", b"17", b"payload.lines.[0].sku", b"x"],
    "dapr": [b"data", _EVENT],
    "celery": [b"body", b"W1tdLCB7fSwge31d", b"headers", b'{"task": "add", "id": "7"}', b"properties", b"{}"],
    "taskiq": [b"data", b'{"task_id":"7","task_name":"add","labels":{},"args":[1],"kwargs":{}}'],
    "java": [b"\xac\xed\x00\x05t\x00\x02id", b"\xac\xed\x00\x05t\x00\x0217"],
    "json": [b"payload", b'{"id": 17, "lines": [null, {"sku": "x"}]}'],
    "no id": [b"user", b"jo", b"text", b"hello"],
    "empty name": [b"", b"", b"", b"x"],
}


@dataclass
class Books:
    """All entries of one target.

    Attributes:
        made: by ID.
        epoch: how often the stream has been made anew.
        sequence: how many were made.
        held: by consumer, the IDs it has read and believes to have.
        acked: IDs that a consumer stored and is about to acknowledge, or has.
    """

    plan: Plan
    made: dict[str, Made] = field(default_factory=dict)
    epoch: int = 0
    sequence: int = 0
    held: dict[str, list[str]] = field(default_factory=dict)
    acked: set[str] = field(default_factory=set)

    def next(self) -> int:
        """The number of one more entry."""
        self.sequence += 1
        return self.sequence
