"""Owns the handler that finishes entries by moving them: back to their own group, or forward to another stream."""

from collections.abc import Callable, Sequence

from reclaim.entry import Entry
from reclaim.errors import MissingField, TooManyRequeues
from reclaim.handlers.outcomes import MOVED, STORED, Failed, Handled, Handler, Keyed, Moved, Preview
from reclaim.keys import Template
from reclaim.state.moves import Answer, Move, Moves

Fields = Callable[[Entry], Sequence[bytes]]  # the names and values of the entry that is added

_OUTCOMES: dict[Answer, Handled] = {
    Answer.MOVED: MOVED,
    Answer.MOVED_AND_NEEDED: Moved(not_deleted=True),
    Answer.GONE: Moved(just_now=False),
    Answer.GONE_AND_NEEDED: Moved(just_now=False, not_deleted=True),
    Answer.ADDED: STORED,
}


class MovingHandler(Handler):
    """Adds each entry to the end of a stream, and acknowledges it at one stroke."""

    at_once = True
    moves = True

    def __init__(self, moves: Moves, of_letters: Moves, key: Template, fields: Fields, letter_fields: Fields) -> None:
        """Make it.

        Args:
            moves: moves what is pending.
            of_letters: moves dead letters.
            key: the template for the order key.
            fields: what is added for a pending entry.
            letter_fields: what is added for a dead letter.
        """
        self._fields = fields
        self._moves = moves
        self._of_letters = of_letters
        self._key = key
        self._letter_fields = letter_fields
        self._id: Callable[[Entry], bytes] = _own_id

    async def preview(self, entry: Entry, key: bytes) -> Preview:  # noqa: ARG002  # it is added whatever its order key
        """What would be added.

        Raises:
            TooManyRequeues: it may not be given back again.
        """
        fields = self._fields(entry)
        refused = await self._moves.refused()
        outcome = MOVED if refused is None else Failed(refused)
        return Preview("added to the end of a stream", [("stream", self._moves.to)], fields, outcome=outcome)

    def order_key(self, entry: Entry) -> bytes:
        """The key that the template makes. An entry without the template's fields is not ordered: its ID is its key."""
        try:
            return self._key.render(entry)
        except MissingField:
            return entry.id

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        """Move the entries, but for those that may not be requeued again: they hold back none, as order ends there."""
        moves: list[Move] = []
        refused: dict[int, Handled] = {}
        for at, (key, entry) in enumerate(entries):
            try:
                moves.append(Move(self._id(entry), entry.deliveries, key, self._fields(entry)))
            except TooManyRequeues as exc:
                refused[at] = Failed(exc)
        answers = await self._moves.move(moves)
        if answers.count(Answer.MOVED) == len(entries):  # nearly always
            return [MOVED] * len(answers)
        outcomes = iter(map(_outcome, answers))
        return [refused[at] if at in refused else next(outcomes) for at in range(len(entries))]

    def for_letters(self, letter_id: Callable[[Entry], bytes]) -> "MovingHandler":
        """The handler that moves dead letters."""
        handler = MovingHandler(self._of_letters, self._of_letters, self._key, self._letter_fields, self._letter_fields)
        handler._id = letter_id
        return handler


def _own_id(entry: Entry) -> bytes:
    return entry.id


def _outcome(answer: Answer | Exception) -> Handled:
    return Failed(answer) if isinstance(answer, Exception) else _OUTCOMES[answer]
