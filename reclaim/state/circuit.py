"""Owns the circuit: whether runs may work on a target, kept in Redis for all instances together.

    closed ──CIRCUIT_FAILURES within CIRCUIT_WINDOW_SEC, or a person──> open
    closed ──two runs in a row settle nothing, for one class of error──> open
    open ──the cool-down is over, and a run has the lease──> half open ──it settles anything──> closed
                                                             half open ──nothing is pending──> closed
                                                             half open ──it fails──> open, for longer
    open by a person, or with CIRCUIT_COOLDOWN_SEC 0 ──a person only──> closed

Scripts make every decision, each in one step and by the server's clock; the callers' clocks do not matter. If several
callers ask for the same change at the same time, exactly one of them learns that it made the change.

Another program that wants to honour the circuit reads ``HGET {stream}:reclaim:group:circuit state`` (the braces are
part of the name). With ``open`` or ``half_open`` it leaves the work alone; with anything else, or nothing, it works.
The hash holds, as text:

    state            closed, open, or half_open (one run of ours probes)
    since_ms         when it opened or closed last, Unix ms by the server's clock; a failed probe does not change it
    by, who, reason  what opened or closed it: failures, person or probe; "run" and its ID, or the person's name; why
    change           the ID of that opening or closing; each one has an ID of its own
    held             the ID of the call with which a person keeps it open, if it was open already
    until_ms         not closed: when the cool-down ends, Unix ms; 0: only a person closes it
    cooldown_ms      the cool-down, as it has grown
    failures         how many failures opened it
    failed_probes    how many probes have failed since
    probe            half open: the token of the run that probes
    probe_until_ms   half open: from when another run may probe instead, Unix ms
    wait_until_ms    no run tries anything before, Unix ms: a service has asked for it (Retry-After)
    wait_reason      what it said
    unsettled_…      about runs that settled nothing; see circuit_unsettled.lua
    settled_ms       with SHARDS: when a shard settled something, Unix ms; see circuit_settled.lua
    shard            with SHARDS: the number of the shard whose run opened it, until one has probed
    passes:…         with SHARDS: which shards leave the next probes to the others; see circuit_enter.lua
    failed:…         and settled:…, counted: with CIRCUIT_SHARE, how many entries there were; see circuit_record.lua
"""

import re
import secrets
import time
from dataclasses import dataclass
from enum import StrEnum

from reclaim.counted import many
from reclaim.entry import by_name, readable
from reclaim.retry import Retries
from reclaim.settings import Target
from reclaim.state.ask import Ask, Reply
from reclaim.state.connection import Server
from reclaim.state.scripts import script
from reclaim.times import Deadline, moment

PROBE_ENTRIES = 20  # how many entries a probe may claim
PROBE_TTL_MS = 30_000  # twice the lease's TTL, and a probe needs the lease too: a probe that lasts longer has died
# The cool-down doubles with every probe that fails. It grows to MAX_GROWTH times CIRCUIT_COOLDOWN_SEC at most, and to
# MAX_COOLDOWN_MS at most, unless CIRCUIT_COOLDOWN_SEC itself is longer.
MAX_GROWTH = 16
MAX_COOLDOWN_MS = 3_600_000
ATTEMPTS, PATIENCE_SEC = 3, 10.0  # when a person opens or closes it
MAX_TEXT = 500  # characters of a reason or a name that are kept
MAX_WAIT_SEC = 3600.0  # the longest Retry-After that is kept
MAX_WAIT_MS = 3_600_000
CLOCK_STEP_MS = 1000  # by so much a server's clock may go back without a cool-down or a wait ending for it
MAX_CLASS = 200  # characters of an error's class that are kept

_ENTER = script("circuit_enter", prelude="circuit_prelude")
_RECORD = script("circuit_record", prelude="circuit_prelude")
_REOPEN = script("circuit_reopen", prelude="circuit_prelude")
_CLOSE = script("circuit_close", prelude="circuit_prelude")
_OPEN = script("circuit_open", prelude="circuit_prelude")
_SHOW = script("circuit_read", prelude="circuit_prelude")
_UNSETTLED = script("circuit_unsettled", prelude="circuit_prelude")
_WAIT = script("circuit_wait", prelude="circuit_prelude")
_SETTLED = script("circuit_settled", prelude="circuit_prelude")
_STREAK = (
    "unsettled_error",
    "unsettled_runs",
    "unsettled_run",
    "unsettled_since_ms",
    "unsettled_before_ms",
    "unsettled_from_ms",
    "unsettled_first",
    "unsettled_first_ms",
)


class State(StrEnum):
    """What the circuit is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Effect(StrEnum):
    """What one call did to the circuit. Of any number of concurrent calls exactly one makes a change."""

    OPENED = "opened"
    REOPENED = "reopened"  # the probe failed
    WITHDRAWN = "withdrawn"  # the probe came to no result
    HELD = "held"  # it was open; now only a person closes it
    CLOSED = "closed"
    IS_OPEN = "is_open"  # no change
    IS_CLOSED = "is_closed"  # no change
    NOT_PROBING = "not_probing"  # no change: this run's probe has been taken over, or a person has decided meanwhile

    @property
    def changes(self) -> bool:
        """Whether the call made a change."""
        return self not in _NO_CHANGE


_NO_CHANGE = frozenset({Effect.IS_OPEN, Effect.IS_CLOSED, Effect.NOT_PROBING})


@dataclass(frozen=True, slots=True)
class Change:
    """What one call did, and what opened or closed the circuit last.

    Attributes:
        effect: what the call did.
        id: names the last opening or closing; empty if there was none yet.
        since_ms: when that was, Unix ms by the server's clock.
        by: ``failures``, ``person`` or ``probe``.
        who: ``run`` and its ID, or the person's name.
        reason: why, in words.
        until_ms: when the cool-down ends, Unix ms by the server's clock; None: closed, or only a person closes it.
        failures: how many failures opened it.
    """

    effect: Effect
    id: str = ""
    since_ms: int = 0
    by: str = ""
    who: str = ""
    reason: str = ""
    until_ms: int | None = None
    failures: int = 0

    @property
    def why(self) -> str:
        """Why the circuit is open, in words, if the call opened it or found it open."""
        return _why(self.by, self.who, self.reason)


@dataclass(frozen=True, slots=True)
class Streak:
    """Runs in a row that tried entries and settled none.

    Attributes:
        error: the one class of error that they met; empty if there is no such run.
        runs: how many they are.
    """

    error: str = ""
    runs: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a run may work.

    Attributes:
        go: it may.
        probing: it may, and it is the run that probes: it has to ask `probe_succeeded`, `probe_failed` or
            `probe_withdrawn` in the end.
        opening: what opened the circuit; None if it is closed.
        seconds_left: until a run may probe or go on; None: only a person closes the circuit.
        asked: what the service said that asked for a wait; None if none did, or if the wait is over.
        streak: the runs before this one that settled nothing.
    """

    go: bool
    probing: bool = False
    opening: Change | None = None
    seconds_left: float | None = 0.0
    asked: str | None = None
    streak: Streak = Streak()

    @property
    def why(self) -> str:
        """In words, why the run may not work."""
        if self.asked is not None:
            return f"nothing is tried for {self.seconds_left or 0:.1f} s, as a service has asked ({self.asked})"
        if self.go or self.opening is None:
            return ""
        until = "until a person closes it" if self.seconds_left is None else f"for another {self.seconds_left:.1f} s"
        return f"the circuit is open {until} ({self.opening.why})"


@dataclass(frozen=True, slots=True)
class CircuitState:
    """All there is to know about the circuit now.

    Attributes:
        state: closed, open or half open.
        since: when it opened or closed last, ISO 8601 by the server's clock; None: it never did.
        seconds_left: open: until a run may probe; half open: until another run may; None: closed, or only a person
            closes it.
        by: what opened or closed it: ``failures``, ``person`` or ``probe``.
        who: ``run`` and its ID, or the person's name.
        reason: why it was opened or closed.
        failures: how many there are in the window now.
        failed_probes: how many probes have failed since it opened.
        probe: the token of the run that probes.
        limit: how many failures in the window open it.
        window_sec: how long the window is.
        wait_sec: for so long no run tries anything, because a service has asked for it; 0: none has.
        wait_reason: what it said.
    """

    state: State = State.CLOSED
    since: str | None = None
    seconds_left: float | None = None
    by: str = ""
    who: str = ""
    reason: str = ""
    failures: int = 0
    failed_probes: int = 0
    probe: str | None = None
    limit: int = 100
    window_sec: float = 30.0
    wait_sec: float = 0.0
    wait_reason: str = ""

    @property
    def why(self) -> str:
        """Why the circuit is open, in words; asked only while it is."""
        return _why(self.by, self.who, self.reason)


def _why(by: str, who: str, reason: str) -> str:
    why = reason or "no reason given"
    return f"{who or 'somebody'} opened it: {why}" if by == "person" else why


class Circuit:
    """The circuit of one target.

    Attributes:
        shard: that of the runs that ask it; the whole where the target has none.

    Each question may be asked again, as one and the same `Ask`, when its reply was lost: no change is made twice.
    """

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._circuit = target.keys.circuit
        self._window = target.keys.failures
        self._lease = target.keys.lease
        self._limit = target.circuit_failures
        self._window_sec = target.circuit_window_sec
        self._window_ms = round(1000 * target.circuit_window_sec)
        self._cooldown_ms = round(1000 * target.circuit_cooldown_sec)
        self._share = target.circuit_share
        self.shard = target.shard
        self._shard = "" if target.shard.is_whole else str(target.shard.index)
        self._other_shards = target.shard.of - 1
        of_all = f", at least {100 * self._share:g} % of the entries" if self._share else ""
        self._reason = f"{many(self._limit, 'failure')} within {target.circuit_window_sec:g} s{of_all}"

    def enter(self, token: bytes) -> Ask[Admission]:
        """Whether a run may work, or is to probe. It is asked after the lease was asked for with this token."""
        about = (token, PROBE_TTL_MS, MAX_WAIT_MS, self._shard)
        return Ask.one(("EVAL", _ENTER, 2, self._circuit, self._lease, *about), _admission)

    def is_open(self) -> Ask[bool]:
        """Whether a run that does not probe has to stop: the cheapest question about the circuit."""
        return Ask.one(("HGET", self._circuit, "state"), lambda state: state in {b"open", b"half_open"})

    @property
    def counts_settled(self) -> bool:
        """Whether it matters how many entries were settled (CIRCUIT_SHARE), so that `record` wants to know."""
        return self._share > 0

    def record(self, failures: int, run_id: str, settled: int = 0) -> Ask[Change]:
        """Count failures, and the entries settled beside them: OPENED (by this call), IS_OPEN or IS_CLOSED.

        Not for the run that probes: that one asks `probe_failed`.
        """
        settings = (self._limit, self._window_ms, self._cooldown_ms)
        about = (*settings, f"run {run_id}", self._reason, f"{self._share:g}", settled, self._shard)
        return _changing("EVAL", _RECORD, 2, self._circuit, self._window, _new_id(), failures, *about)

    def unsettled(
        self, run_id: str, began_ms: int, error: str, failures: int, seconds: float = 0.0
    ) -> Ask[tuple[Change, int | None]]:
        """Count a run that tried entries and settled none: OPENED (by this call), IS_OPEN or IS_CLOSED.

        Args:
            run_id: names the run.
            began_ms: when it began, by its own clock.
            error: the one class of error that its entries met.
            failures: how many entries that were.
            seconds: how long ago it began.

        The answer also has when the run before it in a row began, by that run's clock; None if this is the first one.
        """
        error = error[:MAX_CLASS]
        why = (f"run {run_id}", f"two runs in a row settled nothing: {error}")
        which = (self._shard, round(1000 * seconds), began_ms + round(1000 * seconds))
        about = (_new_id(), run_id, began_ms, error, failures, self._cooldown_ms, *why, *which)

        def read(reply: Reply) -> tuple[Change, int | None]:
            effect, facts, before_ms = reply
            return _change(Effect(effect.decode()), facts), None if before_ms < 0 else before_ms

        return Ask.one(("EVAL", _UNSETTLED, 1, self._circuit, *about), read)

    def first_unsettled(self) -> Ask[tuple[int, int]]:
        """Of the runs in a row that settled nothing: the shard of the first, and when that was over, by its clock."""

        def read(found: list[bytes | None]) -> tuple[int, int]:
            shard, at_ms = map(readable, found)
            return _number(shard), _number(at_ms)

        return Ask.one(("HMGET", self._circuit, "unsettled_first", "unsettled_first_ms"), read)

    @property
    def is_shared(self) -> bool:
        """Whether runs of several shards, which settle entries beside each other, share the circuit."""
        return self._other_shards > 0

    def has_settled(self) -> Ask[Reply]:
        """Note that a shard's run has settled something: then other shards' failures are no outage of everything."""
        return Ask.one(("EVAL", _SETTLED, 1, self._circuit), lambda reply: reply)

    def end_streak(self) -> Ask[Reply]:
        """Forget the runs that settled nothing, because one has settled something."""
        return Ask.one(("HDEL", self._circuit, *_STREAK), lambda reply: reply)

    def wait(self, seconds: float, who: str) -> Ask[float]:
        """Let no run try anything for so long, an hour at most. The answer: how many seconds that is."""
        wait_ms = round(1000 * min(seconds, MAX_WAIT_SEC))
        return Ask.one(("EVAL", _WAIT, 1, self._circuit, wait_ms, who[:MAX_TEXT], MAX_WAIT_MS), lambda ms: ms / 1000)

    def probe_succeeded(self, token: bytes, run_id: str, reason: str = "its probe succeeded") -> Ask[Change]:
        """Close the circuit: CLOSED, IS_CLOSED or NOT_PROBING."""
        why = ("probe", f"run {run_id}", reason, token)
        return _changing("EVAL", _CLOSE, 2, self._circuit, self._window, _new_id(), *why)

    def probe_failed(self, token: bytes) -> Ask[Change]:
        """Open the circuit again, with a longer cool-down: REOPENED or NOT_PROBING."""
        longest_ms = max(self._cooldown_ms, min(MAX_GROWTH * self._cooldown_ms, MAX_COOLDOWN_MS))
        return _changing("EVAL", _REOPEN, 1, self._circuit, token, Effect.REOPENED.value, longest_ms, *self._turn)

    def probe_withdrawn(self, token: bytes) -> Ask[Change]:
        """Let the next run probe, because this run found no entry to probe with: WITHDRAWN or NOT_PROBING."""
        return _changing("EVAL", _REOPEN, 1, self._circuit, token, Effect.WITHDRAWN.value, 0, *self._turn)

    @property
    def _turn(self) -> tuple[str, int]:
        """Whose turn to probe is over, and how many of its next ones it leaves to others."""
        return self._shard, self._other_shards

    async def open(self, reason: str, who: str) -> Change:
        """Open it for a person, until a person closes it: OPENED, HELD (it was open already) or IS_OPEN."""
        why = (who[:MAX_TEXT], reason[:MAX_TEXT])
        return await self._change(_changing("EVAL", _OPEN, 1, self._circuit, _new_id(), *why))

    async def close(self, reason: str, who: str) -> Change:
        """Close it for a person, whoever opened it: CLOSED or IS_CLOSED."""
        why = ("person", who[:MAX_TEXT], reason[:MAX_TEXT])
        return await self._change(_changing("EVAL", _CLOSE, 2, self._circuit, self._window, _new_id(), *why))

    async def _change(self, ask: Ask[Change]) -> Change:
        """Make a person's change. If the reply is lost, ask again with the same ID: else nobody sends the alert."""
        deadline = Deadline(PATIENCE_SEC, time.monotonic)
        (change,) = await Retries(ATTEMPTS, max_delay_sec=0.5).attempt(deadline, lambda: self._server.ask(ask))
        return change

    def read(self) -> Ask[CircuitState]:
        """What the circuit is."""
        return Ask.one(("EVAL", _SHOW, 2, self._circuit, self._window, self._window_ms), self._state)

    async def show(self) -> CircuitState:
        """What the circuit is."""
        (state,) = await self._server.ask(self.read())
        return state

    def _state(self, reply: Reply) -> CircuitState:
        word, now_ms, failures, flat = reply
        state = State(word.decode())
        facts = {name.decode(): readable(value) for name, value in by_name(flat).items()}
        return CircuitState(
            state=state,
            since=moment(_number(facts["since_ms"])) if "since_ms" in facts else None,
            seconds_left=_seconds_left(state, facts, now_ms),
            by=facts.get("by", ""),
            who=facts.get("who", ""),
            reason=facts.get("reason", ""),
            failures=failures,
            failed_probes=_number(facts.get("failed_probes")),
            probe=facts.get("probe"),
            limit=self._limit,
            window_sec=self._window_sec,
            wait_sec=_left_ms(_number(facts.get("wait_until_ms")) - now_ms, MAX_WAIT_MS) / 1000,
            wait_reason=facts.get("wait_reason", ""),
        )


def _admission(reply: Reply) -> Admission:
    match reply:
        case [b"go", streak]:
            return Admission(go=True, streak=_streak(streak))
        case [b"wait", wait_ms, asked]:
            return Admission(go=False, seconds_left=wait_ms / 1000, asked=readable(asked))
        case [b"probe", _, facts, streak]:
            return Admission(go=True, probing=True, opening=_change(Effect.OPENED, facts), streak=_streak(streak))
    _, wait_ms, facts = reply
    seconds_left = None if wait_ms < 0 else wait_ms / 1000
    return Admission(go=False, opening=_change(Effect.OPENED, facts), seconds_left=seconds_left)


def _streak(facts: list[bytes | None]) -> Streak:
    error, runs = map(readable, facts)
    return Streak(error, _number(runs))


def _changing(*command: bytes | str | int) -> Ask[Change]:
    def change(reply: Reply) -> Change:
        effect, facts = reply
        return _change(Effect(effect.decode()), facts)

    return Ask.one(command, change)


def _new_id() -> str:
    return secrets.token_hex(8)


def _change(effect: Effect, facts: list[bytes | None]) -> Change:
    change_id, since_ms, by, who, reason, until_ms, failures = map(readable, facts)
    ends_ms = _number(until_ms) or None
    return Change(effect, change_id, _number(since_ms), by, who, reason, ends_ms, _number(failures))


def _seconds_left(state: State, facts: dict[str, str], now_ms: int) -> float | None:
    if state is State.CLOSED:
        return None
    if state is State.HALF_OPEN:
        return _left_ms(_number(facts.get("probe_until_ms")) - now_ms, PROBE_TTL_MS) / 1000
    ends_ms = _number(facts.get("until_ms"))
    return _left_ms(ends_ms - now_ms, _number(facts.get("cooldown_ms")) or None) / 1000 if ends_ms else None


def _number(text: str | None) -> int:
    """The number in a field of the hash; 0 where there is none, or where somebody has written something else."""
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,18}", text) else 0


def _left_ms(left_ms: int, longest_ms: int | None) -> int:
    """How long something lasts yet; circuit_prelude.lua says why it may be over."""
    return 0 if longest_ms is not None and left_ms > longest_ms + CLOCK_STEP_MS else max(left_ms, 0)
