"""Owns how a traceback is shown: its end, from the user's own code on, of bounded length.

The lines of our own package at its beginning are left out: they are the same for every error of a handler.
"""

import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from reclaim.bounded import cut, cut_start
from reclaim.errors import describe
from reclaim.hidden import without_secrets

LETTER_BYTES = 2_000  # of a traceback that is kept in a dead letter
LOG_BYTES = 4_000  # of one that is logged
LINE_BYTES = 400  # of one line in it
MAX_FRAMES = 50  # of each error in the chain: the last ones
MAX_CAUSES = 3

_DOOR = str(Path(__file__).parent / "handlers" / "function.py")  # the only place where we call the user's code


def of_user(error: BaseException) -> TracebackType | None:
    """The part of the error's traceback that begins in the user's function; None where it does not come from there.

    What is before it is ours, and where the call was tried again, of what tries again.
    """
    at, users = error.__traceback__, None
    while at is not None:
        if at.tb_frame.f_code.co_filename == _DOOR:
            users = at.tb_next
        at = at.tb_next
    return users


def last_frames(error: BaseException, most_bytes: int = LETTER_BYTES) -> str:
    """The end of the error's traceback, then what caused it; empty where it does not come from the user's function.

    The newest call comes last, as Python writes it.
    """
    users = of_user(error)
    if users is None:
        return ""
    try:
        frames = "".join(traceback.format_tb(users, limit=-MAX_FRAMES)).rstrip("\n").split("\n")
        lines = [cut(line, LINE_BYTES) for line in frames]
        lines += [f"because of {cut(describe(cause), LINE_BYTES)}" for cause in _causes(error)]
    except Exception:  # noqa: BLE001  # whatever a user's error raises when it is asked, its entry goes its way
        return ""
    return cut_start("\n".join(lines), most_bytes)


def whole(error: BaseException, frames: TracebackType | None, most_bytes: int = LOG_BYTES) -> str:
    """The end of a traceback of the error, then of those of its causes, as Python writes it."""
    try:
        found = traceback.TracebackException(type(error), error, frames, limit=-MAX_FRAMES, compact=True)
        text = without_secrets("".join(found.format()))
        lines = [cut(line, LINE_BYTES) for line in text.rstrip("\n").split("\n")]
    except Exception:  # noqa: BLE001  # as above
        return f"{describe(error)} (its traceback cannot be had)"
    return cut_start("\n".join(lines), most_bytes)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What the error was raised from, the nearest first."""
    for _ in range(MAX_CAUSES):
        cause = error.__cause__ if error.__suppress_context__ else error.__context__
        if cause is None:
            return
        yield cause
        error = cause
