"""Owns the dashboard's files as they are served: their bytes, their types, their tags, and what the page may do.

They hold no data and no secret. Only these files can be had, each by its name: a name is looked up, never made a path.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

# The page runs and applies its own files, calls its own app, and does nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

HEADERS = MappingProxyType(
    {
        # A browser keeps a file but asks each time whether it is still the same: all are always of one release.
        "Cache-Control": "no-cache",
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
)


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Attributes:
        content: its bytes, which are UTF-8.
        mimetype: its media type, without the charset.
        etag: a strong tag (https://www.rfc-editor.org/rfc/rfc9110#field.etag), another one for other bytes.
    """

    content: bytes
    mimetype: str
    etag: str

    def is_known_by(self, if_none_match: str) -> bool:
        """Whether a browser that sent this header ``If-None-Match`` has the file already."""
        known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return self.etag in known or known == ["*"]


@cache
def files() -> Mapping[str, File]:
    """The files by name, read when the first of them is asked for: no cold start pays for it."""
    paths = sorted((Path(__file__).parent / "dashboard").iterdir())
    return {path.name: _file(path) for path in paths if path.suffix in TYPES}


def _file(path: Path) -> File:
    content = path.read_bytes()
    return File(content, TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
