"""What must hold after each step, whatever it was. What reclaim did is read from Redis alone.

G1: what is acknowledged is in its hash, or something newer of its key is.
G2: each entry is exactly one of pending, acknowledged, among the dead letters, in the ledger of lost entries. What is
    acknowledged is deleted from the stream where that is wanted and no other group needs it, and never else.
G3: of each order key what is acknowledged comes in ID order; hashes end with the newest that was.
G4: a run without a fault leaves nothing undone but what must wait.
G5: delivery counts grow by deserved deliveries only; outages never make dead letters.
G8: with a version field nothing older overwrites what is newer.
"""

from collections import Counter

from tests.promises.model.world import KEYS, MAX_DELIVERIES, OURS, Act, Made, Seen, Slow
from tests.support import as_dict

DONE = {"handled", "dead", "replayed", "discarded"}  # by us


class Judge:
    """Compares what there is with what was and with what the model knows; notes what became of each entry."""

    def __init__(
        self, made: dict[int, Made], count: Counter[str], *, is_versioned: bool, slow: Slow | None, room: int
    ) -> None:
        self.made = made
        self.slow = slow  # None: what is acknowledged stays in the stream
        self.count = count
        self.is_versioned = is_versioned
        self.room = room  # for dead letters
        self.has_lost_records = False
        self.before_anew = 0  # the number of the last entry that was added before the group or stream was made anew

    def gone(self, *, deletes: bool) -> None:
        """The group is made anew, or its stream too: what is pending or was never read is in no group any more."""
        self.before_anew = len(self.made)
        for one in self.made.values():
            one.is_removed = one.is_removed or deletes
            if one.status in {"pending", "unread"}:
                one.status = "gone"

    def places(self, seen: Seen) -> None:
        """G2: each entry is where the model has it, and nowhere else, once."""
        for number, one in self.made.items():
            place = {
                "pending": number in seen.pending,
                "dead": len(seen.letters.get(number, [])),
                "lost": len(seen.ledger.get(number, [])),
            }
            wanted = dict.fromkeys(place, 0) | ({one.status: 1} if one.status in place else {})
            if number <= self.before_anew and one.status not in place:
                wanted["lost"] = min(place["lost"], 1)  # told by what was known of it last
            assert place == wanted, f"{number}, {one.status}, is {place}"
            if one.status not in DONE or self.slow is None or self.slow.needs(number):
                assert number in seen.stream or one.is_removed, f"G2: {number}, {one.status}, is deleted"
        assert sum(map(len, seen.letters.values())) <= self.room
        self.count["G2: entries in exactly one place"] += len(self.made)

    def run(self, before: Seen, after: Seen, act: Act) -> None:
        """After a run, whole or not."""
        handled = self._settle(before, after, act)
        for key in KEYS[:-1]:
            self._key(key, before, after, handled, act)
        self._deliveries(before, after, act)
        if act.is_clean:
            self._completeness(before, after, act)
        self.places(after)

    def _settle(self, before: Seen, after: Seen, act: Act) -> set[int]:
        """Find out what became of each entry that was pending, and whether it may have; return those handled."""
        handled = set()
        for number in before.pending.keys() - after.pending.keys() - act.acknowledged:
            one = self.made[number]
            assert before.is_idle(number) or act.taken, f"{number} was not idle"
            if number in after.letters:
                one.status = "dead"
                self._letter(one, before, after.letters[number][0], act)
            elif number in after.ledger:
                one.status = "lost"
                assert number not in after.stream, f"{number} is in the ledger and in the stream"
                assert after.ledger[number][0][b"consumer"] in {before.pending[number][0], *OURS, b"bob"}
                self.count["entries lost and recorded"] += 1
            else:
                assert one.can_be_stored, f"G1, G2: {number} is acknowledged, and nowhere"
                one.status = "handled"
                handled.add(number)
            if self.slow is not None and one.status in DONE and number not in act.taken:
                needed = self.slow.needs(number)
                assert needed or number not in after.stream, f"{number} is {one.status}, and is not deleted"
                self.count["entries that stay for another group" if needed else "entries deleted when done"] += 1
        self.count["entries handled"] += len(handled)
        return handled

    def _letter(self, one: Made, before: Seen, letter: dict[bytes, bytes], act: Act) -> None:
        """G5: nothing is dead but for a reason."""
        body = [part for name, value in letter.items() if name.startswith(b"field:") for part in (name[6:], value)]
        assert as_dict(body) == as_dict(one.fields)
        reason, deliveries = letter[b"reason"], int(letter[b"deliveries"])
        match reason:
            case b"bad_entry":
                assert not one.can_be_stored
            case b"failed":
                assert one.number in act.charged
                assert self._tries(one) + 1 >= MAX_DELIVERIES - 1, f"G5: {one.number} dead after {one.charged} tries"
            case b"max_deliveries":
                assert self._tries(one) + act.was_killed >= MAX_DELIVERIES - 1, f"G5: {one.number}: {one.charged} tries"
        assert deliveries == one.deliveries + 1 or act.was_killed
        assert letter[b"consumer"] in {before.pending[one.number][0], *OURS, b"bob"}
        self.count[f"entries dead: {reason.decode()}"] += 1
        self.count["G5: dead letters deserved"] += 1

    def _is_unparked(self, one: Made, after: Seen) -> bool:
        """Whether it is to become a dead letter, and there is no room for it."""
        if sum(map(len, after.letters.values())) < self.room:
            return False
        return not one.can_be_stored or self._tries(one) + 1 >= MAX_DELIVERIES - 1

    def _tries(self, one: Made) -> int:
        """How many tries may have been charged; where records were lost, the delivery count decides."""
        return one.deliveries - 1 if self.has_lost_records else one.charged

    def _key(self, key: str, before: Seen, after: Seen, handled: set[int], act: Act) -> None:
        """G1, G3, G8: what was handled of a key, and what its hash holds."""
        mine = {number for number in before.pending if self.made[number].key == key}
        done = mine & handled
        tried = {number for number in mine if before.is_idle(number)}
        if key not in act.touched:
            self._value(key, before, after, done, tried)
        if not done:
            return
        fresh = {number for number in mine if before.pending[number][0] in OURS and not before.is_idle(number)}
        waiting = (fresh | mine & before.waits) & before.stream
        held = {number for number in waiting if number < max(done)}  # it holds back later ones only
        assert not held or act.touched, f"G3: {done} are done, and {held} held back"
        overtaken = {
            number
            for number in tried - act.taken
            if number < max(done) and number in after.pending and number in after.stream
        }
        assert not overtaken, f"G3: {overtaken} are still pending, and {max(done)} is done"
        self.count["G3: keys in order"] += 1

    def _value(self, key: str, before: Seen, after: Seen, done: set[int], tried: set[int]) -> None:
        old, new = before.values.get(key, 0), after.values.get(key, 0)
        assert new == old or new in tried, f"hash {key} holds {new}"
        if self.is_versioned:
            assert new >= old, f"G8: {new} has overwritten {old}"
            self.count["G8: versions only grow"] += 1
        if done:
            assert new >= max(done), f"G1, G3: {max(done)} is done, and the hash holds {new}"
            self.count["G1: entries stored"] += len(done)

    def _deliveries(self, before: Seen, after: Seen, act: Act) -> None:
        """G5: counts grow by what is deserved, and what is deserved is charged."""
        failed: dict[str | None, int] = {}  # the first of each key that the store did not take; the others are held
        for number in sorted(act.charged & after.pending.keys()):
            failed.setdefault(self.made[number].key, number)
        for number in after.pending.keys() & before.pending.keys():
            one, count = self.made[number], after.pending[number][2] - (number in after.owed)
            costs = (number in act.charged, act.was_killed, number not in after.stream, number in act.taken)
            is_charged = act.is_clean and number in failed.values() and not self._is_unparked(one, after)
            least = one.deliveries + is_charged
            most = one.deliveries + sum(costs)
            assert least <= count <= most, f"G5: {number} has {count} deliveries, not {least} to {most}"
            one.deliveries = count
            self.count["G5: delivery counts"] += 1

    def _completeness(self, before: Seen, after: Seen, act: Act) -> None:
        """G4: what was idle is done, but for keys of which we hold something that is not.

        That may have left the stream: it is recorded as lost when it is due.
        """
        held = {
            self.made[number].key
            for number, row in before.pending.items()
            if (row[0] in OURS or number in before.waits) and not before.is_idle(number)
        } | {self.made[number].key for number in act.charged}
        unparked = {number for number in after.pending if self._is_unparked(self.made[number], after)}
        held |= {self.made[number].key for number in unparked}
        left = {
            number
            for number in before.pending.keys() & after.pending.keys()
            if before.is_idle(number) and (self.made[number].key is None or self.made[number].key not in held)
        } - unparked
        assert not {number for number in left if number in after.stream}, f"G4: {left} could have been done"
        assert not {number for number in left if before.pending[number][1]}, f"G2: {left} are lost, and not recorded"
        self.count["G4: runs complete"] += 1

    def replay(self, before: Seen, after: Seen, act: Act) -> set[int]:
        """After a replay: a dead letter is a dead letter still, or stored; in order. Return those stored."""
        replayed = before.letters.keys() - after.letters.keys()
        for number in replayed:
            assert self.made[number].can_be_stored, f"G1: {number} is no dead letter any more, and nowhere"
            self.made[number].status = "replayed"
        for key in KEYS[:-1]:
            mine = {number for number in before.letters if self.made[number].key == key}
            done = mine & replayed
            self._value(key, before, after, done if not self.is_versioned else set(), mine)
            assert not {number for number in mine - done if done and number < max(done)}, "G3: not in order"
        assert after.pending == before.pending
        self.count["entries replayed"] += len(replayed)
        self.places(after)
        if act.is_clean:
            self.count["replays without a fault"] += 1
        return replayed
