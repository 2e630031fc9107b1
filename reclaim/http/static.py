"""Owns the dashboard's files: their bytes, media types and ETags, and the headers that say what the page may do.

The files hold no data and no secret. Nobody can read another file through this module: it looks the name up in a table,
and never makes a path of it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

# The page may run its own scripts, use its own style, call its own app, and do nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

HEADERS = MappingProxyType(
    {
        # A browser may keep a file, but asks each time whether it has changed: so all its files are of one release.
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
        etag: a strong tag (https://www.rfc-editor.org/rfc/rfc9110#field.etag): other bytes have another tag.
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
    """The files by name. The first request for a file reads them all, so no cold start pays for it."""
    paths = sorted((Path(__file__).parent / "dashboard").iterdir())
    return {path.name: _file(path) for path in paths if path.suffix in TYPES}


def _file(path: Path) -> File:
    content = path.read_bytes()
    return File(content, TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
