"""Owns the exception tree.

ReclaimError
├── SettingsError          one or more settings are missing or bad; `problems` lists them all
├── ServerError            the app cannot use Redis, so the run cannot go on
│   ├── Unreachable        Redis does not answer at this address
│   ├── NoToken            there is no valid Entra token to sign in with
│   ├── NotTrusted         the server's TLS certificate was not accepted
│   ├── Unsuitable         nothing of ours can be done there: TLS or not, a Sentinel, a cluster's node, no scripts
│   └── AccessDenied       wrong password, or no permission for a command
├── BadRequest             what a person asks for is not allowed; the message names the field, its value and what is
│   │                      allowed
│   └── UnknownTarget      a person named a target that is not configured, or named none although there are several
├── NoSuchEntry            a person asks for an entry that is neither in the stream nor among the dead letters
├── RunFailed              a target's run failed; raised after the report of every target is logged
├── LeaseHeld              another run is at work on the target, and did not end while we waited
├── CircuitOpen            the target's circuit is open, so the app refuses what a person asked for
├── HandlerTimeout         a handler took longer than it may, and was stopped
├── HandlerCancelled       a handler ended with CancelledError although the run had not cancelled it
├── BadAnswer              a handler function returned what it may not
├── HandlerExited          a handler raised SystemExit, or another BaseException that is no Exception
├── Answered               HTTP_URL's service answered that the entry is not done, and not that it is bad
├── NotAccepted            HTTP_URL's service takes nothing from us: the address or the key is wrong
├── NotEntered             the resource that a handler works with could not be opened
├── FitsNothing            a setting fits none of the entries that a run looked at
├── DeadLettersFull        there are as many dead letters as DEAD_LETTER_MAXLEN allows
├── CannotMove             the stream that entries are to be moved to takes none
├── NotMoved               an entry was left where it is: somebody else has it, or it waits for an earlier one
├── TooManyRequeues        an entry was given back to its group as often as MAX_REQUEUES allows
├── IdsBeganAgain          a hash holds a version that its stream has not come to yet
├── MissingField           a template names a field that the entry does not have, or that is empty
│   └── NameTaken          the entry has a field of its own where HASH_VERSION_FIELD keeps an ID
├── RejectEntry            raised by a handler: nobody can ever handle this entry, park it
└── RetryEntry             raised by a handler: the entry is not to blame, try again later
    ├── OutOfTime          the run's time was up before the entry was stored
    ├── NotReplicated      the entry is stored, and too few replicas have it (STORE_REPLICAS)
    └── TooManyHang        so many calls of a handler still run in threads that no more are begun
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from reclaim.bounded import ERROR_CHARS, NAME_CHARS, cut, shortened
from reclaim.hidden import without_secrets

MAX_SHOWN_CHARS = 60
CHOICES = 10  # how many targets an error names
MAX_PROBLEMS_BYTES = 7_000  # of all problems with settings, as they are logged in one line


class ReclaimError(Exception):
    """The base of every error that reclaim itself raises."""


class SettingsError(ReclaimError):
    """One or more settings are missing or bad.

    Attributes:
        problems: what is wrong, a sentence for each.
        warnings: what is odd besides, and what to do about it.
    """

    def __init__(self, problems: list[str], warnings: Sequence[tuple[str, str]] = ()) -> None:
        self.problems = problems
        self.warnings = tuple(warnings)
        super().__init__(cut("bad settings:\n" + "\n".join(f"  {problem}" for problem in problems), MAX_PROBLEMS_BYTES))


class ServerError(ReclaimError):
    """The app cannot use Redis; the message names the host."""


class Unreachable(ServerError):
    """Redis does not answer at this address."""


class NoToken(ServerError):
    """There is no valid Entra token; the message names the identity, what the token is for, and what gives it."""


class NotTrusted(ServerError):
    """The server's TLS certificate was not accepted."""


class Unsuitable(ServerError):
    """Nothing of ours can be done on the server as it is spoken to; no retry helps.

    Attributes:
        what: what is there.
        todo: which setting to change, or what else to do.
    """

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(f"{what}; {todo}")
        self.what = what
        self.todo = todo


class AccessDenied(ServerError):
    """Redis refused the user name, the password or a command; the message says which.

    Attributes:
        command: the command's name; None where it was the user name or the password.
    """

    def __init__(self, message: str, command: str | None = None) -> None:
        super().__init__(message)
        self.command = command


class BadRequest(ReclaimError):
    """What a person asks for is not allowed; the message names the field, its value and what is allowed."""

    def __init__(self, wrong: str, allowed: str) -> None:
        super().__init__(f"{wrong}; allowed: {allowed}")


class UnknownTarget(BadRequest):
    """A person named a target that is not configured; or several are configured and the person named none.

    Attributes:
        name: the name that the person gave; None if there was none.
        choices: the names of the configured targets, as a person reads them: of many the first, or those that are like
            the name.
    """

    def __init__(self, name: str | None, configured: Iterable[str]) -> None:
        self.name = name
        self.choices = _choices(name, list(configured))
        super().__init__(f"target is {'missing' if name is None else shown(name)}", self.choices)


def _choices(name: str | None, configured: list[str]) -> str:
    if len(configured) <= CHOICES:
        return ", ".join(configured)
    from difflib import get_close_matches  # noqa: PLC0415  # every cold start would pay for it

    some = get_close_matches(name or "", configured, n=3) or configured[:CHOICES]
    return f"{', '.join(some)} and {len(configured) - len(some):,} more"


class NoSuchEntry(ReclaimError):
    """A person asks for an entry that is neither in the stream nor among the dead letters; the message says which."""


class RunFailed(ReclaimError):
    """At least one target's run failed; the reports say what each run did."""


class LeaseHeld(ReclaimError):
    """Another run is at work on the target, and did not end while we waited; the message says which run."""


class CircuitOpen(ReclaimError):
    """The target's circuit is open, so the app refuses a request; the message says who opened it and why."""


class HandlerTimeout(ReclaimError):
    """A handler took half of RUN_BUDGET_SEC for one entry, and was stopped."""


class HandlerCancelled(ReclaimError):
    """A handler ended with CancelledError although the run had not cancelled it."""


class HandlerExited(ReclaimError):
    """A handler raised SystemExit or the like. The process does not end because of it: the entry is charged."""


class BadAnswer(ReclaimError):
    """A handler function returned what it may not, so that nobody knows what became of the entries."""


class NotEntered(ReclaimError):
    """The resource that a handler works with could not be entered. No entry is to blame, and none was claimed."""


class FitsNothing(ReclaimError):
    """A setting fits none of the entries that a run looked at; the message names the setting and an entry's fields."""


class DeadLettersFull(ReclaimError):
    """There are as many dead letters as DEAD_LETTER_MAXLEN allows, so no entry can be parked."""


class CannotMove(ReclaimError):
    """The stream that entries are to be moved to takes none; the message says why. No entry is to blame."""


class NotMoved(ReclaimError):
    """An entry was left where it is: somebody else has claimed it, or an earlier one of its order key is not moved."""


class TooManyRequeues(ReclaimError):
    """The entry was given back to its group as often as MAX_REQUEUES allows."""


class IdsBeganAgain(ReclaimError):
    """A hash holds a version that its stream has not come to yet: the stream was made anew, and its IDs began again."""


class MissingField(ReclaimError):
    """A key template names a field that the entry does not have, or that is empty."""


class NoObject(MissingField):
    """The field that HASH_FROM names holds no JSON object."""


class NameTaken(MissingField):
    """The entry does not fit the settings: a field of its own has the name of HASH_VERSION_FIELD, and would be lost."""


class RejectEntry(ReclaimError):
    """Raise it from a handler if nobody can ever handle the entry: the entry becomes a dead letter at once."""


class RetryEntry(ReclaimError):
    """Raise it from a handler if the entry is not to blame: it stays pending, and the delivery is not counted.

    Attributes:
        after_sec: how many seconds no entry of the target is to be tried, because the service that was asked says so;
            None: it does not say.
    """

    def __init__(self, *args: object, after_sec: float | None = None) -> None:
        super().__init__(*args)
        self.after_sec = after_sec


class Answered(ReclaimError):
    """The service of HTTP_URL gave an answer that means neither that the entry is done nor that it is bad.

    Attributes:
        status: the answer's HTTP status.
        headers: its headers.
    """

    def __init__(self, message: str, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class NotAccepted(ReclaimError):
    """The service of HTTP_URL takes nothing from us: what is asked, or with which key, is wrong for every entry."""


class TooManyHang(RetryEntry):
    """So many calls of a handler that is not async were given up and still run that no more are begun."""


class OutOfTime(RetryEntry):
    """The run's time was up before the entry was stored. It is not a failure of the entry or of the handler."""


class NotReplicated(RetryEntry):
    """The entry is stored, and too few replicas have it. It is not a failure of the entry or of the handler."""


def describe(exc: BaseException) -> str:
    """The error's class and text, of bounded length; the class alone where it says nothing: no colon ends it."""
    name, text = shortened(type(exc).__name__, NAME_CHARS), _text(exc)
    return f"{name}: {text}" if text else name


def said(exc: BaseException) -> str:
    """What the error says, of bounded length; its class where it says nothing. For a message that says the rest."""
    return _text(exc) or shortened(type(exc).__name__, NAME_CHARS)


def _text(exc: BaseException) -> str:
    """The error's text without secrets, and without a colon at its end. A user's class may raise when it is asked."""
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001  # a user's class may raise anything where its text is asked for
        return "(its text cannot be had)"
    return shortened(without_secrets(text.strip()), ERROR_CHARS).rstrip(": \n\t")


def shown(value: object) -> str:
    """A value that somebody sent, as JSON, shortened to MAX_SHOWN_CHARS."""
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"
