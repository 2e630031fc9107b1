"""Owns the finding: one thing that the doctor looked at."""

from dataclasses import dataclass

from reclaim.ops.health import Health


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

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


def ok(about: str, what: str) -> Finding:
    return Finding(Health.OK, about, what)


def warn(about: str, what: str, todo: str) -> Finding:
    return Finding(Health.WARN, about, what, todo)


def fail(about: str, what: str, todo: str) -> Finding:
    return Finding(Health.FAIL, about, what, todo)
