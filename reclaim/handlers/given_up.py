"""Owns what is known of calls that were given up and still run in their threads: which entries they have."""

from collections.abc import Sequence

from reclaim.entry import Entry
from reclaim.handlers.threads import Call

_OF_TARGET: dict[str, "GivenUp"] = {}


class GivenUp:
    """The calls for one target that were given up. They may still run when the handler that made them is gone."""

    def __init__(self) -> None:
        self._calls: list[tuple[Call, bytes, bytes]] = []

    @classmethod
    def of(cls, target: str) -> "GivenUp":
        """Those of a target."""
        return _OF_TARGET.setdefault(target, cls())

    def add(self, call: Call, key: bytes, entry: Entry) -> None:
        """Note a call that was given up, with its entry's order key."""
        self._calls.append((call, key, entry.id))

    def at_work(self) -> Sequence[tuple[bytes, bytes]]:
        """The order keys and IDs of the entries whose calls still run."""
        self._calls = [one for one in self._calls if one[0].is_running]
        return [(key, entry_id) for _, key, entry_id in self._calls]
