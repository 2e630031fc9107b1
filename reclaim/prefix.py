"""Owns the prefix that keeps reclaim's functions and routes apart from those of the app that they are part of."""

import re
from collections.abc import Mapping

ALLOWED = r"[A-Za-z][A-Za-z0-9_-]{0,29}"


def prefix_of(env: Mapping[str, str]) -> str:
    """RECLAIM_PREFIX, or nothing. It is asked at import, where a bad value must not keep the whole app away."""
    given = env.get("RECLAIM_PREFIX", "").strip()
    return given if re.fullmatch(ALLOWED, given) else ""


def path_of(prefix: str) -> str:
    """Where the routes are: ``/api``, or with a prefix ``/api/<prefix>``."""
    return f"/api/{prefix}" if prefix else "/api"
