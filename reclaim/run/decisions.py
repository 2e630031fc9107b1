"""Owns the decisions of a page: what of it is stored, and what becomes of each entry. Pure functions on values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from reclaim.counted import how_often
from reclaim.entry import Entry
from reclaim.errors import DeadLettersFull, MissingField, NotAccepted, NotReplicated, OutOfTime, describe, said
from reclaim.handlers.outcomes import MOVED, STORED, Failed, Handled, Keyed, Moved, Stored, Superseded
from reclaim.run.order import HeldKeys, digest
from reclaim.run.rules import Rules
from reclaim.state.tries import Try
from reclaim.verdicts import Verdict

HELD_BACK = "held: an earlier entry of its order key is not done"
TAKEN = "taken by somebody else"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an entry that is not simply done."""

    key: bytes
    entry: Entry
    verdict: Verdict
    reason: str
    error: Exception | None = None
    is_unparked: bool = False  # it was to be a dead letter, and could not be made one


@dataclass(frozen=True, slots=True)
class Plan:
    """What of some entries is to be stored, and what is decided already about each other one."""

    to_store: Sequence[Keyed]
    decided: Sequence[Decision] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of some entries.

    Attributes:
        done: stored or superseded, and so to be acknowledged.
        decisions: one for each entry that is neither done nor moved.
        superseded: how many of `done` were superseded.
        duplicates: a name for each entry of `done` that has one more than once, so that only its last value is stored.
        moved: stored and acknowledged at one stroke: nothing that happens later holds them back.
        gone: pending no more when they were to be moved: an answer was lost, or somebody else acknowledged them.
        not_deleted: how many of `moved` and `gone` stay in their stream because another group needs them.
    """

    done: Sequence[Keyed] = ()
    decisions: Sequence[Decision] = ()
    superseded: int = 0
    duplicates: Sequence[bytes] = ()
    moved: Sequence[Keyed] = ()
    gone: Sequence[Keyed] = ()
    not_deleted: int = 0

    @classmethod
    def joined(cls, parts: Iterable["Judged"]) -> "Judged":
        """All parts as one."""
        done: list[Keyed] = []
        decisions: list[Decision] = []
        duplicates: list[bytes] = []
        moved: list[Keyed] = []
        gone: list[Keyed] = []
        superseded, not_deleted = 0, 0
        for part in parts:
            done += part.done
            decisions += part.decisions
            superseded += part.superseded
            duplicates += part.duplicates
            moved += part.moved
            gone += part.gone
            not_deleted += part.not_deleted
        return cls(done, decisions, superseded, tuple(duplicates), tuple(moved), tuple(gone), not_deleted)

    @property
    def finished(self) -> Sequence[Keyed]:
        """What is done, moved or gone: nothing more is to be done for it but to acknowledge what is done."""
        return [*self.done, *self.moved, *self.gone] if self.moved or self.gone else self.done

    @property
    def settled_keys(self) -> AbstractSet[bytes]:
        """The order keys of the entries that are settled, where there is one entry of each."""
        return {key for key, _ in self.done} | {one.key for one in self.decisions if one.verdict.settles}

    @property
    def all_settled(self) -> bool:
        """Whether no entry stays pending, so that the later ones of its order key may go on (G3)."""
        return all(decision.verdict.settles for decision in self.decisions)


NOTHING = Judged()


# --- before anything is stored ---------------------------------------------------------------------------------------


def with_order_keys(
    entries: Iterable[Entry], order_key: Callable[[Entry], bytes], rules: Rules
) -> tuple[list[Keyed], list[Decision]]:
    """The entries with their order keys, and a decision for each entry that has none."""
    keyed: list[Keyed] = []
    decisions: list[Decision] = []
    for entry in entries:
        try:
            keyed.append((order_key(entry), entry))
        except MissingField as exc:
            decisions.append(judge(b"", entry, exc, rules))
    return keyed, decisions


def apart(keyed: Sequence[Keyed], keys: AbstractSet[bytes]) -> tuple[Sequence[Keyed], Sequence[Keyed]]:
    """The entries of other order keys, and those of these keys."""
    if not keys:
        return keyed, ()
    return [one for one in keyed if one[0] not in keys], [one for one in keyed if one[0] in keys]


def plan(keyed: Sequence[Keyed], held: HeldKeys, rules: Rules) -> Plan:
    """Decide which entries are stored: all but those held back (G3), and those delivered too often."""
    if held.is_empty and not rules.is_spent_by_any(keyed):
        return Plan(keyed)
    to_store: list[Keyed] = []
    decided: list[Decision] = []
    for key, entry in keyed:
        if held.holds(key, entry):
            decided.append(Decision(key, entry, Verdict.HELD, HELD_BACK))
        elif rules.is_spent(entry):
            reason = f"delivered {how_often(entry.deliveries)}; MAX_DELIVERIES is {rules.most}"
            decided.append(Decision(key, entry, Verdict.PARK, reason))
        else:
            to_store.append((key, entry))
    return Plan(to_store, decided)


def without_overtaking(planned: Plan) -> Plan:
    """The same plan, but entries wait that come after one to be parked in their order key (G3).

    For a handler that moves entries: what is moved cannot be held back any more if no dead letter can be made.
    """
    waits_for = HeldKeys()
    for decision in planned.decided:
        if decision.verdict is Verdict.PARK:
            waits_for.hold(decision.key, decision.entry)
    if waits_for.is_empty:
        return planned
    later = [one for one in planned.to_store if waits_for.holds(*one)]
    to_store = [one for one in planned.to_store if not waits_for.holds(*one)]
    held = [Decision(*one, Verdict.HELD, HELD_BACK) for one in later]
    return Plan(to_store, [*planned.decided, *held])


def without_taken(lane: Sequence[Keyed], taken: AbstractSet[bytes]) -> Plan:
    """The lane without what somebody else has taken, and without what comes after it in its order key (G3)."""
    stuck: set[bytes] = set()
    left: list[Keyed] = []
    decided: list[Decision] = []
    for key, entry in lane:
        if entry.id in taken:
            stuck.add(key)
        if key in stuck:
            decided.append(Decision(key, entry, Verdict.HELD, TAKEN if entry.id in taken else HELD_BACK))
        else:
            left.append((key, entry))
    return Plan(left, decided)


# --- after an attempt ------------------------------------------------------------------------------------------------


def again(lane: Sequence[Keyed], outcomes: Sequence[Handled], rules: Rules) -> list[int]:
    """Where in the lane a further attempt is wanted: from each key's first error that may pass."""
    if not _any_failed(outcomes):
        return []
    stuck: set[bytes] = set()
    places = []
    for at, ((key, _), outcome) in enumerate(zip(lane, outcomes, strict=True)):
        if isinstance(outcome, Moved):
            continue
        if key in stuck or (isinstance(outcome, Failed) and rules.verdict(outcome.error) is Verdict.RETRY):
            stuck.add(key)
            places.append(at)
    return places


def decide(keyed: Sequence[Keyed], outcomes: Sequence[Handled], rules: Rules) -> Judged:
    """Which entries are done, and what becomes of each other one. Both sequences are in ID order.

    G1: an entry is done only if the class of its outcome says so. G3: after the first entry of a key that neither is
    done nor will be parked, the key's later entries are held, stored or not. A handler that moves entries moves none
    of them.
    """
    if outcomes.count(STORED) == len(keyed):
        return Judged(keyed)
    if outcomes.count(MOVED) == len(keyed):
        return Judged(moved=keyed)
    done: list[Keyed] = []
    decisions: list[Decision] = []
    duplicates: list[bytes] = []
    moved: list[Keyed] = []
    gone: list[Keyed] = []
    held: set[bytes] = set()
    superseded, not_deleted = 0, 0
    for (key, entry), outcome in zip(keyed, outcomes, strict=True):
        if isinstance(outcome, Moved):
            (moved if outcome.just_now else gone).append((key, entry))
            not_deleted += outcome.not_deleted
        elif key in held:
            decisions.append(Decision(key, entry, Verdict.HELD, HELD_BACK))
        elif isinstance(outcome, Stored | Superseded):  # nothing else is done
            done.append((key, entry))
            superseded += isinstance(outcome, Superseded)
            if isinstance(outcome, Stored) and outcome.duplicate is not None:
                duplicates.append(outcome.duplicate)
        else:
            decision = judge(key, entry, outcome.error, rules)
            decisions.append(decision)
            if not decision.verdict.settles:
                held.add(key)
    return Judged(done, decisions, superseded, tuple(duplicates), tuple(moved), tuple(gone), not_deleted)


def _any_failed(outcomes: Sequence[Handled]) -> bool:
    """Whether any outcome is a failure; nearly always all are alike, and that is seen fast."""
    if outcomes.count(STORED) == len(outcomes) or outcomes.count(MOVED) == len(outcomes):
        return False
    return any(isinstance(outcome, Failed) for outcome in outcomes)


def judge(key: bytes, entry: Entry, error: Exception, rules: Rules) -> Decision:
    """The decision for an entry whose handling raised."""
    verdict = rules.verdict(error)
    if verdict is Verdict.FAIL and rules.is_last(entry):
        verdict = Verdict.PARK
    return Decision(key, entry, verdict, describe(error), error)


def failures(decisions: Iterable[Decision], rules: Rules) -> list[Decision]:
    """Those that count for the circuit: what raised, but for bad entries, what was begun too late or has no replica."""
    raised = (one for one in decisions if one.error is not None and not one.is_unparked)
    return [one for one in raised if _is_failure(one.error, rules)]


def _is_failure(error: Exception | None, rules: Rules) -> bool:
    if error is None or isinstance(error, OutOfTime | NotReplicated):
        return False
    verdict = rules.verdict(error)
    return verdict in {Verdict.RETRY, Verdict.FAIL} or (verdict is Verdict.STOP and isinstance(error, NotAccepted))


# --- while a page is settled -----------------------------------------------------------------------------------------


def unhandled_in_turn(judged: Judged, not_begun: Sequence[Keyed] = ()) -> Judged:
    """Hold what is to be parked without being handled, where an earlier entry of its key is not settled (G3).

    `not_begun` are entries that the run leaves alone as it ends; they are not settled either.
    """
    unsettled = [(one.key, one.entry) for one in judged.decisions if not one.verdict.settles]
    waits_for = HeldKeys()
    for key, entry in (*unsettled, *not_begun):
        waits_for.hold(key, entry)
    if waits_for.is_empty:
        return judged
    return replace(judged, decisions=[_held_if_later(one, waits_for) for one in judged.decisions])


def _held_if_later(decision: Decision, waits_for: HeldKeys) -> Decision:
    is_unhandled = decision.verdict is Verdict.PARK and decision.error is None
    if is_unhandled and waits_for.holds(decision.key, decision.entry):
        return replace(decision, verdict=Verdict.HELD, reason=HELD_BACK)
    return decision


def with_unparked(judged: Judged, unparked: Mapping[bytes, Exception]) -> Judged:
    """The same, if these entries stay pending for want of a dead letter: their keys' other entries do too (G3)."""
    if not unparked:
        return judged
    stuck = {decision.key for decision in judged.decisions if decision.entry.id in unparked}
    decisions = [_not_parked(decision, unparked) for decision in judged.decisions]
    decisions += (Decision(key, entry, Verdict.HELD, HELD_BACK) for key, entry in judged.done if key in stuck)
    done = [keyed for keyed in judged.done if keyed[0] not in stuck]
    return replace(judged, done=done, decisions=decisions)


def _not_parked(decision: Decision, unparked: Mapping[bytes, Exception]) -> Decision:
    error = unparked.get(decision.entry.id)
    if error is None:
        return decision
    if isinstance(error, DeadLettersFull):
        return replace(decision, verdict=Verdict.HELD, reason=f"held: {error}", is_unparked=True)
    return replace(
        decision, verdict=Verdict.RETRY, reason=f"no dead letter could be made: {said(error)}", is_unparked=True
    )


def with_outlasted(judged: Judged, rules: Rules, now_ms: int) -> Judged:
    """The same, but what has been retried for too long (RETRY_FOR_SEC) is to be parked."""
    decisions = [_parked_if_outlasted(decision, rules, now_ms) for decision in judged.decisions]
    return replace(judged, decisions=decisions)


def _parked_if_outlasted(decision: Decision, rules: Rules, now_ms: int) -> Decision:
    if not _is_refunded_try(decision, rules) or not rules.is_retried_too_long(decision.entry, now_ms):
        return decision
    reason = f"retried for longer than RETRY_FOR_SEC ({rules.retry_for_ms / 1000:g}): {decision.reason}"
    return replace(decision, verdict=Verdict.PARK, reason=reason)


def records(decisions: Iterable[Decision], rules: Rules, now_ms: int) -> dict[bytes, Try]:
    """What is to be kept of the entries that were tried and are not done, by their IDs."""
    made: dict[bytes, Try] = {}
    for decision in decisions:
        entry = decision.entry
        if decision.verdict is Verdict.FAIL:
            charged, deliveries = rules.charged_before(entry) + 1, entry.deliveries
        elif _is_refunded_try(decision, rules):
            charged, deliveries = rules.charged_before(entry), entry.deliveries - 1
        else:
            continue
        known = rules.tries.get(entry.id)
        first_ms = now_ms if known is None or not known.first_ms else known.first_ms
        verdict = Verdict.FAIL if decision.verdict is Verdict.FAIL else Verdict.RETRY
        made[entry.id] = Try(
            charged, first_ms, now_ms, deliveries, verdict.value, digest(decision.key), decision.reason
        )
    return made


def _is_refunded_try(decision: Decision, rules: Rules) -> bool:
    """Whether the entry was tried, and is to be tried again without a charge."""
    if decision.verdict is Verdict.STOP:
        return True
    return decision.verdict is Verdict.RETRY and not decision.is_unparked and _is_failure(decision.error, rules)
