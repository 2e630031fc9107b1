"""Owns the handler's interface, and the outcomes: what can become of an entry that a handler gets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from reclaim.entry import Entry
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
class Failed:
    """The entry is not stored, because of this error."""

    error: Exception


STORED: Final = Stored()
SUPERSEDED: Final = Superseded()

# The outcome of one entry that a handler got. Test its class, never its truth: a user's exception may be false.
Handled = Stored | Superseded | Failed


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
    """

    needs: Needs | None = None
    at_once: bool = False
    resource: Resource[Any] | None = None

    def order_key(self, entry: Entry) -> bytes:
        """Entries with the same order key are stored in ID order.

        Raises:
            MissingField: the entry is bad.
        """

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """Store the entries, and say for each what came of it, in the same order."""
