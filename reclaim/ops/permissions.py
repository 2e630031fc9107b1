"""Owns the list of the commands that we send, and asks the server which of them it would refuse to a user."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter

from reclaim.settings import Target
from reclaim.state.ask import Command
from reclaim.state.connection import Server
from reclaim.verdicts import error_code

# The commands that we use on each key, directly or in a script: Redis checks permissions for a script's commands too.
# Nothing is run (`Server.rehearse`), and the arguments would do no harm.
_STREAM: Sequence[Command] = (
    ("XPENDING", "g"),
    ("XCLAIM", "g", "c", 0, "0-0"),
    ("XRANGE", "-", "-"),
    ("XACK", "g", "0-0"),
    ("XINFO STREAM",),
    ("EVAL",),
)
_SWEPT: Sequence[Command] = (*_STREAM, ("XINFO CONSUMERS", "g"), ("XGROUP DELCONSUMER", "g", "c"))
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
_RECORDS: Sequence[Command] = (("XADD", "*", "f", "v"), ("XLEN",), ("XRANGE", "-", "-"), ("XREVRANGE", "-", "-"))
_DEAD: Sequence[Command] = (*_RECORDS, ("XDEL", "0-0"), ("TYPE",))
_ALERTS: Sequence[Command] = (("SET", "t", "NX"), ("GET",), ("DEL",))
_HASH: Sequence[Command] = (("HSET", "f", "v"),)
_VERSIONED: Sequence[Command] = (*_HASH, ("HGET", "f"), ("EVAL",), ("EVALSHA",))

# We send these too, but do not rehearse them, because a rehearsal itself uses them.
TRANSACTIONS = ("MULTI", "EXEC", "DISCARD")
# If the server refuses these, nothing fails: the doctor and the status tell less, and no run names consumers that are
# alive.
QUESTIONS = ("INFO", "ACL WHOAMI", "XINFO GROUPS")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that the server would not run for this user: its name, the key, a pattern for keys like it, and why."""

    command: str
    key: bytes
    pattern: str
    why: str

    @property
    def of_command(self) -> bool:
        """Whether the user lacks the permission to run the command, whatever the key."""
        return self.why.startswith("NOPERM") and " command" in self.why

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
    needed = [(command, key, pattern) for key, pattern, many in _uses(target, hash_key) for command in many]
    replies = await server.rehearse([_whole(command, key) for command, key, _ in needed])
    return [
        Refusal(str(command[0]), key, pattern, _why(reply))
        for (command, key, pattern), reply in zip(needed, replies, strict=True)
        if isinstance(reply, Exception)
    ]


def rule(denied: Sequence[Refusal]) -> str:
    """What to add to the user's ACL rule (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/).

    If a server denies the command, it does not check the key. So the rule always names the key too.
    """
    commands = (f"+{one.command.partition(' ')[0].lower()}" for one in denied if one.of_command)
    return " ".join(dict.fromkeys((*commands, *(f"~{one.pattern}" for one in denied))))


def _uses(target: Target, hash_key: bytes) -> list[tuple[bytes, str, Sequence[Command]]]:
    keys = target.keys
    ours = keys.lease.decode().removesuffix("lease") + "*"
    uses = [
        (keys.stream, target.stream, _SWEPT if target.consumer_ttl_hours else _STREAM),
        (keys.lease, ours, _LEASE),
        (keys.circuit, ours, _CIRCUIT),
        (keys.failures, ours, _FAILURES),
        (keys.dead, ours, _DEAD),
        (keys.lost, ours, _RECORDS),
        (keys.runs, ours, _RECORDS),
        (keys.alerts, ours, _ALERTS),
    ]
    if target.delete_acknowledged:
        uses.append((keys.stream, uses[0][1], _DELETE))
    if target.handler is None:
        pattern = "".join(text + ("*" if name else "") for text, name, _, _ in Formatter().parse(target.hash_key))
        uses.append((hash_key, pattern, _VERSIONED if target.hash_version_field else _HASH))
    return uses


def _whole(command: Command, key: bytes) -> Command:
    """The command with its key in its place."""
    name, *arguments = command
    if name == "TIME":  # the only command that has no key
        return (name,)
    if name in {"EVAL", "EVALSHA"}:
        return (name, "return 1", 1, key)
    return (*str(name).split(), key, *arguments)


def _why(error: Exception) -> str:
    """The error's text with its code in front, which redis-py removes."""
    code, text = error_code(error), str(error)
    return text if text.startswith(code) else f"{code} {text}"
