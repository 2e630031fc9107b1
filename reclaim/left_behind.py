"""Owns whether this process has left something of the user's behind: it was to end, was given up, and may still run."""

from threading import Event

_SOME = Event()


def note() -> None:
    """Say that something was given up."""
    _SOME.set()


def is_some() -> bool:
    """Whether something was ever given up in this process."""
    return _SOME.is_set()
