"""Owns the check of what a person says: a name and a reason that everybody can read later."""

from reclaim import visible
from reclaim.errors import BadRequest, shown

MAX_REASON_CHARS, MAX_WHO_CHARS = 500, 100


def check_words(reason: str, who: str) -> None:
    """Check the reason and the person's name: everybody must be able to read them later.

    Raises:
        BadRequest: one of them is not one line that a person can read, or it is too long.
    """
    check_line("reason", reason, MAX_REASON_CHARS)
    check_line("who", who, MAX_WHO_CHARS)


def check_line(name: str, text: str, most_chars: int) -> None:
    if len(text) > most_chars or not visible.is_one_line(text):
        allowed = f"1 to {most_chars} characters on one line that can be seen, not all of them blank"
        raise BadRequest(f"{name} is {shown(text)}", allowed)
