"""Owns where entries may be forwarded to: what is refused for a target, and what is odd about all targets together."""

from collections.abc import Mapping
from dataclasses import fields

from reclaim.keys import Keys
from reclaim.names import name_bytes


def is_own(to: str, stream: str, group: str) -> bool:
    """Whether a stream to forward to is the target's own, or a key that we keep for the target."""
    keys = Keys.of(name_bytes(stream), name_bytes(group))
    return name_bytes(to) in {getattr(keys, one.name) for one in fields(Keys)}


def rings(forwarding: Mapping[str, str]) -> list[str]:
    """The rings in which entries are forwarded, each written as ``a → b → a``.

    Args:
        forwarding: by stream, where it is forwarded to.
    """
    ways = (_way_back(first, forwarding) for first in sorted(forwarding))
    return [" → ".join(way) for way in ways if way and way[0] == min(way)]  # each ring once


def _way_back(first: str, forwarding: Mapping[str, str]) -> list[str]:
    """The streams from this one on until it comes again; none if it does not."""
    way = [first]
    while (at := forwarding.get(way[-1])) is not None:
        if at == first:
            return [*way, first]
        if at in way:
            return []
        way.append(at)
    return []
