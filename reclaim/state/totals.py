"""Owns the totals: what became of entries in all runs of a target together, a number for each thing, in one hash.

Runs and requests for metrics are served by different processes. So each run adds its counts where all of them look. It
does so with what it asks anyway when it ends. A number that a newer release may add has a name of its own.
"""

from collections.abc import Mapping

from reclaim.entry import by_name, readable
from reclaim.settings import Target
from reclaim.state.ask import Ask, Reply, plain


def add(target: Target, counts: Mapping[str, int]) -> list[Ask[Reply]]:
    """What adds these counts; those of 0 need no command."""
    return [plain("HINCRBY", target.keys.totals, name, count) for name, count in counts.items() if count]


def read(target: Target) -> Ask[dict[str, int]]:
    """The totals by their names; what is no number is passed over."""

    def numbers(reply: Reply) -> dict[str, int]:
        found = {readable(name): value for name, value in by_name(reply).items()}
        return {name: int(value) for name, value in found.items() if value.isdigit()}

    return Ask.one(("HGETALL", target.keys.totals), numbers)
