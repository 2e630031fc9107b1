"""Owns the trial: what would become of one entry, without claiming it, acknowledging it or changing its dead letter.

What a handler of ours would write into Redis is only looked at. A function of the user's, or the service of HTTP_URL,
can only say what comes of an entry by doing it: they are really called, once.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reclaim import handlers
from reclaim.app import App
from reclaim.entry import id_number, readable
from reclaim.handlers.http import HttpHandler
from reclaim.handlers.outcomes import Handled, Handler, Moved, Preview, Stored, Superseded
from reclaim.names import written
from reclaim.ops.choosing import Found
from reclaim.ops.saved import part_of
from reclaim.ops.targets import the_unit
from reclaim.retry import Retries
from reclaim.run.attempts import Storing
from reclaim.run.blocking import Blocking
from reclaim.run.decisions import Decision, decide, judge, plan
from reclaim.run.entering import enter
from reclaim.run.order import HeldKeys, digest
from reclaim.run.rules import Rules
from reclaim.run.settling import parking
from reclaim.settings import Target
from reclaim.state.dead_letters import DeadLetter
from reclaim.state.tries import Tries
from reclaim.times import Deadline
from reclaim.tracebacks import last_frames
from reclaim.verdicts import Verdict, retry_after_sec

ONCE = Retries(1, 0.0)


@dataclass(frozen=True, slots=True)
class Tried:
    """What would become of an entry.

    Attributes:
        found: the entry.
        preview: what would be done with it; None if it would not be handled at all.
        called: whether something was really called.
        verdict: `Verdict.DONE` if it would be done.
        sentence: what would become of it, in words.
        error: why it would not be done; empty if it would.
        traceback: the end of the traceback, if a function of the user's raised the error.
        notes: what else there is to know.
    """

    found: Found
    preview: Preview | None
    called: bool
    verdict: Verdict
    sentence: str
    error: str = ""
    traceback: str = ""
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """It ready for JSON; bytes as in a file of saved dead letters."""
        preview = self.preview or Preview("")
        return {
            "target": self.found.target,
            "entry_id": readable(self.found.entry.id),
            "found": self.found.where,
            "would_be": preview.does,
            "about": [{"name": name, "value": as_text(value)} for name, value in preview.about],
            "fields": [{"name": part_of(name), "value": part_of(value)} for name, value in pairs(preview.fields)],
            "body": None if preview.body is None else part_of(preview.body),
            "called": self.called,
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "error": self.error,
            "traceback": self.traceback,
            "notes": list(self.notes),
        }


def pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Names and values in turn, as pairs."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def as_text(value: bytes | str) -> str:
    """What a preview says about itself."""
    return written(value) if isinstance(value, bytes) else value


class Trial:
    """One entry with a handler of its own, whose resource is entered only to call it, and left then.

    Attributes:
        calls: what is really called to learn what becomes of the entry; empty if nothing is.
    """

    def __init__(
        self,
        app: App,
        found: Found,
        handler: Handler,
        rules: Rules,
        key: bytes,
        planned: Preview | Decision,
    ) -> None:
        """Use `of`."""
        self._budget_sec = app.settings.run_budget_sec
        self._target = the_unit(app, found.target).target
        self._found = found
        self._handler = handler
        self._rules = rules
        self._key = key
        self._planned = planned
        self.calls = planned.does if isinstance(planned, Preview) and planned.outcome is None else ""

    @classmethod
    async def of(cls, app: App, found: Found) -> "Trial":
        """Look at everything that can be known without calling anything.

        Raises:
            UnknownTarget: the target is not configured.
        """
        target, entry, letter, key = the_unit(app, found.target).target, found.entry, found.letter, b""
        handler, rules = _handler(app, target, letter), await _rules(app, target, letter)
        planned: Preview | Decision
        try:
            key = handler.order_key(entry)
            decided = plan([(key, entry)], HeldKeys(), rules).decided
            planned = decided[0] if decided else await handler.preview(entry, key)
        except Exception as exc:  # noqa: BLE001  # as in a run: the verdict says what becomes of it
            planned = judge(key, entry, exc, rules)
        if letter is not None and letter.is_foreign:
            planned = Decision(key, entry, Verdict.HELD, letter.error)
        return cls(app, found, handler, rules, key, planned)

    async def go(self) -> Tried:
        """Say what would become of the entry; call what has to be called.

        Raises:
            NotEntered: what the handler works with cannot be opened.
        """
        if isinstance(self._planned, Decision):
            return self._not_done(None, self._planned)
        outcome = self._planned.outcome
        if outcome is None:
            (outcome,) = await self._call()
        decisions = decide([(self._key, self._found.entry)], [outcome], self._rules).decisions
        if decisions:
            return self._not_done(self._planned, decisions[0])
        notes = [*self._waiting(), *_duplicates(outcome)]
        sentence = _done(outcome, self._found.letter)
        return Tried(self._found, self._planned, bool(self.calls), Verdict.DONE, sentence, notes=notes)

    async def _call(self) -> list[Handled]:
        """Have the handler store the entry, once."""
        until = Deadline(self._budget_sec, time.monotonic)
        blocking = Blocking(self._target.name, self._target.handler)
        of = (self._target.stream, self._target.group)
        storing = Storing(self._handler, ONCE, self._rules, until, self._budget_sec / 2, blocking, of=of)
        try:
            await enter(self._handler, ONCE, until)
            return await storing.store([(self._key, self._found.entry)])
        finally:
            if self._handler.resource is not None:
                await self._handler.resource.leave()

    def _not_done(self, preview: Preview | None, decision: Decision) -> Tried:
        sentence = _kept(decision) if self._found.letter is not None else _left(decision, self._rules)
        traceback = "" if decision.error is None else last_frames(decision.error)
        notes = self._waiting()
        if self.calls and isinstance(self._handler, HttpHandler) and decision.verdict is Verdict.PARK:
            notes.append("until the service has taken an entry since the process began, it counts as a failure instead")
        error, called = decision.reason, bool(self.calls)
        return Tried(self._found, preview, called, decision.verdict, sentence, error, traceback, notes)

    def _waiting(self) -> list[str]:
        """Why no run would try the entry yet, as far as is known."""
        row, notes = self._found.row, []
        if row is None:
            return []
        if not self._rules.is_due(row):
            wait_sec = self._rules.wait_ms(self._rules.charged(row)) / 1000
            notes.append(f"no run tries it yet: it must be idle for {wait_sec:,g} s")
        known, ours = self._rules.tries, digest(self._key)
        earlier = [one for one in known if known[one].digest == ours and id_number(one) < id_number(row.id)]
        if earlier:
            first = readable(min(earlier, key=id_number))
            notes.append(f"a run lets it wait for {first}, of the same order key, as long as that is pending")
        return notes


def _handler(app: App, target: Target, letter: DeadLetter | None) -> Handler:
    handler = handlers.make(app.server, target)
    if isinstance(handler, HttpHandler):
        handler.took_one = True  # a 4xx is judged as that of a service that works; a note says so
    return handler if letter is None else handler.for_letters(lambda _: letter.id)


async def _rules(app: App, target: Target, letter: DeadLetter | None) -> Rules:
    """Those of a run; or of a replay, where no try is the last."""
    own = handlers.own_errors(target)
    if letter is not None:
        return Rules(sys.maxsize, own=own)
    tries = Tries(app.server, target)
    await tries.read()
    return Rules.of(target, own, tries.known)


# --- in words --------------------------------------------------------------------------------------------------------


def _done(outcome: Handled, letter: DeadLetter | None) -> str:
    settled = "acknowledged" if letter is None else "removed from the dead letters"
    if isinstance(outcome, Superseded):
        return f"its hash holds what a newer entry stored: it would not be stored, and would be {settled}"
    return f"it would be {'moved' if isinstance(outcome, Moved) else 'stored'}, and {settled}"


def _left(decision: Decision, rules: Rules) -> str:
    """What a run does with an entry that is not done."""
    match decision.verdict:
        case Verdict.STOP:
            return "the run would fail, unless it finishes other entries; this one would stay pending, uncharged"
        case Verdict.PARK:
            return f"it would become a dead letter ({parking(decision, rules).reason.value})"
        case Verdict.FAIL:
            charged = rules.charged_before(decision.entry) + 1
            after = f"tried again after {rules.wait_ms(charged) / 1000:,g} s at the earliest"
            return f"it would stay pending, charged with failure {charged} of {rules.most - 1}, and be {after}"
    asked_sec = None if decision.error is None else retry_after_sec(decision.error, time.time())
    when = "" if asked_sec is None else f" after {asked_sec:,g} s, as was asked for"
    return f"it would stay pending and be tried again{when}: an outage, so the delivery would be refunded"


def _kept(decision: Decision) -> str:
    """What a replay does with a dead letter that is not done."""
    match decision.verdict:
        case Verdict.STOP:
            return "the replay would fail, unless it replays other ones; this one would stay as it is"
        case Verdict.HELD:
            return "it would stay a dead letter as it is"
        case Verdict.RETRY:
            return "it would stay a dead letter as it is: an outage"
    return "it would stay a dead letter, with this error"


def _duplicates(outcome: Handled) -> list[str]:
    if not isinstance(outcome, Stored) or outcome.duplicate is None:
        return []
    return [f"the name {written(outcome.duplicate)} occurs more than once: only its last value is stored"]
