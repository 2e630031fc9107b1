"""Owns the check: one thing that the doctor looked at, and what was found. The JSON calls it a finding."""

from dataclasses import dataclass

from reclaim.ops.health import Health


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the doctor looked at.

    Attributes:
        health: ok, warn or fail.
        about: what was looked at: ``settings``, ``connection``, …, or a target's name.
        what: what was found.
        todo: what to do about it; empty where all is well.
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
