r"""Owns the patterns of RECLAIM_TARGETS: a star stands for any bytes, ``\*`` for a star; the rest is a written name."""

import re
from dataclasses import dataclass, field
from typing import Self

from reclaim.names import name_bytes

_PIECE = re.compile(r"(\\\\)|\\(\*)|(\*)")  # an escaped backslash, an escaped star, a star


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern for names, or a name where it has no star.

    Attributes:
        text: as it was written.
        literals: what stands between its stars.
    """

    text: str
    literals: tuple[bytes, ...]
    _regex: re.Pattern[bytes] = field(repr=False, compare=False)

    @classmethod
    def of(cls, text: str) -> Self:
        r"""Read a pattern.

        Raises:
            ValueError: ``\x`` comes without two hexadecimal digits.
        """
        pieces, at = [""], 0
        for found in _PIECE.finditer(text):
            backslashes, plain_star, star = found.groups()
            pieces[-1] += text[at : found.start()] + (backslashes or plain_star or "")
            if star:
                pieces.append("")
            at = found.end()
        pieces[-1] += text[at:]
        literals = tuple(map(name_bytes, pieces))
        return cls(text, literals, re.compile(b".*".join(map(re.escape, literals)), re.DOTALL))

    @property
    def is_name(self) -> bool:
        """Whether it has no star."""
        return len(self.literals) == 1

    @property
    def weight(self) -> int:
        """How many bytes it names: of two patterns that match, the one that names more is the more specific one."""
        return sum(map(len, self.literals))

    def matches(self, name: bytes) -> bool:
        """Whether a name is one of those that it stands for."""
        return self._regex.fullmatch(name) is not None
