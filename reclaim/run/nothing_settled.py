"""Owns what one run knows for the circuit's second rule: whether it tried entries and settled none (G5).

An outage that no table of errors knows looks like entries that fail. But then nothing is settled at all, and all
entries meet one class of error. Two such runs in a row open the circuit, and the tries that they charged are refunded.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reclaim.run.decisions import Decision, Judged, failures
from reclaim.run.order import digest
from reclaim.run.rules import Rules
from reclaim.state.circuit import Streak
from reclaim.state.pending import Row
from reclaim.state.refunds import Reset
from reclaim.state.tries import Try
from reclaim.verdicts import Verdict

LEAST_ENTRIES = 5
LEAST_ORDER_KEYS = 3
MAX_CHARGES = 100_000  # that a run remembers, as many as there are records


@dataclass(frozen=True, slots=True)
class Charge:
    """A try that a run has charged.

    Attributes:
        row: the entry as it was before the claim; its delivery count is what the claim made of it.
        before: its record before this run; None if it had none.
        after: its record since.
    """

    row: Row
    before: Try | None
    after: Try


class NothingSettled:
    """What a run tried, what it charged, and whether it settled anything.

    Attributes:
        has_settled: whether an entry was stored, superseded, moved or parked.
        tried: how many entries met an error that counts for the circuit.
        charges: the tries that were charged, while nothing was settled.
    """

    def __init__(self) -> None:
        self.has_settled = False
        self.tried = 0
        self.charges: list[Charge] = []
        self._keys: set[bytes] = set()
        self._errors: set[str] = set()

    def note(self, judged: Judged, rules: Rules) -> None:
        """Note what became of a page's entries."""
        if judged.finished or any(one.verdict is Verdict.PARK for one in judged.decisions):
            self.has_settled = True
            self.charges.clear()
        for decision in failures(judged.decisions, rules):
            self.tried += 1
            if len(self._keys) < LEAST_ORDER_KEYS:
                self._keys.add(digest(decision.key))
            if len(self._errors) < 2:  # two are one too many
                self._errors.add(_class_of(decision))

    def note_charges(self, charges: Iterable[Charge]) -> None:
        """Note the tries that a page has charged."""
        if not self.has_settled:
            self.charges += charges
            del self.charges[MAX_CHARGES:]

    @property
    def error(self) -> str:
        """The one class of error that all entries met; empty if there was none, or more than one."""
        return next(iter(self._errors)) if len(self._errors) == 1 else ""

    def counts(self, streak: Streak) -> bool:
        """Whether this is a run that settled nothing, in the sense of the rule.

        After two such runs a smaller one of the same kind counts too: the probes of the circuit that they opened.
        """
        if self.has_settled or not self.error:
            return False
        is_large = self.tried >= LEAST_ENTRIES and len(self._keys) >= LEAST_ORDER_KEYS
        return is_large or (streak.runs > 1 and streak.error == self.error)

    def ends(self, streak: Streak) -> bool:
        """Whether this run ends the row of those before it: it settled something, or met another error."""
        return bool(streak.runs) and (self.has_settled or (self.tried > 0 and self.error != streak.error))


def _class_of(decision: Decision) -> str:
    cls = type(decision.error)
    return f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")


def refunds(
    charges: Sequence[Charge],
    since_ms: int,
    rules: Rules,
    is_for_us: Callable[[Try], bool] = lambda _: True,
) -> tuple[list[Reset], dict[bytes, Try]]:
    """What undoes these charges of a run, and those of the run before it that began at `since_ms` by its own clock.

    `is_for_us` says of a record whether this run is to undo it: another shard's run may undo its own.

    Returns:
        How each entry is to be set back in the pending list, and its record then.
    """
    resets: list[Reset] = []
    records: dict[bytes, Try] = {}

    def undo(entry_id: bytes, left: Try, charged: int, deliveries: int, idle_ms: int) -> None:
        # Where it had to wait before, it had waited: it is due again.
        resets.append(Reset(entry_id, left.deliveries, max(idle_ms, rules.wait_ms(charged)), deliveries))
        records[entry_id] = left._replace(charged=charged, deliveries=deliveries, verdict=Verdict.RETRY.value)

    for charge in charges:
        more = 1 if charge.before is not None and _is_charged_since(charge.before, since_ms) else 0
        left = charge.after
        undo(charge.row.id, left, left.charged - 1 - more, left.deliveries - 1 - more, charge.row.idle_ms)
    for entry_id, left in rules.tries.items():
        if entry_id not in records and _is_charged_since(left, since_ms) and is_for_us(left):
            undo(entry_id, left, left.charged - 1, left.deliveries - 1, rules.min_idle_ms)
    return resets, records


def _is_charged_since(record: Try, since_ms: int) -> bool:
    return record.verdict == Verdict.FAIL.value and record.last_ms >= since_ms
