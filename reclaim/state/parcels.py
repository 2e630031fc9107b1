"""Owns how a batch is put up for the nodes of a cluster: in pieces that a node runs or refuses as a whole."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from itertools import islice

from redis import exceptions as redis_errors

from reclaim.state.ask import Command, Reply
from reclaim.state.packing import pack
from reclaim.state.topology import Place

_ASKING = pack(("ASKING",))
_NOT_RUN = (redis_errors.AskError, redis_errors.TryAgainError, redis_errors.NoScriptError)  # MOVED is an AskError


@dataclass(frozen=True, slots=True)
class Part:
    """What goes to one node in one exchange: which parcels, and which of them behind ASKING."""

    parcels: list[int] = field(default_factory=list)
    asking: set[int] = field(default_factory=set)


Parts = dict[Place | None, Part]  # None: what is in a slot that no node serves


@dataclass(frozen=True, slots=True)
class Parcels:
    """What is sent, in pieces that a node runs or refuses as a whole: a command, or a MULTI with all that is in it.

    Attributes:
        slots: the slot of each.
        requests: the bytes of each.
        size: how many commands each has.
        commands: what the requests are made of, where each is one command.
        stores: whether replicas have to have them (STORE_REPLICAS).
    """

    slots: Sequence[int]
    requests: list[bytes]
    size: int = 1
    commands: Sequence[Command] = ()
    stores: bool = False

    def as_eval(self, at: int) -> bytes | None:
        """An EVALSHA as the EVAL of the same script; None where the script's text is not in the batch."""
        if not self.commands:
            return None
        command = self.commands[at]
        texts = (str(one[1]) for one in self.commands if one[0] == "EVAL")
        found = (text for text in texts if sha1(text.encode(), usedforsecurity=False).hexdigest() == command[1])
        text = next(found, None)
        return None if command[0] != "EVALSHA" or text is None else pack(("EVAL", text, *command[2:]))


def request_of(parcels: Parcels, part: Part) -> tuple[bytes, int]:
    """The bytes of a part, and how many commands they are."""
    requests = parcels.requests
    words: Iterable[bytes] = (requests[at] for at in part.parcels)
    if part.asking:
        words = (_ASKING + requests[at] if at in part.asking else requests[at] for at in part.parcels)
    return b"".join(words), len(part.parcels) * parcels.size + len(part.asking)


def by_parcel(parcels: Parcels, part: Part, replies: Sequence[Reply]) -> Iterator[Sequence[Reply]]:
    """The replies to each parcel of a part, without those to ASKING."""
    if parcels.size == 1 and not part.asking:
        yield from zip(replies)
        return
    left = iter(replies)
    for at in part.parcels:
        if at in part.asking:
            next(left)
        yield tuple(islice(left, parcels.size))


def why_not_run(replies: Sequence[Reply]) -> Exception | None:
    """Why a parcel was not run, if a node said so; a MULTI is not run if one of its commands was refused."""
    if not isinstance(replies[-1], Exception):
        return None
    return next((reply for reply in replies if isinstance(reply, _NOT_RUN)), None)
