r"""Owns how names are written as text: ``\xNN`` is a byte, ``\\`` a backslash.

Redis takes any bytes as the name of a stream, group, consumer or field. Spring, for one, names a stream
``\xac\xed\x00\x05t\x00\x06orders``, as Java writes it
(https://docs.spring.io/spring-data/redis/reference/redis/template.html). An environment cannot hold such bytes, and a
log should not. A backslash before anything else stands for itself.
"""

import re

_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(x)|\\)")


def name_bytes(text: str) -> bytes:
    r"""The bytes that a written name stands for.

    Raises:
        ValueError: ``\x`` comes without two hexadecimal digits.
    """
    return _ESCAPE.sub(_byte, text.encode())


def written(name: bytes) -> str:
    """A name as a setting has it: what can be seen and read as it is, every other byte as an escape.

    `name_bytes` makes the same bytes of it again, and two names are never written alike.
    """
    text = name.decode(errors="surrogateescape")
    if text.isprintable() and "\\" not in text and text == text.strip(" "):
        return text
    shown = [_shown(char) for char in text]
    for at in (0, -1):
        shown[at] = r"\x20" if shown[at] == " " else shown[at]
    # A backslash is an escape of its own only where it would else begin one.
    followers = [*shown[1:], ""]
    return "".join(
        r"\x5c" if one == "\\" and after[:1] in {"\\", "x"} else one
        for one, after in zip(shown, followers, strict=True)
    )


def _byte(found: re.Match[bytes]) -> bytes:
    digits, cut_short = found.groups()
    if cut_short:
        raise ValueError(r"\x takes two hexadecimal digits; a backslash is \\")
    return bytes([int(digits, 16)]) if digits else b"\\"


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors="surrogateescape"))
