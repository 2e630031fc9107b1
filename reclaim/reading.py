"""Owns the row of a setting, and reads rows from an environment. It collects all problems, to tell them together."""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from typing import Any, Generic, NamedTuple, TypeVar

from reclaim.address import BadValue
from reclaim.errors import said
from reclaim.kinds import TARGETS, Kind

T = TypeVar("T")

REQUIRED: Any = MISSING  # stands in a row in place of the default: the setting must be set

_ROW = "setting"  # where a field of a dataclass keeps its row

# What Azure leaves in a setting whose reference it could not resolve
# (https://learn.microsoft.com/azure/app-service/app-service-key-vault-references#troubleshoot-key-vault-references).
_REFERENCES = {"@microsoft.keyvault(": "Key Vault", "@microsoft.appconfiguration(": "App Configuration"}

# A text in the wrong place may be one that holds a secret: a URL with a login, options such as `password=…`, or a
# command such as `redis-cli -a …`.
_MAY_HOLD_A_SECRET = re.compile(
    r"@|(pass|pwd|\bpw|secret|token|key|sig)\w*[\"']?\s*[=:]|\b(auth|requirepass)\s|(^|\s)--?[a-z]"
    r"|[,;][^,;=]+=|^[\w+.-]+://.*[?#]|rediss?:/",
    re.IGNORECASE | re.DOTALL,
)


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


class Warned(NamedTuple):
    """What is odd about the settings and stops nothing; and what to do about it."""

    what: str
    todo: str


def setting(name: str, default: T, kind: Kind[T], meaning: str, short: str | None = None) -> T:
    """A field of a dataclass that has a row in the table. The repr of the object leaves a secret out."""
    row = Setting(name, default, kind, meaning, short)
    made: T = field(default=default, repr=not kind.is_secret, metadata={_ROW: row})
    return made


def rows(of: type) -> dict[str, Setting[Any]]:
    """The rows of a dataclass, by the names of its fields."""
    return {one.name: one.metadata[_ROW] for one in fields(of) if _ROW in one.metadata}


class Reader:
    """Reads settings from an environment, and collects what is wrong with them, so that one error can tell it all.

    Attributes:
        problems: why the settings cannot be used.
        warnings: what is odd about them.
    """

    def __init__(self, env: Mapping[str, Any]) -> None:
        self._env = env
        self._place = ""
        self._shared: frozenset[str] = frozenset()
        self.problems: list[str] = []
        self.warnings: list[Warned] = []

    def within(self, place: str, own: Mapping[str, Any], shared: Mapping[str, Any]) -> "Reader":
        """A reader of one target: its own settings over those that it shares.

        Problems and warnings go to the same lists. They name the place, unless the setting is a shared one.
        """
        reader = Reader({**shared, **own})
        reader._place, reader._shared = place, frozenset(shared.keys() - own.keys())
        reader.problems, reader.warnings = self.problems, self.warnings
        return reader

    def name(self, row: Setting[Any]) -> str:
        """What a person knows the setting by: ``LANES``, or ``RECLAIM_TARGETS[3].lanes``."""
        return f"{self._place}{row.key}" if self._place and row.name not in self._shared else row.name

    def is_set(self, row: Setting[Any]) -> bool:
        """Whether the environment has a value that is not empty: Azure's portal keeps empty values."""
        given = self._env.get(row.name, "")
        return bool(given.strip() if row.kind.strips else given) if isinstance(given, str) else True

    def read(self, row: Setting[T]) -> T:
        """The value of a setting. If the value is missing or bad: the default, or an empty text if there is none."""
        if not self.is_set(row):
            if row.is_required:
                self.problems.append(f"{self.name(row)} is missing")
            return _fallback(row)
        given, kind = self._env[row.name], row.kind
        if not isinstance(given, str) and not kind.takes_json:
            return self._refuse(row, _shown(kind, json.dumps(given)), "a string")
        text = self._text(row, given) if isinstance(given, str) else json.dumps(given)
        for beginning, service in _REFERENCES.items():
            # The list of targets is searched by the settings in it, which know their places.
            if text.lower().startswith(beginning) or (beginning in text.lower() and kind is not TARGETS):
                what = f"a {service} reference that was not resolved"
                return self._refuse(row, what, "a reference that the app's identity may read, or the value itself")
        shown = repr(_shown(kind, text))
        try:
            text.encode()
            return kind.read(text)
        except UnicodeEncodeError:
            # The text has half a surrogate pair: JSON can name one, and Python makes one of a byte that is not UTF-8.
            return self._refuse(row, shown, "text that can be encoded in UTF-8")
        except ValueError as exc:
            may_be_told = isinstance(exc, BadValue) or _shown(kind, text) == text
            reason = f" ({said(exc)})" if exc.args and may_be_told else ""
            return self._refuse(row, shown, f"{kind.allowed}{reason}")

    def read_all(self, of: type) -> dict[str, Any]:
        """The values of a dataclass's settings, by the names of its fields."""
        return {name: self.read(row) for name, row in rows(of).items()}

    def problem(self, name: str, shown: str, allowed: str) -> None:
        """Add to `problems` what is wrong with a setting."""
        problem = f"{name} is {shown}; allowed: {allowed}"
        if problem not in self.problems:  # several targets may share one bad setting
            self.problems.append(problem)

    def _text(self, row: Setting[Any], given: str) -> str:
        """The text without the space around it; of a secret that may hold space, without one line break at its end.

        ``echo secret | base64`` leaves one in a mounted secret, where nobody sees it.
        """
        if row.kind.strips:
            return given.strip()
        text = given.removesuffix("\n").removesuffix("\r") if given.endswith("\n") else given
        if text != given:
            what = f"{self.name(row)} ends with a line break, which was taken for no part of it"
            self.warnings.append(Warned(what, "store it without the line break: printf instead of echo"))
        return text

    def _refuse(self, row: Setting[T], shown: str, allowed: str) -> T:
        self.problem(self.name(row), shown, allowed)
        return _fallback(row)


def _shown(kind: Kind[Any], text: str) -> str:
    """What may be shown of a text that is refused."""
    return "***" if kind.show is str and _MAY_HOLD_A_SECRET.search(text) else kind.show(text)


def _fallback(row: Setting[T]) -> T:
    empty: Any = ""
    return empty if row.is_required else row.default
