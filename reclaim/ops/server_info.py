"""Owns how INFO is read: what a server says of itself."""

from collections.abc import Mapping

from reclaim.entry import readable


def info(reply: bytes) -> dict[str, str]:
    """What INFO says, by name (https://redis.io/docs/latest/commands/info/)."""
    lines = (line.partition(":") for line in readable(reply).splitlines())
    return {name: value for name, colon, value in lines if colon}


def kind_and_version(facts: Mapping[str, str]) -> tuple[str, str]:
    """The server's name and version; Valkey gives as redis_version the one that it is compatible with."""
    if "valkey_version" in facts:
        return "valkey", facts["valkey_version"]
    return "redis", facts.get("redis_version", "")
