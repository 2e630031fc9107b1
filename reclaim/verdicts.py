"""Owns the verdicts: what becomes of an entry whose handling raised an error.

The nearest class that a table knows decides. An error of no known class may have been raised because of another one:
then that one decides, if it tells of an outage (`__cause__`, `__context__`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from reclaim.outages import class_names, is_outage, wrapped_by
from reclaim.outages import retry_after_sec as _asked_to_wait_sec


class Verdict(Enum):
    """What becomes of an entry. Every entry of a page gets exactly one."""

    DONE = "done"
    PARK = "park"
    RETRY = "retry"
    FAIL = "fail"
    HELD = "held"
    STOP = "stop"  # wrong credentials or missing permission: refunded, and a run that has finished nothing fails

    @property
    def settles(self) -> bool:
        """Whether the entry leaves the pending list. If it does, later entries of its order key may go on."""
        return self in _SETTLED

    @property
    def refunds(self) -> bool:
        """Whether the delivery is refunded."""
        return self in _REFUNDED


_SETTLED = frozenset({Verdict.DONE, Verdict.PARK})
_REFUNDED = frozenset({Verdict.RETRY, Verdict.HELD, Verdict.STOP})

# For some errors redis-py has no class, and raises a plain ResponseError. Then the code decides: the first word of the
# message (https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors).
_BY_CODE = {
    "WRONGTYPE": Verdict.PARK,
    "CLUSTERDOWN": Verdict.RETRY,
    "LOADING": Verdict.RETRY,
    "MASTERDOWN": Verdict.RETRY,
    "OOM": Verdict.RETRY,
    "READONLY": Verdict.RETRY,
    "BUSY": Verdict.RETRY,
    "MISCONF": Verdict.RETRY,
    "NOREPLICAS": Verdict.RETRY,
    "UNBLOCKED": Verdict.RETRY,
    "TRYAGAIN": Verdict.RETRY,
}

# Ours, and redis-py's. Names as in `outages`.
_BY_CLASS = {
    "reclaim.MissingField": Verdict.PARK,
    "reclaim.IdsBeganAgain": Verdict.PARK,
    "reclaim.RejectEntry": Verdict.PARK,
    "reclaim.TooManyRequeues": Verdict.PARK,
    "reclaim.NotMoved": Verdict.HELD,
    "reclaim.CannotMove": Verdict.STOP,
    "reclaim.NotAccepted": Verdict.STOP,
    "reclaim.RetryEntry": Verdict.RETRY,
    "reclaim.HandlerTimeout": Verdict.FAIL,
    "reclaim.HandlerCancelled": Verdict.FAIL,
    "reclaim.HandlerExited": Verdict.FAIL,
    "reclaim.BadAnswer": Verdict.FAIL,
    "reclaim.AccessDenied": Verdict.STOP,
    "reclaim.Unsuitable": Verdict.STOP,
    "reclaim.ServerError": Verdict.RETRY,
    "redis.AuthenticationError": Verdict.STOP,
    "redis.AuthorizationError": Verdict.STOP,
    "redis.NoPermissionError": Verdict.STOP,
    "redis.ConnectionError": Verdict.RETRY,
    "redis.TimeoutError": Verdict.RETRY,
    "redis.OutOfMemoryError": Verdict.RETRY,
    "redis.ReadOnlyError": Verdict.RETRY,
    "redis.NoScriptError": Verdict.RETRY,
    "redis.TryAgainError": Verdict.RETRY,
    "redis.AskError": Verdict.RETRY,
    "redis.ClusterError": Verdict.RETRY,
    "redis.RedisClusterException": Verdict.RETRY,
}


@dataclass(frozen=True, slots=True)
class OwnErrors:
    """Classes of errors that a target's settings judge themselves, before every table of ours.

    Attributes:
        retry: an outage (RETRY_ON).
        reject: a bad entry (REJECT_ON).
    """

    retry: tuple[type[BaseException], ...] = ()
    reject: tuple[type[BaseException], ...] = ()

    def verdict(self, error: BaseException) -> Verdict | None:
        """That of the nearest class, of what SQLAlchemy wraps after its own; None where no class was named."""
        for cls in type(error).__mro__:
            if cls in self.reject:
                return Verdict.PARK
            if cls in self.retry:
                return Verdict.RETRY
        wrapped = wrapped_by(error)
        return None if wrapped is None else self.verdict(wrapped)


_NO_OWN = OwnErrors()
MAX_CAUSES = 20  # of one error that are looked at: a chain may be of any length, and groups may hold groups


def classify(error: Exception, own: OwnErrors = _NO_OWN) -> Verdict:
    """The verdict for an entry whose handling raised `error`. An error whose own code fails when it is asked: FAIL."""
    try:
        return _classified(error, own)
    except Exception:  # noqa: BLE001  # attributes and texts of an error are anybody's code, and its entry goes its way
        return Verdict.FAIL


def _classified(error: Exception, own: OwnErrors) -> Verdict:
    for at, one in enumerate(_with_causes(error)):
        verdict = _of_group(one, own) if isinstance(one, BaseExceptionGroup) else _of_one(one, own)
        if verdict is None:
            continue
        if at == 0 or verdict is Verdict.RETRY:  # another error's cause tells no more than whether there was an outage
            return verdict
        break
    return Verdict.FAIL


def _of_one(error: BaseException, own: OwnErrors) -> Verdict | None:
    """The verdict for an error by itself; None where no table knows it."""
    verdict = own.verdict(error)
    if verdict is not None:
        return verdict
    for name in class_names(error):
        if name == "redis.ResponseError":
            return _BY_CODE.get(error_code(error), Verdict.FAIL)
        if name in _BY_CLASS:
            return _BY_CLASS[name]
    answer = is_outage(error)
    return None if answer is None else Verdict.RETRY if answer else Verdict.FAIL


def _of_group(group: BaseExceptionGroup[Any], own: OwnErrors) -> Verdict:
    """The verdict for errors that were raised together: the one that weighs most."""
    verdicts = {
        classify(one, own) if isinstance(one, Exception) else Verdict.FAIL for one in group.exceptions[:MAX_CAUSES]
    }
    return next(verdict for verdict in _BY_WEIGHT if verdict in verdicts)


_BY_WEIGHT = (Verdict.STOP, Verdict.PARK, Verdict.FAIL, Verdict.RETRY)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """The error, the one that it was raised because of, and so on."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen and len(seen) < MAX_CAUSES:
        yield one
        seen.add(id(one))
        one = one.__cause__ if one.__cause__ is not None or one.__suppress_context__ else one.__context__


def is_transient(error: BaseException, own: OwnErrors = _NO_OWN) -> bool:
    """Whether the error means an outage, so that another attempt may succeed."""
    return isinstance(error, Exception) and classify(error, own) is Verdict.RETRY


def retry_after_sec(error: BaseException, unix_sec: float) -> float | None:
    """How many seconds we are asked to wait before the next try; None where nobody asks.

    Args:
        error: what the handling of an entry raised: `RetryEntry` with `after_sec`, or an HTTP client's error whose
            answer has Retry-After, the error itself or one that it was raised because of.
        unix_sec: now, in seconds since 1970.
    """
    try:
        return _asked_for_sec(error, unix_sec)
    except Exception:  # noqa: BLE001  # as in `classify`
        return None


def _asked_for_sec(error: BaseException, unix_sec: float) -> float | None:
    for one in _with_causes(error):
        after_sec = getattr(one, "after_sec", None)
        if isinstance(after_sec, int | float) and after_sec >= 0:
            return float(after_sec)
        after_sec = _asked_to_wait_sec(one, unix_sec)
        if after_sec is not None:
            return after_sec
    return None


def error_code(error: BaseException) -> str:
    """The code of a Redis error (``OOM``, ``WRONGTYPE``, …); ``ERR`` if it has no other."""
    text = str(error)
    in_script = _IN_SCRIPT.search(text)
    code = in_script[1] if in_script else getattr(error, "status_code", None) or text.partition(" ")[0]
    return code if code.isupper() else "ERR"


# If a command fails inside a script, Redis 6 puts text before its code: "@user_script: 18: -OOM command not allowed …".
_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z]+) ")
