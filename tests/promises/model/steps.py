"""What may go wrong, and at which command of a run or of a replay."""

from collections.abc import Callable

from dev.proxy import Action, Command, ErrorReply, Fault
from reclaim.handlers.hash import _STORE_NEWER
from reclaim.state.acknowledge import _ACKNOWLEDGE
from reclaim.state.claim import _CLAIM
from reclaim.state.dead_letters import _AMEND, _PARK, _PARK_AND_DELETE
from reclaim.state.lease import _RELEASE
from reclaim.state.refunds import _KEEP

OUTAGES: dict[str, Action] = {
    "cut before": Fault.CUT_BEFORE,
    "cut after": Fault.CUT_AFTER,
    "reply lost": Fault.DROP_REPLY,
    "hang": Fault.HANG,
    "OOM": ErrorReply("OOM command not allowed when used memory > 'maxmemory'."),
    "LOADING": ErrorReply("LOADING Redis is loading the dataset in memory"),
    "READONLY": ErrorReply("READONLY You can't write against a read only replica."),
}
ERROR = "error"  # one that no table knows: the entry's own fault, where it comes from the store
FAULTS = {**OUTAGES, ERROR: ErrorReply("ERR odd")}
SILENT = ["hang", "reply lost"]  # they show in that no answer comes, and so take time
FAULT_NAMES = SILENT + 3 * [name for name in FAULTS if name not in SILENT]


def _script(*texts: str) -> Callable[[Command], bool]:
    wanted = {text.encode() for text in texts}
    return lambda args: args[0] in wanted


def _any(_: Command) -> bool:
    return True


def _not_the_others(args: Command) -> bool:
    """A script that finds entries."""
    others = (_CLAIM, _KEEP, _PARK, _PARK_AND_DELETE, _ACKNOWLEDGE, _RELEASE, _STORE_NEWER, _AMEND)
    return args[0] not in {text.encode() for text in others}


def is_hash(args: Command) -> bool:
    """A command that stores an entry, and no record of ours."""
    return args[0].startswith(b"hash:")


def is_tries(args: Command) -> bool:
    """A command that writes down what was tried."""
    return args[0].endswith(b":tries")


STEPS: dict[str, list[tuple[str, Callable[[Command], bool]]]] = {
    "lease": [("SET", _any), ("GET", _any)],
    "count": [("XPENDING", lambda args: len(args) == 2)],
    "find": [("XPENDING", lambda args: len(args) > 2)],
    "scan": [("EVAL", _not_the_others)],
    "read an entry": [("XRANGE", lambda args: args[0] == b"s")],
    "claim": [("EVAL", _script(_CLAIM))],
    "store": [("HSET", is_hash), ("EVAL", _script(_STORE_NEWER)), ("EVALSHA", _any)],
    "park": [("EVAL", _script(_PARK, _PARK_AND_DELETE))],
    "write down": [("HSET", is_tries), ("HDEL", is_tries)],
    "read what was tried": [("HSCAN", _any)],
    "acknowledge": [("XACK", _any), ("EVAL", _script(_ACKNOWLEDGE))],
    "refund": [("EVAL", _script(_KEEP))],
    "release": [("EVAL", _script(_RELEASE))],
}
MEDDLING_STEPS = {name: STEPS[name] for name in ("claim", "store", "acknowledge", "refund", "park")}
REPLAY_STEPS = {
    "read": [("XRANGE", _any)],
    "store": STEPS["store"],
    "discard": [("XDEL", _any)],
    "amend": [("EVAL", _script(_AMEND))],
    "release": STEPS["release"],
}
