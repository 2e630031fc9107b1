"""Owns which dead letters a person means: by reason, error, consumer, time, a text in the body, or the entry's ID."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from reclaim.bounded import REASON_CHARS, shortened
from reclaim.entry import id_number
from reclaim.names import written
from reclaim.reasons import masked
from reclaim.state.dead_letters import DeadLetter, DeadLetters

LAST_OF_MS = 2**64 - 1


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """What a dead letter must be like; it must fit all that is said here.

    Attributes:
        reason: its reason, as `Reason` spells it.
        error: a part of its error, in capitals or not.
        error_group: its error as `error_group` makes it, which is what `dead-letters/groups` names.
        consumer: who had the entry.
        since_ms: it came to the list at this moment or later, Unix ms. The server's clock, in its ID, says so.
        until_ms: it came to the list at this moment or before.
        text: a part of one of the body's values; ASCII letters in capitals or not.
        entry_ids: its entry has one of these IDs.
    """

    reason: str | None = None
    error: str | None = None
    error_group: str | None = None
    consumer: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    text: str | None = None
    entry_ids: Collection[bytes] | None = None

    @property
    def first(self) -> bytes:
        """The smallest ID that fits."""
        return b"0-0" if self.since_ms is None else b"%d-0" % max(0, self.since_ms)

    @property
    def last(self) -> bytes:
        """The greatest ID that fits."""
        until_ms = LAST_OF_MS if self.until_ms is None else max(0, self.until_ms)
        return b"%d-%d" % (until_ms, LAST_OF_MS)

    def fits(self, letter: DeadLetter) -> bool:
        """Whether the dead letter is such a one."""
        return (
            (self.since_ms is None or id_number(letter.id) >= id_number(self.first))
            and (self.until_ms is None or id_number(letter.id) <= id_number(self.last))
            and self.reason in {None, letter.reason}
            and (self.entry_ids is None or letter.entry.id in self.entry_ids)
            and self.consumer in {None, written(letter.entry.consumer)}
            and (self.error is None or self.error.casefold() in letter.error.casefold())
            and (self.error_group is None or self.error_group == error_group(letter.error))
            and (self.text is None or _has(letter, self.text.encode(errors="surrogatepass").lower()))
        )


EVERY_LETTER = LetterFilter()


async def chosen_ids(
    letters: DeadLetters, wanted: LetterFilter, upto: bytes | None = None
) -> AsyncIterator[Sequence[tuple[bytes, bytes]]]:
    """The IDs of all dead letters that fit, or of those up to the ID given, each with its entry's ID, a few at once."""
    if wanted == EVERY_LETTER:
        async for pairs in letters.ids(upto):
            yield pairs
        return
    upto = upto or await letters.last()
    if upto is None:
        return
    last = min(upto, wanted.last, key=id_number)
    async for some in letters.walk(wanted.first, last):
        yield [(letter.id, letter.entry.id) for letter in some if wanted.fits(letter)]


def _has(letter: DeadLetter, text: bytes) -> bool:
    return any(text in value.lower() for value in letter.entry.fields[1::2])


@lru_cache(maxsize=1024)
def error_group(error: str) -> str:
    """The error without what differs from entry to entry: those of one group have failed in the same way."""
    return masked(shortened(error, REASON_CHARS))
