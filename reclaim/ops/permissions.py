"""Owns the list of the commands that we send, and asks the server which of them it would refuse to a user."""

from collections.abc import Sequence
from dataclasses import dataclass

from reclaim.keys import glob_of
from reclaim.names import written
from reclaim.settings import Target
from reclaim.state.ask import Command
from reclaim.state.connection import Server
from reclaim.state.unsuitable import is_unknown_command
from reclaim.verdicts import error_code

# The commands that we use on each key, directly or in a script: Redis checks permissions for a script's commands too.
# Nothing is run (`Server.rehearse`), and the arguments would do no harm.
_STREAM: Sequence[Command] = (
    ("XPENDING", "g"),
    ("XCLAIM", "g", "c", 0, "0-0"),
    ("XRANGE", "-", "-"),
    ("XACK", "g", "0-0"),
    ("EVAL",),
)
_SWEPT: Sequence[Command] = (*_STREAM, ("XINFO GROUPS",), ("XINFO CONSUMERS", "g"), ("XGROUP DELCONSUMER", "g", "c"))
_DELETE: Sequence[Command] = (("XINFO GROUPS",), ("XDEL", "0-0"))
_LEASE: Sequence[Command] = (("SET", "t", "NX"), ("GET",), ("PTTL",), ("PEXPIRE", 1), ("DEL",))
_CIRCUIT: Sequence[Command] = (
    ("TIME",),
    ("HGET", "f"),
    ("HMGET", "f"),
    ("HGETALL",),
    ("HSET", "f", "v"),
    ("HDEL", "f"),
    ("HINCRBY", "f", 1),
    ("DEL",),
)
_FAILURES: Sequence[Command] = (
    ("ZADD", 0, "m"),
    ("ZCARD",),
    ("ZCOUNT", 0, 0),
    ("ZREMRANGEBYSCORE", 0, 0),
    ("PEXPIRE", 1),
    ("DEL",),
)
_SEEN: Sequence[Command] = (("HGETALL",), ("HSET", "f", "v"))
_TRIES: Sequence[Command] = (("HLEN",), ("HMGET", "f"), ("HSCAN", 0), ("HSET", "f", "v"), ("HDEL", "f"), ("UNLINK",))
_RECORDS: Sequence[Command] = (("XADD", "*", "f", "v"), ("XLEN",), ("XRANGE", "-", "-"), ("XREVRANGE", "-", "-"))
_LETTERS_AND_LOST: Sequence[Command] = (*_RECORDS, ("XDEL", "0-0"), ("TYPE",))
_MARKS: Sequence[Command] = (("SET", "t", "NX"), ("GET",), ("DEL",))
_HASH: Sequence[Command] = (("HSET", "f", "v"),)
# XREVRANGE is for an entry with more fields than a script can pass on; XDEL takes back what was added in vain.
_MOVED_TO: Sequence[Command] = (("XADD", "*", "f", "v"), ("XDEL", "0-0"), ("XREVRANGE", "-", "-"), ("EVAL",))
_EXPIRY: Sequence[Command] = (("EXPIRE", 1),)
_VERSIONED: Sequence[Command] = (*_HASH, ("HGET", "f"), ("EVAL",), ("EVALSHA",))

_WAIT: Sequence[Command] = (("WAIT", 0, 0),)  # for replicas, where STORE_REPLICAS asks for it

# We send these too, but do not rehearse them, because a rehearsal itself uses them.
TRANSACTIONS = ("MULTI", "EXEC", "DISCARD")
# With REDIS_CLUSTER these too; and WAIT wherever STORE_REPLICAS asks for replicas.
OF_CLUSTER = ("CLUSTER SLOTS", "ASKING", "WAIT")
# With a pattern in RECLAIM_TARGETS these, on the key reclaim:streams; and SCAN and XINFO GROUPS, of every stream.
OF_PATTERNS = ("SCAN", "HSCAN", "HMGET", "HSET", "HDEL", "HINCRBY", "XINFO GROUPS")
# A connection begins with this one if REDIS_DB is not 0. It also sends AUTH, which needs no permission, and CLIENT
# SETINFO, which the server may refuse.
CONNECTING = ("SELECT",)
# If the server refuses these, nothing fails: the doctor and the status tell less, and no run names consumers that are
# alive.
QUESTIONS = ("INFO", "ACL WHOAMI", "XINFO GROUPS", "XINFO STREAM")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that the server would not run for this user.

    Attributes:
        command: its name.
        key: the key that it was rehearsed with.
        pattern: a pattern for keys like it.
        error: what the server said.
    """

    command: str
    key: bytes
    pattern: str
    error: Exception

    @property
    def why(self) -> str:
        """The error with its code, which redis-py takes off."""
        code, text = error_code(self.error), str(self.error)
        return text if text.startswith(code) else f"{code} {text}"

    @property
    def of_command(self) -> bool:
        """Whether the user lacks the permission to run the command, whatever the key."""
        return self.why.startswith("NOPERM") and " command" in self.why

    @property
    def is_of_scripts(self) -> bool:
        """Whether it is that the server runs no scripts, for anybody."""
        return self.command in {"EVAL", "EVALSHA"} and is_unknown_command(self.error)

    @property
    def of_key(self) -> bool:
        """Whether the user lacks the permission to use the key."""
        return self.why.startswith("NOPERM") and not self.of_command


async def refusals(server: Server, target: Target, hash_key: bytes) -> list[Refusal]:
    """The commands that we need for a target and that the server would refuse. None of them is run.

    Args:
        server: the server to ask.
        target: the target that we need the commands for.
        hash_key: a key like those of the hashes that entries are stored in.

    Raises:
        redis.exceptions.ResponseError: MULTI is refused; and whatever `Server.batch` raises.
    """
    uses = _uses(target, hash_key)
    if server.waits:
        uses.append((target.keys.stream, uses[0][1], _WAIT))
    needed = [(command, key, pattern) for key, pattern, many in uses for command in many]
    replies = await server.rehearse([_whole(command, key) for command, key, _ in needed])
    return [
        Refusal(str(command[0]), key, pattern, reply)
        for (command, key, pattern), reply in zip(needed, replies, strict=True)
        if isinstance(reply, Exception)
    ]


def rule(denied: Sequence[Refusal]) -> str:
    """What to add to the user's ACL rule (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/).

    If a server denies the command, it does not check the key. So the rule always names the key too.
    """
    return _rule([one.command for one in denied if one.of_command], [one.pattern for one in denied])


def whole_rule(target: Target, hash_key: bytes) -> str:
    """All that a user's ACL rule needs, for one who may not use MULTI, so that nothing else can be asked."""
    uses = _uses(target, hash_key)
    commands = (str(command[0]) for _, _, many in uses for command in many)
    return _rule([*TRANSACTIONS, *commands], [pattern for _, pattern, _ in uses])


def _rule(commands: Sequence[str], patterns: Sequence[str]) -> str:
    return " ".join(dict.fromkeys([*map(allowing, commands), *(f"~{pattern}" for pattern in patterns)]))


def allowing(command: str) -> str:
    """The word of a rule that allows a command; of a subcommand it alone (``XGROUP DELCONSUMER``, and no DESTROY)."""
    return f"+{command.lower().replace(' ', '|')}"


def _uses(target: Target, hash_key: bytes) -> list[tuple[bytes, str, Sequence[Command]]]:
    """Each key that serving the target takes, a pattern for keys like it, and what it is used with."""
    keys = target.keys
    ours = written(glob_of(keys.lease.removesuffix(b"lease")) + b"*")
    uses = [
        (keys.stream, written(glob_of(keys.stream)), _SWEPT if target.consumer_ttl_hours else _STREAM),
        (keys.lease, ours, _LEASE),
        (keys.circuit, ours, _CIRCUIT),
        (keys.failures, ours, _FAILURES),
        (keys.seen, ours, _SEEN),
        (keys.tries, ours, _TRIES),
        (keys.dead, ours, _LETTERS_AND_LOST),
        (keys.lost, ours, _LETTERS_AND_LOST),
        (keys.runs, ours, _RECORDS),
        (keys.totals, ours, (("HINCRBY", "f", 1), ("HGETALL",))),
        (keys.audit, ours, (*_RECORDS, ("XDEL", "0-0"))),
        (keys.alerts, ours, _MARKS),
        (keys.waiting, ours, _MARKS),
        (keys.shards, ours, _MARKS),
    ]
    if target.delete_acknowledged:
        uses.append((keys.stream, uses[0][1], _DELETE))
    if target.handler in {"requeue", "forward"}:
        to = keys.stream if target.handler == "requeue" else target.forward_stream_bytes
        uses.append((to, written(glob_of(to)), _MOVED_TO))
    if target.handler == "hash":
        pattern = written(target.hash_template.pattern)
        stored = _VERSIONED if target.hash_version_field else _HASH
        uses.append((hash_key, pattern, (*stored, *(_EXPIRY if target.hash_ttl_sec else ()))))
    return uses


def _whole(command: Command, key: bytes) -> Command:
    """The command with its key in its place."""
    name, *arguments = command
    if name in {"TIME", "WAIT"}:  # they have no key
        return command
    if name in {"EVAL", "EVALSHA"}:
        return (name, "return 1", 1, key)
    return (*str(name).split(), key, *arguments)
