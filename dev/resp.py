"""RESP, as far as it takes to cut a stream of requests or replies into single ones."""

from collections.abc import Iterator
from dataclasses import dataclass

_STRINGS = b"$=!"
_VALUES_EACH = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}
_WITH_LENGTH = frozenset(_STRINGS) | _VALUES_EACH.keys()


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole request or reply: its bytes, and the bulk strings in it."""

    data: bytes
    strings: list[bytes]


class Framer:
    """Cuts a stream of RESP2 or RESP3 at the borders of its values (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # where the next value begins that has not been seen whole
        self._missing = 1  # values still to come until the frame is whole
        self._strings: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take what has arrived; give the frames that it completes."""
        self._buffer += data
        while self._read_value():
            if self._missing == 0:
                yield Frame(bytes(self._buffer[: self._at]), self._strings)
                del self._buffer[: self._at]
                self._at, self._missing, self._strings = 0, 1, []

    def _read_value(self) -> bool:
        """Step over one value, or the head of one that holds others; False if it is not here in full."""
        line_end = self._buffer.find(b"\r\n", self._at)
        if line_end < 0:
            return False
        kind, end = self._buffer[self._at], line_end + 2
        length = int(self._buffer[self._at + 1 : line_end]) if kind in _WITH_LENGTH else 0
        if kind in _STRINGS and length >= 0:
            end += length + 2
            if len(self._buffer) < end:
                return False
            self._strings.append(bytes(self._buffer[line_end + 2 : end - 2]))
        self._at = end
        self._missing += max(length, 0) * _VALUES_EACH.get(kind, 0) - 1
        return True
