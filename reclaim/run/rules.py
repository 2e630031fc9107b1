"""Owns the rules by which a run judges: how often an entry is tried, when it is due, and what an error means.

Only tries of ours count, and only those that were charged: what other consumers made of an entry is their affair. What
earlier runs left is in the records of `state.tries`. For an entry without a record the delivery count decides, and then
only if the entry was ours: it was delivered once before us.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from reclaim.entry import Entry
from reclaim.names import name_bytes
from reclaim.settings import Target
from reclaim.shards import is_ours
from reclaim.state.pending import Row
from reclaim.state.tries import Try
from reclaim.verdicts import OwnErrors, Verdict, classify

LONGEST_WAIT_MS = 900_000  # or DELIVERY_BACKOFF_SEC, where that is longer


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one target, and what its records say.

    Attributes:
        most: MAX_DELIVERIES: so many deliveries in all, the first one to the consumer that dropped the entry.
        consumer: our own name in the group; of shards, what their names begin with.
        min_idle_ms: MIN_IDLE_TIME_SEC.
        backoff_ms: DELIVERY_BACKOFF_SEC.
        retry_for_ms: RETRY_FOR_SEC.
        own: RETRY_ON and REJECT_ON.
        tries: the records, by the entry's ID.
    """

    most: int
    consumer: bytes = b""
    min_idle_ms: int = 0
    backoff_ms: int = 0
    retry_for_ms: int = 0
    own: OwnErrors = field(default_factory=OwnErrors)
    tries: Mapping[bytes, Try] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Target, own: OwnErrors, tries: Mapping[bytes, Try]) -> Self:
        """The rules of a target."""
        return cls(
            target.max_deliveries,
            name_bytes(target.consumer),
            target.min_idle_ms,
            round(1000 * target.delivery_backoff_sec),
            round(1000 * target.retry_for_sec),
            own,
            tries,
        )

    # --- how often ---

    def charged(self, row: Row) -> int:
        """How many tries of ours count against an entry that is pending like this."""
        record = self.tries.get(row.id)
        if record is None:
            return max(row.deliveries - 1, 0) if self._is_ours(row) else 0
        return record.charged + self._unjudged(row)

    def charged_before(self, entry: Entry) -> int:
        """The same of an entry that we have claimed; this try is not among them."""
        return self.charged(_before_claim(entry))

    def is_last(self, entry: Entry) -> bool:
        """Whether this try is the entry's last: a failure makes it a dead letter."""
        return self.charged_before(entry) + 1 >= self.most - 1

    def is_spent(self, entry: Entry) -> bool:
        """Whether the entry had all its tries already: it is a dead letter without being handled again.

        One try of ours that ended without a verdict was perhaps never made: another entry may have killed the process
        before. So the entry gets another one, alone.
        """
        row = _before_claim(entry)
        return self.charged(row) >= self.most - 1 and self._unjudged(row) != 1

    def is_spent_by_any(self, keyed: Sequence[tuple[bytes, Entry]]) -> bool:
        """Whether one of these entries had all its tries already; the usual answer is no, and is found fast."""
        ours = self.consumer
        if not self.tries and not any(holder.startswith(ours) for holder in {entry.consumer for _, entry in keyed}):
            return False
        return any((self.tries or entry.consumer.startswith(ours)) and self.is_spent(entry) for _, entry in keyed)

    def _is_ours(self, row: Row) -> bool:
        return is_ours(row.consumer, self.consumer)

    def is_suspect(self, row: Row) -> bool:
        """Whether a run of ours may have died of the entry, so often that its next try would be the last.

        It is claimed alone then, so that dying of it costs no other entry a delivery (G4).
        """
        return self._unjudged(row) > 0 and self.charged(row) >= max(self.most - 2, 1)

    def was_suspect(self, entry: Entry) -> bool:
        """The same of an entry that we have claimed."""
        return self.is_suspect(_before_claim(entry))

    def _unjudged(self, row: Row) -> int:
        """How many deliveries of ours ended without a verdict: the process was killed, or could not settle them."""
        if not self._is_ours(row):
            return 0
        record = self.tries.get(row.id)
        return max(row.deliveries - (1 if record is None else record.deliveries), 0)

    def may_be_wronged(self, row: Row) -> bool:
        """Whether its delivery count alone would make this try its last, or spare it one: for it has no record.

        A run beside this one, whose lease ours has lost, may have written a record since we read them: the count may be
        others' doing.
        """
        return row.id not in self.tries and self._is_ours(row) and self.charged(row) >= max(self.most - 2, 1)

    def needs_record(self, row: Row) -> bool:
        """Whether the entry's delivery count has to be written down before we claim it.

        It was raised by others. Once the entry is ours, it would be taken for tries of ours.
        """
        if self._is_ours(row):
            return False
        record = self.tries.get(row.id)
        return row.deliveries != (1 if record is None else record.deliveries)

    # --- when ---

    def wait_ms(self, charged: int) -> int:
        """How long an entry has to be idle before the next try, after so many charged ones."""
        if charged < 1 or not self.backoff_ms:
            return self.min_idle_ms
        grown = self.backoff_ms << min(charged - 1, 40)
        return max(self.min_idle_ms, min(grown, max(LONGEST_WAIT_MS, self.backoff_ms)))

    def longest_wait_ms(self) -> int:
        """The longest wait of any entry that has a record."""
        return self.wait_ms(max((one.charged for one in self.tries.values()), default=0))

    def is_due(self, row: Row) -> bool:
        """Whether the entry may be tried now. One that a run of ours left without a verdict only has to be idle."""
        if row.idle_ms < 0:  # somebody has given it back (XNACK)
            return True
        record = self.tries.get(row.id)
        if record is None or self._unjudged(row):
            return row.idle_ms >= self.min_idle_ms
        return row.idle_ms >= self.wait_ms(record.charged)

    def is_retried_too_long(self, entry: Entry, now_ms: int) -> bool:
        """Whether our first try is longer ago than RETRY_FOR_SEC allows."""
        record = self.tries.get(entry.id)
        if record is None or not record.first_ms or not self.retry_for_ms:
            return False
        return now_ms - record.first_ms > self.retry_for_ms

    # --- whose fault ---

    def verdict(self, error: Exception) -> Verdict:
        """The verdict for an entry whose handling raised this error, whichever try it was."""
        return classify(error, self.own)


def _before_claim(entry: Entry) -> Row:
    return Row(entry.id, entry.consumer, entry.idle_ms, entry.deliveries - 1)
