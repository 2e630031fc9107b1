"""Owns the list of dangerous characters, which do something instead of being seen, and shows text without them.

Anybody can write anything into a stream. A control character can steer a terminal, and a direction mark can turn a line
around (https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters). We show both as escapes.

Each range below means the same to Python, to ECMA-262 (JSON Schema, the dashboard) and to PCRE, between brackets.
"""

import re
from codecs import getincrementaldecoder

from reclaim.entry import readable

STEERING = r"\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
_TAB_AND_NEWLINE = r"\u0009\u000a"
_TAKES_NO_ROOM = r"\u00ad\u200b-\u200d\u2060-\u2065\u206a-\u206f"
_BLANK = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_UNSEEN = STEERING + _TAB_AND_NEWLINE + _TAKES_NO_ROOM

# One line that a person can read: it has no unseen character, and at least one that is not blank. Python's `$` also
# matches before a newline at the end; the look-ahead excludes that.
ONE_LINE = rf"^[^{_UNSEEN}]*[^{_UNSEEN}{_BLANK}][^{_UNSEEN}]*$(?!\n)"

_STEERING = re.compile(f"[{STEERING}]")
_ONE_LINE = re.compile(ONE_LINE)


def is_one_line(text: str) -> bool:
    """Whether the text is one line that a person can read. A text with half a surrogate pair is not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return _ONE_LINE.search(text) is not None


def for_a_page(value: bytes, most_chars: int) -> str:
    r"""The beginning of bytes that anybody may have written, as text that the dashboard can show.

    Tabs and newlines stay. A control character becomes an escape such as ``\x1b``, a direction mark ``\u202e``, and a
    byte that is not UTF-8 ``\xff``.
    """
    start = value[: 4 * most_chars]
    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    text = decoder.decode(start, final=len(start) == len(value))
    return _STEERING.sub(_escape, text[:most_chars])


def for_a_terminal(value: bytes | str) -> str:
    r"""Text or bytes that anybody may have written, on one line. A character that is not printable becomes an escape.

    Python says what is printable. The escapes are Python's: ``\x1b``, ``\n``, ``\u202e``, ``\xff``.
    """
    text = readable(value) if isinstance(value, bytes) else value
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
