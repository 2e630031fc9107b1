"""Owns who a request comes from: the name that App Service Authentication has checked, else what the request says.

Anybody can send the headers that the platform sets. So they count only where WEBSITE_AUTH_ENABLED says that it
signs people in: there the platform takes such headers out of what comes from outside
(https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities).
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reclaim import visible
from reclaim.bounded import shortened
from reclaim.ops.words import MAX_WHO_CHARS
from reclaim.state.audit import Actor

NAME, PRINCIPAL, FORWARDED = "x-ms-client-principal-name", "x-ms-client-principal", "x-forwarded-for"
PLACE_CHARS = 100


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request comes from.

    Attributes:
        signed_in: the name of the person that the platform has signed in; None if it has signed in nobody.
        place: the address that the platform's front end has seen; empty elsewhere.
    """

    signed_in: str | None
    place: str

    def actor(self, who: str) -> Actor:
        """Who asks: the person who is signed in, else the name that the request says."""
        return Actor(self.signed_in or who, "http", self.place)


def caller(headers: Mapping[str, str], env: Mapping[str, str]) -> Caller:
    """Where a request with these headers comes from."""
    given = {name.lower(): value for name, value in headers.items()}
    is_on = env.get("WEBSITE_AUTH_ENABLED", "").strip().lower() in {"true", "1"}
    signed_in = _name(given) if is_on else None
    # Only the last address is the front end's own; whoever asks may have sent those before it.
    seen = given.get(FORWARDED, "").rpartition(",")[2].strip() if env.get("WEBSITE_INSTANCE_ID") else ""
    return Caller(signed_in, _line(seen, PLACE_CHARS))


def _name(given: Mapping[str, str]) -> str | None:
    said = given.get(NAME) or _name_in(given.get(PRINCIPAL, ""))
    return _line(said, MAX_WHO_CHARS) or None


def _name_in(principal: str) -> str:
    """The name in the claims of a principal: JSON in base64."""
    try:
        found: Any = json.loads(base64.b64decode(principal))
        kind = found["name_typ"]
        return next(str(claim["val"]) for claim in found["claims"] if claim["typ"] == kind)
    except (ValueError, KeyError, TypeError, StopIteration, RecursionError):
        return ""


def _line(text: str, most_chars: int) -> str:
    """The text on one line that can be seen; empty if nothing can be."""
    line = shortened(visible.for_a_terminal(text), most_chars)
    return line if visible.is_one_line(line) else ""
