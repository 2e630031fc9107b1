"""Owns the characters that act instead of being seen, and the ways to show text that may hold them.

Anybody can write anything into a stream. A control character can steer a terminal, and a direction mark can turn a line
around (https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters). Both are shown as escapes.

The ranges below are written as Python, ECMA-262 (JSON Schema, the dashboard) and PCRE all read them between brackets.
"""

import re
from codecs import getincrementaldecoder

from reclaim.entry import readable

STEERING = r"\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
_TAB_AND_NEWLINE = r"\u0009\u000a"
_TAKES_NO_ROOM = r"\u00ad\u200b-\u200d\u2060-\u2065\u206a-\u206f"
_BLANK = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_UNSEEN = STEERING + _TAB_AND_NEWLINE + _TAKES_NO_ROOM

# One line that can be read: nothing unseen in it, and at least one character that is not blank. Python's `$` also
# matches before a newline at the end, hence the look-ahead.
ONE_LINE = rf"^[^{_UNSEEN}]*[^{_UNSEEN}{_BLANK}][^{_UNSEEN}]*$(?!\n)"

_STEERING = re.compile(f"[{STEERING}]")
_ONE_LINE = re.compile(ONE_LINE)


def is_one_line(text: str) -> bool:
    """Whether the text is one line that can be read; half a surrogate pair is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return _ONE_LINE.search(text) is not None


def for_a_page(value: bytes, most_chars: int) -> str:
    r"""The beginning of anybody's bytes as text that a page can show: tabs and newlines stay, what steers is escaped.

    Controls become ``\x1b``, marks ``\u202e``, and bytes that are not UTF-8 ``\xff``.
    """
    start = value[: 4 * most_chars]
    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    text = decoder.decode(start, final=len(start) == len(value))
    return _STEERING.sub(_escape, text[:most_chars])


def for_a_terminal(value: bytes | str) -> str:
    r"""Anybody's text or bytes on one line: everything that Python does not call printable becomes an escape.

    The escapes are those of Python: ``\x1b``, ``\n``, ``\u202e``, ``\xff``.
    """
    text = readable(value) if isinstance(value, bytes) else value
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
