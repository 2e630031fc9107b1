"""A handler that keeps what it gets, in this process: the function of the experiment with other people's streams."""

from collections.abc import Sequence

from reclaim import Entry

kept: dict[bytes, Sequence[bytes]] = {}


async def keep(entry: Entry) -> None:
    """Keep the entry's fields."""
    kept[entry.id] = tuple(entry.fields)
