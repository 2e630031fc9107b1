"""Owns the reading of INFO, in which a server describes itself."""

from collections.abc import Mapping

from reclaim.entry import readable


def info(reply: bytes) -> dict[str, str]:
    """What INFO says, by name (https://redis.io/docs/latest/commands/info/)."""
    lines = (line.partition(":") for line in readable(reply).splitlines())
    return {name: value for name, colon, value in lines if colon}


def kind_and_version(facts: Mapping[str, str]) -> tuple[str, str]:
    """The server's name and version. Valkey's `redis_version` is only the Redis version that it is compatible with."""
    if "valkey_version" in facts:
        return "valkey", facts["valkey_version"]
    return "redis", facts.get("redis_version", "")
