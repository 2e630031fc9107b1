"""Owns the handler's interface, and the outcomes: what can become of an entry that a handler gets."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from reclaim.entry import Entry
from reclaim.errors import HandlerTimeout
from reclaim.handlers.resource import Resource

Keyed = tuple[bytes, Entry]  # an entry and its order key


@dataclass(frozen=True, slots=True)
class Stored:
    """The entry is stored.

    Attributes:
        duplicate: a name that the entry has more than once, so that only its last value is stored; None: all is stored.
    """

    duplicate: bytes | None = None


@dataclass(frozen=True, slots=True)
class Superseded:
    """The entry was not stored: its hash already holds what a newer entry stored."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The entry is in another place of a stream and acknowledged, both at one stroke: nothing is left to do.

    Attributes:
        just_now: False: it was pending no more. Our own move had happened and its answer was lost, or somebody else
            has acknowledged the entry.
        not_deleted: it stays in its stream all the same, because another group needs it (DELETE_ACKNOWLEDGED).
    """

    just_now: bool = True
    not_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The entry is not stored, because of this error.

    Attributes:
        is_shared: whether other entries were given to the handler with it, so that the error may be due to one of them.
    """

    error: Exception
    is_shared: bool = False


STORED: Final = Stored()
SUPERSEDED: Final = Superseded()
MOVED: Final = Moved()

# The outcome of one entry that a handler got. Test its class, never its truth: a user's exception may be false.
Handled = Stored | Superseded | Moved | Failed


@dataclass(frozen=True, slots=True)
class Preview:
    """What a handler would do with an entry.

    Attributes:
        does: in words, what follows "it would be".
        about: more of it: names and what they name.
        fields: the names and values that would be written.
        body: the bytes that would be sent; None where nothing is sent.
        outcome: what would come of it; None: only the handler itself can say, by doing it.
    """

    does: str
    about: Sequence[tuple[str, bytes | str]] = ()
    fields: Sequence[bytes] = ()
    body: bytes | None = None
    outcome: Handled | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What every entry must have to be stored at all: a setting's name, and the template that it holds."""

    setting: str
    text: str


class Handler(Protocol):
    """Stores entries, and says of each what came of it. Name it as the base class: then what is not said is as here.

    Attributes:
        needs: the template that an entry must fit; None where any entry will do.
        at_once: whether one call of `store` takes many entries. If not, each call has one entry.
        resource: what must be open while it works; None where nothing must. A run enters it before it claims anything.
        moves: whether it may acknowledge what it stores, at one stroke (`Moved`).
        longest_sec: how long one entry takes at most, where the handler is ours and sees to that: it also ends soon
            when it is cancelled, and does not block the event loop. Nobody knows that of a function of the user's.
    """

    needs: Needs | None = None
    at_once: bool = False
    resource: Resource[Any] | None = None
    moves: bool = False
    longest_sec: float = math.inf

    @property
    def most(self) -> int:
        """How many entries, each of another order key, one call of `store` may get where `at_once` is false.

        It may be asked only when the resource has been entered.
        """
        return 1

    def order_key(self, entry: Entry) -> bytes:
        """Entries with the same order key are stored in ID order.

        Raises:
            MissingField: the entry is bad.
        """

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """Store the entries, and say for each what came of it, in the same order."""

    async def preview(self, entry: Entry, key: bytes) -> Preview:
        """What would be done with an entry of this order key. Nothing is written, and nothing of the user's is called.

        Raises:
            Exception: what the entry would fail with.
        """

    def hung(self, seconds: float) -> Exception:
        """What an entry failed with if it was not stored after so many seconds, and was given up."""
        return HandlerTimeout(f"the handler had not finished after {seconds:g} s")

    def at_work(self) -> Sequence[tuple[bytes, bytes]]:
        """The order keys and IDs of entries whose handling was given up and still goes on: they wait for its end."""
        return ()

    def for_letters(self, letter_id: Callable[[Entry], bytes]) -> "Handler":  # noqa: ARG002  # for those that move them
        """The handler for a replay, whose entries come from the dead letters; itself, where that makes no difference.

        Args:
            letter_id: tells the ID of the dead letter that an entry was read from.
        """
        return self
