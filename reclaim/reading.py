"""Owns the row of a setting, and the reading of rows from an environment with everything that is wrong told at once."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from typing import Any, Generic, NamedTuple, TypeVar

from reclaim.kinds import Kind

T = TypeVar("T")

REQUIRED: Any = MISSING  # the default of a setting that has none

_ROW = "setting"  # where a field of a dataclass keeps its row


class Setting(NamedTuple, Generic[T]):
    """One row of the table of settings.

    Attributes:
        name: the environment variable.
        default: the value without it; `REQUIRED` where there must be one.
        kind: what its values are.
        meaning: one sentence for people, in Markdown.
        short: its name in RECLAIM_TARGETS, where that is not its own name in lower case.
        is_listed: whether people are told of it; False where Azure sets it, or where only one value works so far.
    """

    name: str
    default: T
    kind: Kind[T]
    meaning: str
    short: str | None = None
    is_listed: bool = True

    @property
    def is_required(self) -> bool:
        return self.default is REQUIRED

    @property
    def key(self) -> str:
        """Its name in an object of RECLAIM_TARGETS."""
        return self.short or self.name.lower()


def setting(name: str, default: T, kind: Kind[T], meaning: str, short: str | None = None) -> T:
    """A field of a dataclass that has a row in the table; a secret is not shown with the object."""
    row = Setting(name, default, kind, meaning, short)
    made: T = field(default=default, repr=not kind.is_secret, metadata={_ROW: row})
    return made


def rows(of: type) -> dict[str, Setting[Any]]:
    """The rows of a dataclass, by the names of its fields."""
    return {one.name: one.metadata[_ROW] for one in fields(of) if _ROW in one.metadata}


class Reader:
    """Reads settings from an environment, and keeps what is wrong with them, so that it is told all at once."""

    def __init__(self, env: Mapping[str, Any], problems: list[str] | None = None, place: str = "") -> None:
        self._env = env
        self._place = place
        self.problems: list[str] = [] if problems is None else problems

    def within(self, place: str, env: Mapping[str, Any]) -> "Reader":
        """A reader of one target's own environment; problems go to the same list, and name the place."""
        return Reader(env, self.problems, place)

    def is_set(self, row: Setting[Any]) -> bool:
        """Whether the environment has a value that is not empty: a portal keeps empty ones."""
        given = self._env.get(row.name, "")
        return bool(given.strip() if row.kind.strips else given) if isinstance(given, str) else True

    def read(self, row: Setting[T]) -> T:
        """The value of a setting; its default without one, or with a bad one; an empty text where it is required."""
        if not self.is_set(row):
            if row.is_required:
                self.problems.append(f"{self._place}{row.name} is missing")
            return _fallback(row)
        given, kind = self._env[row.name], row.kind
        if not isinstance(given, str) and not kind.takes_json:
            return self._refuse(row, kind.show(json.dumps(given)), "a string")
        text = given if isinstance(given, str) else json.dumps(given)
        text = text.strip() if kind.strips else text
        shown = repr(kind.show(text))
        try:
            text.encode()
            return kind.read(text)
        except (
            UnicodeEncodeError
        ):  # JSON can name half a surrogate pair; a byte that is not UTF-8 becomes one (PEP 383)
            return self._refuse(row, shown, "text that can be encoded in UTF-8")
        except ValueError as exc:
            reason = f" ({exc})" if exc.args and not kind.is_secret else ""
            return self._refuse(row, shown, f"{kind.allowed}{reason}")

    def read_all(self, of: type) -> dict[str, Any]:
        """The values of a dataclass's settings, by the names of its fields."""
        return {name: self.read(row) for name, row in rows(of).items()}

    def problem(self, name: str, shown: str, allowed: str) -> None:
        """Keep what is wrong with a setting."""
        self.problems.append(f"{self._place}{name} is {shown}; allowed: {allowed}")

    def _refuse(self, row: Setting[T], shown: str, allowed: str) -> T:
        self.problem(row.name, shown, allowed)
        return _fallback(row)


def _fallback(row: Setting[T]) -> T:
    empty: Any = ""
    return empty if row.is_required else row.default
