"""Owns what is hidden of a text that somebody else wrote: a client's error, a service's answer.

Clients quote addresses in their errors, and an address may hold a password or a function key.
"""

import re
from collections.abc import Iterable
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

LEAST_SECRET_CHARS = 5  # a shorter part of an address may be a word of any text
_HIDDEN = "***"
_END = r"\s\"'<>)\]}"  # of an address in a text
_USER = re.compile(rf"(?<=://)[^/?#{_END}]*@")  # up to the last @: not everybody encodes the one in a password
_QUERY = re.compile(rf"(://[^?{_END}]*\?)[^{_END}]+")
_NAMES = "password|passwd|pwd|sig|signature|accountkey|sharedaccesskey|api[_-]?key|secret|token"
_QUOTED = r"\"[^\"]*\"|'[^']*'"
# As options and URLs have them, and as objects of JSON and Python do: a colon after a bare word is one of any sentence.
_NAMED = re.compile(rf"\b({_NAMES})(=)(?:{_QUOTED}|[^\s;&,\"']+)", re.IGNORECASE)
_MEMBER = re.compile(rf"([\"'](?:{_NAMES})[\"']\s*:\s*)(?:{_QUOTED})", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{5,}\.[\w-]{8,}\.[\w-]*")  # a JSON object in base64, as every token begins


def without_secrets(text: str) -> str:
    """The text without what may be a secret: users and queries of web addresses, tokens, what is called a password."""
    if "://" in text:
        text = _QUERY.sub(rf"\1{_HIDDEN}", _USER.sub(f"{_HIDDEN}@", text))
    if "=" in text:
        text = _NAMED.sub(rf"\1\2{_HIDDEN}", text)
    if ":" in text:
        text = _MEMBER.sub(rf"\1{_HIDDEN}", text)
    return _JWT.sub(_HIDDEN, text) if "eyJ" in text else text


class Secrets:
    """What a service was sent and nobody else may see: whoever answers there may repeat it."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Make it of texts that are secret; those that are too short are left out."""
        self._texts = sorted({text for text in texts if len(text) >= LEAST_SECRET_CHARS}, key=len, reverse=True)

    @classmethod
    def of_query(cls, url: str, keys: Iterable[str]) -> Self:
        """What is secret of an address whose path may be shown, and of headers with these values.

        That is its password, its query and each value in it; the values, and what follows their first word: of
        ``Bearer abc`` a service may repeat the token alone.
        """
        values = list(keys)
        words = [word for value in values for word in value.split()[1:]]
        password = urlsplit(url).password or ""
        return cls([*_of_query(url), password, unquote(password), *values, *words])

    @classmethod
    def of_address(cls, url: str, keys: Iterable[str]) -> Self:
        """All of an address but its host, each long part of it, and these keys: some have their secret in the path."""
        parts = urlsplit(url)
        texts = [url, f"{parts.path}?{parts.query}", parts.path, *parts.path.split("/"), *keys]
        return cls([*texts, *_of_query(url), *(unquote(text) for text in texts)])

    def hidden_in(self, text: str, *, is_cut: bool = False) -> str:
        """The text without them; of one that `is_cut`, without the beginning of one of them at its end."""
        for secret in self._texts:
            text = text.replace(secret, "…")
        return self._without_beginning(text) if is_cut else text

    def _without_beginning(self, text: str) -> str:
        ends = (len(one) - at for one in self._texts for at in range(1, len(one)) if text.endswith(one[:-at]))
        return text[: len(text) - max(ends, default=0)]


def _of_query(url: str) -> list[str]:
    query = urlsplit(url).query
    return [query, unquote(query), *(value for _, value in parse_qsl(query))]
