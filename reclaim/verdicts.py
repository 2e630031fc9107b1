"""Owns the verdicts: what becomes of an entry, and the only table that gives each error its verdict."""

import asyncio
import errno
import re
import socket
import ssl
from enum import Enum

from redis import exceptions as redis_errors

from reclaim.errors import (
    AccessDenied,
    HandlerCancelled,
    HandlerExited,
    HandlerTimeout,
    IdsBeganAgain,
    MissingField,
    RejectEntry,
    RetryEntry,
    ServerError,
    Unsuitable,
)


class Verdict(Enum):
    """What becomes of an entry. Every entry of a page gets exactly one."""

    DONE = "done"
    PARK = "park"
    RETRY = "retry"
    FAIL = "fail"
    HELD = "held"
    STOP = "stop"  # wrong credentials or missing permission: the entry is refunded, and the run ends with an error

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
}

_BY_TYPE: dict[type[BaseException], Verdict] = {
    MissingField: Verdict.PARK,
    IdsBeganAgain: Verdict.PARK,
    RejectEntry: Verdict.PARK,
    RetryEntry: Verdict.RETRY,
    HandlerTimeout: Verdict.FAIL,
    HandlerCancelled: Verdict.FAIL,
    HandlerExited: Verdict.FAIL,
    AccessDenied: Verdict.STOP,
    Unsuitable: Verdict.STOP,
    ServerError: Verdict.RETRY,
    redis_errors.AuthenticationError: Verdict.STOP,
    redis_errors.AuthorizationError: Verdict.STOP,
    redis_errors.NoPermissionError: Verdict.STOP,
    redis_errors.ConnectionError: Verdict.RETRY,
    redis_errors.TimeoutError: Verdict.RETRY,
    redis_errors.OutOfMemoryError: Verdict.RETRY,
    redis_errors.ReadOnlyError: Verdict.RETRY,
    redis_errors.NoScriptError: Verdict.RETRY,
    redis_errors.TryAgainError: Verdict.RETRY,
    redis_errors.AskError: Verdict.RETRY,
    redis_errors.ClusterError: Verdict.RETRY,
    redis_errors.RedisClusterException: Verdict.RETRY,
    ConnectionError: Verdict.RETRY,
    TimeoutError: Verdict.RETRY,
    asyncio.IncompleteReadError: Verdict.RETRY,
    socket.gaierror: Verdict.RETRY,
    ssl.SSLError: Verdict.RETRY,
    Exception: Verdict.FAIL,
}


def classify(exc: Exception) -> Verdict:
    """The verdict for an entry whose handling raised `exc`. The first class of its MRO that is in a table decides."""
    if type(exc) is redis_errors.ResponseError:
        return _BY_CODE.get(error_code(exc), Verdict.FAIL)
    if isinstance(exc, OSError) and (exc.errno in _NETWORK_ERRNOS or _is_of_several_addresses(exc)):
        return Verdict.RETRY
    for cls in type(exc).__mro__:
        if cls in _BY_TYPE:
            return _BY_TYPE[cls]
        if f"{cls.__module__}.{cls.__qualname__}" in _OF_LIBRARIES:
            return Verdict.RETRY
    return Verdict.FAIL


def _is_of_several_addresses(exc: OSError) -> bool:
    """Whether asyncio tried several addresses of a host and reached none. We can see that only in the error's text."""
    return exc.errno is None and str(exc).startswith("Multiple exceptions: ")


# What the operating system reports if the network or the host cannot be reached (https://man7.org/linux/man-pages/man3/errno.3.html).
_NETWORK_ERRNOS = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.ETIMEDOUT,
    }
)

# Errors of libraries that handlers may use. Each means an outage. They are here by name: we import none of them.
_OF_LIBRARIES = frozenset(
    {
        "aiohttp.client_exceptions.ClientConnectionError",
        "azure.core.exceptions.ServiceRequestError",
        "azure.core.exceptions.ServiceResponseError",
        "httpx.TransportError",
        "httpx._exceptions.TransportError",
        "httpx2.TransportError",
        "httpx2._exceptions.TransportError",
        "requests.exceptions.ConnectionError",
        "requests.exceptions.Timeout",
    }
)


def is_transient(exc: BaseException) -> bool:
    """Whether the error means an outage, so that another attempt may succeed."""
    return isinstance(exc, Exception) and classify(exc) is Verdict.RETRY


def error_code(exc: BaseException) -> str:
    """The code of a Redis error (``OOM``, ``WRONGTYPE``, …); ``ERR`` if it has no other."""
    text = str(exc)
    in_script = _IN_SCRIPT.search(text)
    code = in_script[1] if in_script else getattr(exc, "status_code", None) or text.partition(" ")[0]
    return code if code.isupper() else "ERR"


# If a command fails inside a script, Redis 6 puts text before its code: "@user_script: 18: -OOM command not allowed …".
_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z]+) ")
