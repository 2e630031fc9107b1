"""Owns which entries wait: those that are not due wait for a later run, those that were tried before, for the others.

A run goes through the pending list once with what was never tried. What was tried before, and is due, comes in a second
round: thousands of entries that fail again, and then open the circuit, do not keep the others from being stored (G4).
The order keys of entries that wait, wait with them (G3).
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from reclaim.run.order import HeldKeys
from reclaim.run.rules import Rules
from reclaim.state.pending import Row


class Waiting:
    """The entries of one run that wait.

    Attributes:
        has_deferred: whether there is something for the second round.
    """

    def __init__(self, rules: Rules, held: HeldKeys, not_due: AbstractSet[bytes]) -> None:
        """Make it.

        Args:
            rules: say when an entry is due.
            held: the order keys that wait.
            not_due: the entries of ours that were not due when the run began; their keys are held already.
        """
        self._rules = rules
        self._held = held
        self._not_due = not_due
        self._is_second_round = False
        self.has_deferred = False

    def begin_second_round(self) -> None:
        """Let no entry wait any more only because it was tried before."""
        self._is_second_round = True
        self.has_deferred = False
        self._held.release_deferred()

    def due(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The entries that are due; each other one holds back the later ones of its order key."""
        if not self._not_due and not self._rules.tries:
            return rows
        return [row for row in rows if self._is_due(row)]

    def of_this_round(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The entries that are due and not deferred; each other one holds back the later ones of its order key."""
        rows = self.due(rows)
        if self._is_second_round or not self._rules.tries:
            return rows
        return [row for row in rows if not self._is_deferred(row)]

    def _is_due(self, row: Row) -> bool:
        if row.id in self._not_due:
            return False
        if self._rules.is_due(row):
            return True
        self._held.hold_digest(self._rules.tries[row.id].digest, row.id)  # only a record makes an idle entry wait
        return False

    def _is_deferred(self, row: Row) -> bool:
        record = self._rules.tries.get(row.id)
        if record is None or not record.last_ms or not record.digest or self._rules.is_suspect(row):
            return False
        self._held.defer(record.digest, row.id)
        self.has_deferred = True
        return True
