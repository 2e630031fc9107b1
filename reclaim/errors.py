"""Owns the exception tree.

ReclaimError
├── SettingsError          one or more settings are missing or bad; `problems` lists them all
├── ServerError            Redis cannot be used, so the run cannot go on
│   ├── Unreachable        Redis does not answer at this address
│   ├── NotTrusted         the server's TLS certificate was not accepted
│   └── AccessDenied       wrong password, or no permission for a command
├── BadRequest             what a person asks for is not allowed; the message names the field, its value and what is
│   │                      allowed
│   └── UnknownTarget      the target that was named is not configured, or one of several has to be named
├── RunFailed              a target's run failed; raised once every target's report is out
├── LeaseHeld              another run is at work on the target, and did not end in time
├── CircuitOpen            the target's circuit is open, so what was asked for is refused
├── HandlerTimeout         a handler took longer than it may, and was stopped
├── HandlerCancelled       a handler ended with CancelledError although the run had not cancelled it
├── HandlerExited          a handler raised SystemExit, or another BaseException that is no Exception
├── MissingField           a template names a field that the entry does not have
├── RejectEntry            raised by a handler: this entry can never be handled, park it
└── RetryEntry             raised by a handler: the entry is not to blame, try again later
    └── OutOfTime          the run's time was up before the entry was stored
"""

import json
from collections.abc import Iterable

MAX_SHOWN_CHARS = 60


class ReclaimError(Exception):
    """The base of every error that reclaim itself raises."""


class SettingsError(ReclaimError):
    """One or more settings are missing or bad."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("bad settings:\n" + "\n".join(f"  {problem}" for problem in problems))


class ServerError(ReclaimError):
    """Redis cannot be used; the message names the host."""


class Unreachable(ServerError):
    """Redis does not answer at this address."""


class NotTrusted(ServerError):
    """The server's TLS certificate was not accepted."""


class AccessDenied(ServerError):
    """Redis refused the user name, the password or a command; the message says which."""


class BadRequest(ReclaimError):
    """What a person asks for is not allowed; the message names the field, its value and what is allowed."""

    def __init__(self, wrong: str, allowed: str) -> None:
        super().__init__(f"{wrong}; allowed: {allowed}")


class UnknownTarget(BadRequest):
    """The target that was named is not configured; or several are configured and none was named.

    Attributes:
        name: what was named; None for nothing.
        configured: the names of the targets that there are.
    """

    def __init__(self, name: str | None, configured: Iterable[str]) -> None:
        self.name = name
        self.configured = tuple(configured)
        super().__init__(f"target is {'missing' if name is None else shown(name)}", ", ".join(self.configured))


class RunFailed(ReclaimError):
    """At least one target's run failed; what each did is in the reports."""


class LeaseHeld(ReclaimError):
    """Another run is at work on the target, and did not end in time; the message says which."""


class CircuitOpen(ReclaimError):
    """The target's circuit is open, so what was asked for is refused; the message says who opened it, and why."""


class HandlerTimeout(ReclaimError):
    """A handler took half of RUN_BUDGET_SEC for one entry, and was stopped."""


class HandlerCancelled(ReclaimError):
    """A handler ended with CancelledError although the run had not cancelled it."""


class HandlerExited(ReclaimError):
    """A handler raised SystemExit or the like. The process does not end for it: the entry is charged."""


class MissingField(ReclaimError):
    """A key template names a field that the entry does not have."""


class RejectEntry(ReclaimError):
    """Raise it from a handler for an entry that can never be handled: the entry becomes a dead letter at once."""


class RetryEntry(ReclaimError):
    """Raise it from a handler if the entry is not to blame: it stays pending, and the delivery is not counted."""


class OutOfTime(RetryEntry):
    """The run's time was up before the entry was stored. It is not a failure of the entry or of the handler."""


def describe(exc: BaseException) -> str:
    """The error's class and text. An error class of a user's may fail to give its text."""
    try:
        return f"{type(exc).__name__}: {exc}"
    except Exception:  # noqa: BLE001  # a user's class may raise anything where its text is asked for
        return f"{type(exc).__name__} (its text cannot be had)"


def shown(value: object) -> str:
    """A value that somebody sent, as JSON, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"
