"""Owns the check: one thing that the doctor looked at, and what it found there. The JSON calls a check a finding."""

from dataclasses import dataclass

from reclaim.ops.health import Health


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the doctor looked at.

    Attributes:
        health: ok, warn or fail.
        about: what the doctor looked at: ``settings``, ``connection``, …, or a target's name.
        what: what it found.
        todo: what a person should do about it; empty if all is well.
    """

    health: Health
    about: str
    what: str
    todo: str = ""

    def to_dict(self) -> dict[str, str]:
        """The same, ready for JSON."""
        return {"health": self.health.value, "about": self.about, "what": self.what, "todo": self.todo}


def ok(about: str, what: str) -> Check:
    return Check(Health.OK, about, what)


def warn(about: str, what: str, todo: str) -> Check:
    return Check(Health.WARN, about, what, todo)


def fail(about: str, what: str, todo: str) -> Check:
    return Check(Health.FAIL, about, what, todo)
