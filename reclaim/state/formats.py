"""Owns the format of what is kept in Redis: its version, and what is said of a version that this release does not know.

While a release takes the place of another, both work on the same keys. Each record is of format 1; one that says
nothing of its format is too. A record of any other format was written by a newer release: it is reported, nothing is
read from it but what every format has, and it is left as it is.
"""

from reclaim.bounded import cut
from reclaim.entry import readable

FORMAT = b"1"
FIELD = b"format"  # the name under which a hash or a stream's entry says its format, where it is not 1
MAX_FORMAT_BYTES = 20


def of_newer_release(what: str, version: bytes) -> str:
    """What is said of something in a format that this release does not know. The circuit's scripts say the same."""
    shown = cut(readable(version), MAX_FORMAT_BYTES)
    return f"{what} is in format {shown}, of a newer release of reclaim; this release leaves it as it is"
