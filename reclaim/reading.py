"""Owns the row of a setting, and reads rows from an environment. It collects all problems, to tell them together."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from typing import Any, Generic, NamedTuple, TypeVar

from reclaim.kinds import Kind

T = TypeVar("T")

REQUIRED: Any = MISSING  # stands in a row in place of the default: the setting must be set

_ROW = "setting"  # where a field of a dataclass keeps its row


class Setting(NamedTuple, Generic[T]):
    """One row of the table of settings.

    Attributes:
        name: the environment variable.
        default: the value if the variable is not set; `REQUIRED` if it must be set.
        kind: which values it may have.
        meaning: one sentence for people, in Markdown.
        short: its name in RECLAIM_TARGETS, if that is not `name` in lower case.
        is_listed: whether the documents list it; False if Azure sets it, or if only one value works so far.
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
    """A field of a dataclass that has a row in the table. The repr of the object leaves a secret out."""
    row = Setting(name, default, kind, meaning, short)
    made: T = field(default=default, repr=not kind.is_secret, metadata={_ROW: row})
    return made


def rows(of: type) -> dict[str, Setting[Any]]:
    """The rows of a dataclass, by the names of its fields."""
    return {one.name: one.metadata[_ROW] for one in fields(of) if _ROW in one.metadata}


class Reader:
    """Reads settings from an environment, and collects what is wrong with them, so that one error can tell it all."""

    def __init__(self, env: Mapping[str, Any], problems: list[str] | None = None, place: str = "") -> None:
        self._env = env
        self._place = place
        self.problems: list[str] = [] if problems is None else problems

    def within(self, place: str, env: Mapping[str, Any]) -> "Reader":
        """A reader of one target's own environment. It adds its problems to our list; each problem names the place."""
        return Reader(env, self.problems, place)

    def is_set(self, row: Setting[Any]) -> bool:
        """Whether the environment has a value that is not empty: Azure's portal keeps empty values."""
        given = self._env.get(row.name, "")
        return bool(given.strip() if row.kind.strips else given) if isinstance(given, str) else True

    def read(self, row: Setting[T]) -> T:
        """The value of a setting. If the value is missing or bad: the default, or an empty text if there is none."""
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
        except UnicodeEncodeError:
            # The text has half a surrogate pair: JSON can name one, and Python makes one of a byte that is not UTF-8.
            return self._refuse(row, shown, "text that can be encoded in UTF-8")
        except ValueError as exc:
            reason = f" ({exc})" if exc.args and not kind.is_secret else ""
            return self._refuse(row, shown, f"{kind.allowed}{reason}")

    def read_all(self, of: type) -> dict[str, Any]:
        """The values of a dataclass's settings, by the names of its fields."""
        return {name: self.read(row) for name, row in rows(of).items()}

    def problem(self, name: str, shown: str, allowed: str) -> None:
        """Add to `problems` what is wrong with a setting."""
        self.problems.append(f"{self._place}{name} is {shown}; allowed: {allowed}")

    def _refuse(self, row: Setting[T], shown: str, allowed: str) -> T:
        self.problem(row.name, shown, allowed)
        return _fallback(row)


def _fallback(row: Setting[T]) -> T:
    empty: Any = ""
    return empty if row.is_required else row.default
