"""What tests of faults share: handlers made from a function, and a run's commands by their purpose."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dev.proxy import Command, Proxy
from dev.server import Server, available
from reclaim.entry import Entry
from reclaim.handlers.function import FunctionHandler
from reclaim.handlers.hash import _STORE_NEWER
from reclaim.handlers.loading import examined
from reclaim.keys import Template
from reclaim.state.claim import _CLAIM
from reclaim.state.dead_letters import _PARK
from reclaim.state.lease import _RELEASE, _RENEW, _TAKE
from reclaim.state.refunds import _KEEP
from tests.support import Held, tweet

KINDS = available()

LOADING = "LOADING Redis is loading the dataset in memory"
OOM = "OOM command not allowed when used memory > 'maxmemory'."


def script(text: str) -> Callable[[Command], bool]:
    """Whether an EVAL runs this script."""
    return lambda args: args[0] == text.encode()


STEPS: dict[str, tuple[str, Callable[[Command], bool]]] = {
    "take the lease": ("EVAL", script(_TAKE)),
    "count": ("XPENDING", lambda args: len(args) == 2),
    "find": ("XPENDING", lambda args: b"IDLE" in args),
    "find on 6.0": ("XPENDING", lambda args: len(args) == 5 and b"IDLE" not in args),
    "read": ("XRANGE", lambda _: True),
    "claim": ("EVAL", script(_CLAIM)),
    "store": ("HSET", lambda _: True),
    "store a newer one": ("EVAL", script(_STORE_NEWER)),
    "park": ("EVAL", script(_PARK)),
    "acknowledge": ("XACK", lambda _: True),
    "keep or refund": ("EVAL", script(_KEEP)),
    "renew the lease": ("EVAL", script(_RENEW)),
    "release the lease": ("EVAL", script(_RELEASE)),
    "sweep": ("XINFO", lambda args: args[0] == b"CONSUMERS"),
}


def step(name: str, kind: str = "") -> tuple[str, Callable[[Command], bool]]:
    """The name of a step's command, and what its arguments are known by."""
    if name == "find" and kind == "redis-6.0":
        name = "find on 6.0"
    return STEPS[name]


def before_claim(proxy: Proxy, action: Callable[[], object]) -> None:
    """Let something happen once, when entries have been found and are about to be claimed."""
    name, args = STEPS["claim"]
    proxy.when(name, action, args=args)


def by_function(function: Callable[[Entry], Any], order_key: str = "{user}") -> FunctionHandler:
    """The handler that the app would make of this function with HANDLER and ORDER_KEY."""
    return FunctionHandler(examined(function), Template(order_key))


class Recorder:
    """A handler function that records its entries in order, and raises a chosen error for chosen entries."""

    def __init__(self, **trouble: Exception) -> None:
        """Args: trouble: what to raise for an entry, by its field `id` (``_7=ValueError()``)."""
        self.seen: list[int] = []
        self.trouble = {int(name.strip("_")): exc for name, exc in trouble.items()}

    async def __call__(self, entry: Entry) -> None:
        number = int(entry.get("id") or b"-1")
        self.seen.append(number)
        if number in self.trouble:
            raise self.trouble[number]


@contextmanager
def a_server(kind: str, **config: str) -> Iterator[Server]:
    """A server of the test's own."""
    with Server(kind, **config) as server:
        yield server


def of_user(number: int, user: str, **how: Any) -> Held:
    """A pending tweet of this user. Tests with a handler of their own take the user as the order key."""
    return Held(tweet(number, user=user.encode()), **how)


def pending(*numbers: int, consumer: str = "worker", deliveries: int = 1, age: str = "idle") -> dict[bytes, tuple]:
    """Pending entries as a State shows them, all with the same consumer, delivery count and age."""
    return {b"%d-0" % number: (consumer.encode(), deliveries, age) for number in numbers}


def dead_letter(number: int, fields: list[bytes], reason: str, error: str, **more: object) -> dict[bytes, bytes]:
    """A dead letter as a State shows it."""
    body = dict(zip(fields[::2], fields[1::2], strict=True))
    return {
        b"id": b"%d-0" % number,
        b"reason": reason.encode(),
        b"error": error.encode(),
        b"consumer": str(more.get("consumer", "worker")).encode(),
        b"deliveries": str(more.get("deliveries", 2)).encode(),
        **{b"field:" + name: value for name, value in body.items()},
    }


def lost_line(number: int, consumer: str = "worker", deliveries: int = 1) -> dict[bytes, bytes]:
    """A line of the ledger of lost entries as a State shows it."""
    return {b"id": b"%d-0" % number, b"consumer": consumer.encode(), b"deliveries": b"%d" % deliveries}
