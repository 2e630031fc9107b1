"""Owns the mark that says that a message for a target waits in the queue, so that no second one is enqueued."""

from collections.abc import Sequence

from reclaim.settings import Target
from reclaim.state.ask import Ask, Reply, plain, raised
from reclaim.state.scripts import script

TTL_MS = 60_000  # a message may be lost; after this long another one is enqueued

_RELEASE = script("lease_release")


class WaitingMark:
    """The mark of one target: a key with the message's own token and a TTL."""

    def __init__(self, target: Target) -> None:
        self._key = target.keys.waiting

    def is_set(self) -> Ask[bool]:
        """Whether a message is waiting."""
        return Ask.one(("GET", self._key), lambda token: token is not None)

    def set(self, token: str) -> Ask[bool]:
        """Set the mark if there is none. The answer: whether it is this message's.

        It may be asked again. The GET decides, not the SET: a SET whose reply was lost and that is sent again finds its
        own token.
        """

        def is_ours(replies: Sequence[Reply]) -> bool:
            _, found = raised(replies)
            return bool(found == token.encode())

        return Ask((("SET", self._key, token, "NX", "PX", TTL_MS), ("GET", self._key)), is_ours)

    def remove(self, token: str) -> Ask[Reply]:
        """Remove the mark if it is this message's: a later message that waits keeps its own. No token: nothing."""
        return plain("EVAL", _RELEASE, 1, self._key, token) if token else Ask((), lambda _: 0)
