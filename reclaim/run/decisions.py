"""Owns the decisions of a page: how its entries are split into lanes, and what becomes of each. Pure functions."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from reclaim.entry import Entry, id_number
from reclaim.errors import OutOfTime, describe
from reclaim.handlers.outcomes import STORED, Failed, Handled, Keyed, Stored, Superseded
from reclaim.verdicts import Verdict, classify, is_transient

LEAST_IN_LANE = 100  # entries, about: a batch of its own costs as much as some twenty entries
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


def decide(
    keyed: Sequence[Keyed], outcomes: Sequence[Handled], max_deliveries: int
) -> tuple[list[Keyed], list[Decision]]:
    """The entries that are done, and a decision for each other one. Both sequences are in ID order.

    G3: after the first entry of a key that neither is done nor will be parked, the key's later entries are held,
    stored or not.
    """
    if outcomes.count(STORED) == len(outcomes):
        return list(keyed), []
    done: list[Keyed] = []
    decisions: list[Decision] = []
    held: set[bytes] = set()
    for (key, entry), outcome in zip(keyed, outcomes, strict=True):
        if key in held:
            decisions.append(Decision(key, entry, Verdict.HELD, HELD_BACK))
        elif isinstance(outcome, Stored | Superseded):  # nothing else is done (G1)
            done.append((key, entry))
        else:
            decision = judge(key, entry, outcome.error, max_deliveries)
            decisions.append(decision)
            if not decision.verdict.settles:
                held.add(key)
    return done, decisions


def judge(key: bytes, entry: Entry, error: Exception, max_deliveries: int) -> Decision:
    """The decision for an entry whose handling raised."""
    verdict = classify(error)
    if verdict is Verdict.FAIL and entry.deliveries >= max_deliveries:
        verdict = Verdict.PARK
    return Decision(key, entry, verdict, describe(error), error)


def failures(decisions: Sequence[Decision]) -> int:
    """How many of them count for the circuit: what raised, but for bad entries and for what was begun too late."""
    errors = [one.error for one in decisions if one.error is not None and not one.is_unparked]
    return sum(classify(error) in {Verdict.RETRY, Verdict.FAIL} for error in errors if not isinstance(error, OutOfTime))


def without_taken(lane: Sequence[Keyed], taken: AbstractSet[bytes]) -> tuple[list[Keyed], list[Decision]]:
    """The lane without what somebody else has taken, and without what comes after it in its order key (G3)."""
    stuck: set[bytes] = set()
    left: list[Keyed] = []
    decisions: list[Decision] = []
    for key, entry in lane:
        if entry.id in taken:
            stuck.add(key)
        if key in stuck:
            decisions.append(Decision(key, entry, Verdict.HELD, TAKEN if entry.id in taken else HELD_BACK))
        else:
            left.append((key, entry))
    return left, decisions


def superseded_among(done: Sequence[Keyed], lane: Sequence[Keyed], outcomes: Sequence[Handled]) -> int:
    """How many of those that are done were superseded."""
    ids = {entry.id for _, entry in done}
    pairs = zip(lane, outcomes, strict=True)
    return sum(isinstance(outcome, Superseded) and entry.id in ids for (_, entry), outcome in pairs)


def in_turn(decisions: Sequence[Decision], not_begun: Sequence[Keyed] = ()) -> list[Decision]:
    """The same decisions; but what is to be parked without being handled waits for an earlier entry of its key (G3).

    Such an entry is one that is not settled, or one that the run has not begun as it ends.
    """
    unsettled = [(one.key, one.entry) for one in decisions if not one.verdict.settles]
    waits_for: dict[bytes, int] = {}
    for key, entry in (*unsettled, *not_begun):
        number = id_number(entry.id)
        waits_for[key] = min(waits_for.get(key, number), number)
    if not waits_for:
        return list(decisions)
    return [_held_if_later(one, waits_for.get(one.key)) for one in decisions]


def _held_if_later(decision: Decision, earlier: int | None) -> Decision:
    is_unhandled = decision.verdict is Verdict.PARK and decision.error is None
    if earlier is None or not is_unhandled or id_number(decision.entry.id) < earlier:
        return decision
    return replace(decision, verdict=Verdict.HELD, reason=HELD_BACK)


def by_hash(work: Sequence[Keyed], lanes: int) -> list[list[Keyed]]:
    """At most so many lists, fewer for little work, the entries of a key in one of them, in their order."""
    lanes = min(lanes, len(work) // LEAST_IN_LANE + 1)
    split: list[list[Keyed]] = [[] for _ in range(lanes)]
    for keyed in work:
        split[hash(keyed[0]) % lanes].append(keyed)
    return [lane for lane in split if lane]


def by_key(work: Sequence[Keyed]) -> list[list[Keyed]]:
    """A list for each order key, its entries in their order."""
    chains: dict[bytes, list[Keyed]] = {}
    for keyed in work:
        chains.setdefault(keyed[0], []).append(keyed)
    return list(chains.values())


def again(lane: Sequence[Keyed], outcomes: Sequence[Handled]) -> list[int]:
    """Where in the lane a further attempt is wanted: from each key's first error that may pass."""
    if outcomes.count(STORED) == len(outcomes):
        return []
    stuck: set[bytes] = set()
    places = []
    for at, ((key, _), outcome) in enumerate(zip(lane, outcomes, strict=True)):
        if key in stuck or (isinstance(outcome, Failed) and is_transient(outcome.error)):
            stuck.add(key)
            places.append(at)
    return places


def with_unparked(
    unparked: dict[bytes, Exception], done: Sequence[Keyed], decisions: Sequence[Decision]
) -> tuple[list[Keyed], list[Decision]]:
    """The same page, if these entries stay pending for want of a dead letter: their keys' other entries do too (G3)."""
    stuck = {decision.key for decision in decisions if decision.entry.id in unparked}
    changed = [_not_parked(decision, unparked) for decision in decisions]
    changed += (Decision(key, entry, Verdict.HELD, HELD_BACK) for key, entry in done if key in stuck)
    return [keyed for keyed in done if keyed[0] not in stuck], changed


def _not_parked(decision: Decision, unparked: dict[bytes, Exception]) -> Decision:
    error = unparked.get(decision.entry.id)
    if error is None:
        return decision
    return replace(decision, verdict=Verdict.RETRY, reason=f"no dead letter could be made: {error}", is_unparked=True)
