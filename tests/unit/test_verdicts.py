"""classify(): the one table that says what becomes of an entry whose handling raised."""

import asyncio
import errno
import socket
import ssl

import aiohttp
import httpx2
import pytest
from redis import exceptions as redis_errors

from reclaim.errors import (
    AccessDenied,
    HandlerCancelled,
    HandlerTimeout,
    MissingField,
    NotTrusted,
    OutOfTime,
    RejectEntry,
    RetryEntry,
    Unreachable,
    describe,
)
from reclaim.verdicts import Verdict, classify, error_code, is_transient

REQUEST = httpx2.Request("GET", "https://example.net/")
RESPONSE = httpx2.Response(503, request=REQUEST)
IN_SCRIPT_OF_6 = "Error running script (call to f_0123456789abcdef): @user_script:18: @user_script: 18: -%s"


class Mine(httpx2.ConnectTimeout):
    """What a handler may make of a library's error."""


class Rejected(RejectEntry):
    """A kind of rejection of the user's own."""


class Away(ConnectionError, ValueError):
    """Of two classes in the table the nearer one counts."""


RETRY = [
    OSError(errno.ENETUNREACH, "Network is unreachable"),
    OSError(errno.EHOSTUNREACH, "No route to host"),
    OSError(errno.ENETDOWN, "Network is down"),
    OSError(errno.ETIMEDOUT, "Connection timed out"),
    OSError(errno.ECONNREFUSED, "Connection refused"),
    OSError(errno.EPIPE, "Broken pipe"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    ConnectionResetError(),
    ConnectionError(),
    TimeoutError(),
    asyncio.IncompleteReadError(b"", 1),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    ssl.SSLError("handshake"),
    Away(),
    httpx2.ConnectError("refused"),
    httpx2.ConnectTimeout("slow"),
    httpx2.ReadTimeout("slow"),
    httpx2.ReadError("cut"),
    httpx2.RemoteProtocolError("cut"),
    Mine("slow"),
    aiohttp.ClientConnectionError(),
    aiohttp.ClientOSError(errno.ECONNRESET, "reset"),
    aiohttp.ServerDisconnectedError(),
    aiohttp.ServerTimeoutError(),
    aiohttp.ClientPayloadError("cut"),
    httpx2.HTTPStatusError("503", request=REQUEST, response=RESPONSE),
    redis_errors.ConnectionError("Connection closed by server."),
    redis_errors.TimeoutError("Timeout reading from cache"),
    redis_errors.BusyLoadingError(),
    redis_errors.OutOfMemoryError("command not allowed"),
    redis_errors.ReadOnlyError(),
    redis_errors.ClusterDownError("CLUSTERDOWN"),
    redis_errors.TryAgainError(),
    redis_errors.NoScriptError(),
    RetryEntry("later"),
    OutOfTime("late"),
    Unreachable("no connection"),
    NotTrusted("certificate"),
    *(
        redis_errors.ResponseError(f"{code} whatever")
        for code in "OOM LOADING READONLY CLUSTERDOWN MASTERDOWN MISCONF BUSY NOREPLICAS UNBLOCKED".split()  # noqa: SIM905  # a list of nine is no clearer
    ),
    redis_errors.ResponseError(IN_SCRIPT_OF_6 % "OOM command not allowed when used memory > 'maxmemory'."),
    redis_errors.ResponseError(IN_SCRIPT_OF_6 % "READONLY You can't write against a read only replica."),
    redis_errors.ResponseError(IN_SCRIPT_OF_6 % "MISCONF Redis is configured to save RDB snapshots, but …"),
]

FAIL = [
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(),
    OSError("no number"),
    ValueError(),
    KeyError("id"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ExceptionGroup("several", [ConnectionError(), ValueError()]),
    HandlerTimeout("hangs"),
    HandlerCancelled("cancelled"),
    httpx2.InvalidURL("bad"),
    aiohttp.InvalidURL("worse"),
    redis_errors.DataError("bad value"),
    redis_errors.ResponseError("ERR unknown command"),
    redis_errors.ResponseError("wrongtype in small letters"),
    redis_errors.ResponseError(""),
]

PARK = [
    MissingField("no field"),
    RejectEntry("bad"),
    Rejected("worse"),
    redis_errors.ResponseError("WRONGTYPE Operation against a key"),
    redis_errors.ResponseError(IN_SCRIPT_OF_6 % "WRONGTYPE Operation in a script"),
]

STOP = [
    AccessDenied("NOPERM"),
    redis_errors.AuthenticationError("invalid password"),
    redis_errors.AuthorizationError(),
    redis_errors.NoPermissionError("this user has no permissions"),
]


def named(error: Exception) -> str:
    return f"{type(error).__name__}-{str(error).rpartition('-')[2][:40]}"


@pytest.mark.G5
@pytest.mark.parametrize("error", RETRY, ids=named)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    """Nobody's fault but the network's or the server's."""
    assert classify(error) is Verdict.RETRY
    assert is_transient(error)


@pytest.mark.parametrize("error", FAIL, ids=named)
def test_what_the_handler_got_wrong_fails(error: Exception) -> None:
    """A delivery is charged, and tenacity does not try again."""
    assert classify(error) is Verdict.FAIL
    assert not is_transient(error)


@pytest.mark.parametrize("error", PARK, ids=named)
def test_what_is_bad_for_good_is_parked(error: Exception) -> None:
    """No further attempt would help."""
    assert classify(error) is Verdict.PARK
    assert not is_transient(error)


@pytest.mark.parametrize("error", STOP, ids=named)
def test_wrong_credentials_and_permissions_stop_the_run(error: Exception) -> None:
    """Every other entry would meet the same."""
    assert classify(error) is Verdict.STOP
    assert not is_transient(error)


def test_what_does_not_settle_an_entry_is_refunded_unless_it_failed() -> None:
    """The two properties of a verdict that the run goes by."""
    assert {verdict for verdict in Verdict if verdict.settles} == {Verdict.DONE, Verdict.PARK}
    assert {verdict for verdict in Verdict if verdict.refunds} == {Verdict.RETRY, Verdict.HELD, Verdict.STOP}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("WRONGTYPE Operation against a key", "WRONGTYPE"),
        ("unknown command 'X'", "ERR"),
        (IN_SCRIPT_OF_6 % "OOM command not allowed", "OOM"),
        ("", "ERR"),
    ],
)
def test_the_code_of_an_error_is_found_in_its_text(text: str, code: str) -> None:
    """Also inside the words of a script."""
    assert error_code(redis_errors.ResponseError(text)) == code


def test_an_error_without_words_is_described_all_the_same() -> None:
    """What goes into dead letters and logs."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(Mute()) == "Mute: (its text cannot be had)"
    assert describe(ValueError("seven")) == "ValueError: seven"
