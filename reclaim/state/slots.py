"""Owns which keys a command has, and in which slot a key is."""

from binascii import crc_hqx
from collections.abc import Sequence

from reclaim.state.ask import Command

SLOTS = 16_384


def slot_of(key: bytes) -> int:
    """The slot of a key (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags)."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


# Where the key stands of each command that we send. Some have more keys behind it, which share its slot.
_FIRST = (
    "DEL EXISTS EXPIRE GET HDEL HGET HGETALL HINCRBY HLEN HMGET HSCAN HSET PEXPIRE PTTL SET TYPE UNLINK XACK XADD "
    "XCLAIM XDEL XLEN XPENDING XRANGE XREVRANGE ZADD ZCARD ZCOUNT ZREMRANGEBYSCORE"
)
_KEY_AT: dict[bytes | str | int, int] = {**dict.fromkeys(_FIRST.split(), 1), "XGROUP": 2, "XINFO": 2}
_MANY_KEYS = frozenset({"DEL", "EXISTS", "UNLINK"})
_WITH_SCRIPT = frozenset({"EVAL", "EVALSHA"})
_KEYLESS = frozenset({"ACL", "CLIENT", "CLUSTER", "DISCARD", "EXEC", "INFO", "MULTI", "PING", "TIME", "WAIT"})


def key_of(command: Command) -> bytes | None:
    """The first key of a command; None for one without.

    Raises:
        LookupError: the command is not in the table above.
    """
    name = command[0]
    at = _KEY_AT.get(name)
    if at is not None:
        return _bytes(command[at])
    if name in _WITH_SCRIPT:
        return _bytes(command[3]) if command[2] else None
    if name in _KEYLESS:
        return None
    raise LookupError(f"where the key of {name!r} stands is not known")


def keys_of(command: Command) -> Sequence[bytes]:
    """All keys of a command; the rest is as with `key_of`."""
    first = key_of(command)
    if first is None:
        return ()
    if command[0] in _WITH_SCRIPT:
        return [_bytes(key) for key in command[3 : 3 + int(command[2])]]
    return [_bytes(key) for key in command[1:]] if command[0] in _MANY_KEYS else [first]


def _bytes(word: bytes | str | int) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()
