"""Owns the health of a target: it judges the target's facts, and says the result in one sentence. Pure functions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from reclaim.counted import are, many
from reclaim.ops.facts import Facts
from reclaim.reasons import counts_in, top_reasons
from reclaim.run.history import IDLE_EVERY_SEC
from reclaim.run.report import Outcome
from reclaim.state.circuit import State

# If no run has taken over a due entry for three ticks and half a minute, then the entry is forgotten.
FORGOTTEN_TICKS = 3
GRACE_SEC = 30.0
RECENT_SEC = 86_400.0  # the sentence does not mention entries that were lost longer ago
MAX_REASON = 200  # characters


class Health(Enum):
    """How well a target does; the worst is last."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


Assessment = tuple[Health, str]


def assess(facts: Facts, now: datetime, failing: str | None = None) -> Assessment:
    """The target's health, and one sentence about it: the worst problem first, then the others.

    `failing` is a failed check of the doctor. The sentence names it only if there is no other problem, because other
    problems are mostly effects of what the check found.
    """
    if facts.error is not None and facts.pending is None:
        return Health.FAIL, _sentence([facts.error])
    checks = (_group, _circuit, _last_run, _backlog, _not_stored, _timer, _dead_letters, _lost, _clock, _partly_read)
    assessments = [found for check in checks if (found := check(facts, now)) is not None]
    if not assessments and failing is not None:
        return Health.WARN, _sentence([f"nothing is wrong yet, but a check fails: {failing}"])
    if not assessments:
        return Health.OK, _sentence([_all_is_well(facts)])
    assessments.sort(key=lambda found: SEVERITY[found[0]])
    return assessments[0][0], _sentence([clause for _, clause in assessments])


def worst(found: Sequence[Health]) -> Health:
    """The worst of these; OK if there are none."""
    return min(found, key=SEVERITY.__getitem__, default=Health.OK)


SEVERITY = {Health.FAIL: 0, Health.WARN: 1, Health.OK: 2}


def _sentence(clauses: Sequence[str]) -> str:
    text = "; also, ".join(clause.rstrip(".") for clause in clauses)
    return f"{text[:1].upper()}{text[1:]}."


def _forgotten_sec(facts: Facts) -> float:
    """How long an entry may be idle before it counts as forgotten: a run should have taken it over by then."""
    return facts.min_idle_ms / 1000 + FORGOTTEN_TICKS * facts.tick_sec + GRACE_SEC


def _group(facts: Facts, _: datetime) -> Assessment | None:
    if not facts.group_missing or facts.missing_ok:
        return None
    return (
        Health.FAIL,
        f"the stream {facts.stream} or its group {facts.group} is not there, so nothing can be taken over",
    )


def _circuit(facts: Facts, now: datetime) -> Assessment | None:
    circuit = facts.circuit
    if circuit is None:
        return None
    if circuit.state is State.CLOSED:
        if not circuit.wait_sec:
            return None
        wait = f"nothing is tried for {span(circuit.wait_sec)}, as a service has asked"
        return Health.WARN, f"{wait} ({_cut(circuit.wait_reason)})"
    why = circuit.why
    if circuit.state is State.HALF_OPEN:
        return Health.WARN, f"the circuit is half open and one run is trying whether work succeeds again ({why})"
    since = _seconds_since(circuit.since, now)
    lasted = "" if since is None else f" for {span(since)}"
    if circuit.seconds_left is None:
        then = "until a person closes it"
    elif circuit.seconds_left:
        then = f"until it is tried again in {span(circuit.seconds_left)}"
    else:
        then = "until the next run tries again"
    return Health.FAIL, f"the circuit has been open{lasted} ({why}) and nothing is taken over {then}"


def _last_run(facts: Facts, now: datetime) -> Assessment | None:
    outcomes = [run for run in facts.runs if run.get("outcome") != Outcome.LEASE_HELD.value]
    streak = next((at for at, run in enumerate(outcomes) if not _failed(run)), len(outcomes))
    if not streak:
        return None
    ago = _seconds_since(outcomes[0].get("started_at"), now)
    when = "" if ago is None else f" {span(ago)} ago"
    runs = f"the last run{when} failed" if streak == 1 else f"the last {streak} runs failed, the latest{when}"
    return Health.FAIL, f"{runs}: {_cut(outcomes[0].get('reason'))}"


def _backlog(facts: Facts, now: datetime) -> Assessment | None:
    """Whether entries are forgotten: a run should have taken them over long ago."""
    if facts.pending is None or facts.pending.oldest is None or not _has_forgotten_entries(facts, now):
        return None
    there = f"{_entries(facts.pending.total)} pending, the oldest idle for {span(facts.pending.oldest.idle_ms / 1000)}"
    good = _last_good_run(facts)
    ago = _seconds_since(good.get("started_at"), now)
    if ago is None:
        return Health.FAIL, f"{there}, and no run that ended well is on record: check the timer"
    if not _ended_well_lately(facts, now):
        return Health.FAIL, f"{there}, and the last run that ended well was {span(ago)} ago: check the timer"
    why = _why(good)
    is_ours = facts.pending.oldest.consumer == facts.consumer
    then = ": it was tried before and waits for its next try" if is_ours else ", though runs end well"
    return Health.WARN, f"{there}{then}" + (f" ({why})" if why else "")


def _not_stored(facts: Facts, now: datetime) -> Assessment | None:
    """Entries that the last run at work could not store, as long as any are pending."""
    if facts.pending is None or not facts.pending.total or _has_forgotten_entries(facts, now):
        return None
    run = next((run for run in facts.runs if run.get("claimed")), {})
    count = sum(n for name in ("failed", "retried") if type(n := run.get(name)) is int)
    if not count:
        return None
    why = _why(run)
    return Health.WARN, f"the last run at work could not store {many(count, 'entry')}" + (f" ({why})" if why else "")


def _timer(facts: Facts, now: datetime) -> Assessment | None:
    """Whether the timer starts runs at all.

    Each run leaves when it looked at the group. Without that only reports tell: of the runs that find nothing, one is
    recorded every five minutes.
    """
    timer_is_blamed = _has_forgotten_entries(facts, now) and not _ended_well_lately(facts, now)
    if facts.lease is not None or facts.group_missing or timer_is_blamed:
        return None
    last, looked = next(iter(facts.runs), {}), _seconds_since(facts.last_tick_at, now)
    if not last and looked is None:
        return Health.WARN, "no run is on record yet"
    began = _seconds_since(last.get("started_at"), now)
    thinned = IDLE_EVERY_SEC if looked is None else 0.0
    ago = min((one for one in (began, looked) if one is not None), default=None)
    if ago is None or ago - _seconds(last) <= thinned + _forgotten_sec(facts):
        return None
    what = "no run is on record" if looked is None else "no run has begun"
    return Health.WARN, f"{what} for the last {span(ago)}: check the timer"


def _dead_letters(facts: Facts, _: datetime) -> Assessment | None:
    count, most = facts.dead_letters, facts.dead_letter_maxlen
    if not count:
        return None
    if count >= most:
        full = f"there {are(count, 'dead letter')} and DEAD_LETTER_MAXLEN is {most:,}: no more entries are parked"
        return Health.FAIL, f"{full} until somebody replays or discards some, or raises it"
    return Health.WARN, f"{many(count, 'dead letter waits', 'dead letters wait')} for somebody to replay or discard"


def _lost(facts: Facts, now: datetime) -> Assessment | None:
    if facts.lost is None or not facts.lost.latest:
        return None
    ages = [age for entry in facts.lost.latest if (age := _seconds_since(entry.at, now)) is not None]
    recent = [age for age in ages if age <= RECENT_SEC]
    if not recent:
        return None
    may_be_more = len(recent) == len(facts.lost.latest) < facts.lost.count
    count = facts.lost.count if may_be_more else len(recent)
    entries = many(count, "entry")
    full = " or more" if facts.lost.full and may_be_more else ""
    return (
        Health.WARN,
        f"{entries}{full} trimmed or deleted while pending, the latest {span(min(recent))} ago",
    )


def _clock(facts: Facts, _: datetime) -> Assessment | None:
    """Entries that were delivered before the clock went back seem fresh until it is where it was."""
    if not facts.clock_behind_ms or facts.pending is None or not facts.pending.total:
        return None
    lasts = span(facts.clock_behind_ms / 1000)
    return Health.WARN, f"the server's clock went back, so entries delivered before seem fresh for {lasts} longer"


def _partly_read(facts: Facts, _: datetime) -> Assessment | None:
    return None if facts.error is None else (Health.WARN, f"not all could be read: {facts.error}")


def _all_is_well(facts: Facts) -> str:
    if facts.missing_ok:
        return f"all is well: the stream {facts.stream} or its group {facts.group} is not there yet; MISSING_OK is true"
    pending = facts.pending
    if pending is None or not pending.total:
        return "all is well: nothing is pending"
    if facts.lease is not None:
        return f"all is well: {_entries(pending.total)} pending, and a run is at work on them"
    idle_sec = 0.0 if pending.oldest is None else pending.oldest.idle_ms / 1000
    least_sec = facts.min_idle_ms / 1000
    then = "the next run takes over" if idle_sec >= least_sec else f"what is idle for {span(least_sec)} is taken over"
    return f"all is well: {_entries(pending.total)} pending, the oldest idle for {span(idle_sec)}; {then}"


def _has_forgotten_entries(facts: Facts, now: datetime) -> bool:
    """Whether entries are forgotten although the circuit lets runs work, and while no run is at work."""
    if facts.pending is None or facts.pending.oldest is None or facts.lease is not None:
        return False
    return facts.pending.oldest.idle_ms / 1000 > _forgotten_sec(facts) and _could_work(facts, now)


def _ended_well_lately(facts: Facts, now: datetime) -> bool:
    """Whether the last run that ended well ended lately: its time is added, because reports tell when a run began."""
    good = _last_good_run(facts)
    ago = _seconds_since(good.get("started_at"), now)
    return ago is not None and ago <= _forgotten_sec(facts) + _seconds(good)


def _last_good_run(facts: Facts) -> dict[str, Any]:
    """The report of the latest run that ended well; an empty dict if no such run is on record."""
    return next((run for run in facts.runs if _well(run)), {})


def _could_work(facts: Facts, now: datetime) -> bool:
    """Whether the circuit has been closed for so long that runs could have taken over every due entry."""
    if facts.circuit is None:
        return True
    since = _seconds_since(facts.circuit.since, now)
    lets_work = facts.circuit.state is State.CLOSED and not facts.circuit.wait_sec
    return lets_work and (since is None or since > _forgotten_sec(facts))


def _failed(run: dict[str, Any]) -> bool:
    return run.get("outcome") in (Outcome.FAILED.value, Outcome.GROUP_GONE.value)  # it may be anything: no set


def _well(run: dict[str, Any]) -> bool:
    """Whether a run did its work. If it left entries pending, its report has the reasons."""
    return run.get("outcome") in _WELL


_WELL = [
    outcome.value for outcome in Outcome if outcome.went_well
]  # a list, because a report may hold a value that cannot be in a set


def _seconds(run: dict[str, Any]) -> float:
    """How long a run took."""
    seconds = run.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _why(run: dict[str, Any]) -> str:
    """Why a run's entries were not stored: the most frequent reasons."""
    return top_reasons(counts_in(run.get("reasons")))


def _entries(count: int) -> str:
    return many(count, "entry is", "entries are")


def _cut(reason: Any) -> str:
    text = str(reason or "no reason given")
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"


def _seconds_since(moment: Any, now: datetime) -> float | None:
    """Seconds from a moment, written as ISO 8601 with its zone, until now; None if `moment` is no such text."""
    try:
        then = datetime.fromisoformat(moment)
    except (TypeError, ValueError):
        return None
    return max((now - then.astimezone(UTC)).total_seconds(), 0.0)


def span(seconds: float) -> str:
    """A length of time as a person says it: ``4 s``, ``12 min``, ``3 h``, ``2 days``."""
    if seconds < 1:
        return f"{round(seconds, 1):g} s"
    for below, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < below:
            return f"{int(seconds / unit)} {name}"
    return f"{int(seconds / 86_400)} days"
