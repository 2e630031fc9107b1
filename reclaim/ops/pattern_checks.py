"""Owns the doctor's look at the patterns of RECLAIM_TARGETS: whether they find anything."""

from collections.abc import Iterator

from reclaim.ops.checks import Check, ok, warn
from reclaim.run.discovery import Discovery
from reclaim.settings import Settings
from reclaim.state.connection import Server

ABOUT = "patterns"


async def examine_patterns(server: Server, settings: Settings) -> list[Check]:
    """A finding for each pattern; none where there is no pattern.

    Raises:
        ServerError, redis.exceptions.RedisError: the server does not answer.
    """
    if not settings.patterns:
        return []
    found = await Discovery(settings, server).found()
    if found is None:
        return [ok(ABOUT, "not searched for yet: the first run does that, or goes on with it")]
    return list(_findings(found))


def _findings(found: dict[str, int]) -> Iterator[Check]:
    for name, count in found.items():
        if count:
            yield ok(ABOUT, f"{name} has found {count:,}")
        else:
            yield warn(ABOUT, f"{name} matches nothing", "correct the pattern in RECLAIM_TARGETS, or remove it")
