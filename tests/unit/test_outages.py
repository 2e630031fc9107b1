"""Whose outage it is, told by the errors that the real packages raise; none of them is imported by us (G5)."""

import errno
import http.client
import sqlite3
import ssl
import subprocess
import sys
import urllib.error
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime
from types import SimpleNamespace

import aiohttp
import aiokafka.errors
import aiomysql
import asyncpg
import azure.core.exceptions as azure_errors
import botocore.exceptions as amazon_errors
import confluent_kafka
import grpc
import httpx
import httpx2
import kafka.errors
import psycopg
import psycopg.errors
import psycopg2
import psycopg2.errors
import psycopg2.pool
import psycopg_pool
import pymongo.errors
import pymysql
import pytest
import requests
import sqlalchemy.exc
import urllib3.exceptions
from azure.cosmos import exceptions as cosmos_errors
from azure.servicebus import exceptions as servicebus_errors
from multidict import CIMultiDict, CIMultiDictProxy
from redis import exceptions as redis_errors
from yarl import URL

from reclaim.errors import RejectEntry, RetryEntry
from reclaim.outages import is_outage
from reclaim.verdicts import OwnErrors, Verdict, classify, is_transient, retry_after_sec

NOW = 1_800_000_000.0
OUTAGES = (408, 425, 429, 502, 503, 504)
FAILURES = (400, 401, 403, 404, 409, 413, 422, 500, 501, 505, 507)
SITE = "http://127.0.0.1:1/"


# --- one error of each kind, with a status or a state -----------------------------------------------------------------


def by_httpx(status: int, **headers: str) -> Exception:
    request = httpx.Request("GET", SITE)
    return raised_by(httpx.Response(status, request=request, headers=headers).raise_for_status)


def by_httpx2(status: int, **headers: str) -> Exception:
    request = httpx2.Request("GET", SITE)
    return raised_by(httpx2.Response(status, request=request, headers=headers).raise_for_status)


def by_requests(status: int, **headers: str) -> Exception:
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers)
    return raised_by(response.raise_for_status)


def by_aiohttp(status: int, **headers: str) -> Exception:
    info = aiohttp.RequestInfo(URL(SITE), "GET", CIMultiDictProxy(CIMultiDict()), URL(SITE))
    return aiohttp.ClientResponseError(info, (), status=status, headers=CIMultiDict(headers))


def by_azure(status: int, **headers: str) -> Exception:
    return azure_errors.HttpResponseError(response=SimpleNamespace(status_code=status, reason="", headers=headers))


def by_cosmos(status: int, **headers: str) -> Exception:
    answer = SimpleNamespace(status_code=status, reason="", headers=headers)
    return cosmos_errors.CosmosHttpResponseError(status_code=status, message="", response=answer)


def by_botocore(status: int, **headers: str) -> Exception:
    facts = {"HTTPStatusCode": status, "HTTPHeaders": {name.lower(): value for name, value in headers.items()}}
    return amazon_errors.ClientError({"Error": {"Code": "Odd"}, "ResponseMetadata": facts}, "PutItem")


def by_urllib(status: int, **headers: str) -> Exception:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    return urllib.error.HTTPError(SITE, status, "", message, None)


def raised_by(call: object) -> Exception:
    try:
        call()
    except Exception as exc:  # noqa: BLE001  # whatever it raises is what is wanted
        return exc
    raise AssertionError("nothing was raised")


BY_STATUS = [by_httpx, by_httpx2, by_requests, by_aiohttp, by_azure, by_cosmos, by_botocore, by_urllib]


def by_postgres(module: object, name: str) -> Exception:
    return getattr(module, name)("told by the server")


def by_psycopg2(code: str) -> Exception:
    """Psycopg 2 sets the SQLSTATE itself, by `__setstate__` too."""
    error = psycopg2.errors.lookup(code)("told by the server")
    error.__setstate__({"pgcode": code})
    return error


def wrapped(error: Exception, *, invalidated: bool = False) -> Exception:
    """As SQLAlchemy wraps what a driver raises."""
    made = sqlalchemy.exc.DBAPIError.instance(
        "INSERT", {}, error, type(error).__mro__[-3], connection_invalidated=invalidated
    )
    assert isinstance(made, sqlalchemy.exc.StatementError)
    return made


def of_mongo(code: int, *labels: str) -> Exception:
    return pymongo.errors.OperationFailure("told", code, {"errorLabels": list(labels)})


class RpcError(grpc.RpcError):
    """As a call of gRPC raises it."""

    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(code)
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


def aio_rpc_error(code: grpc.StatusCode) -> Exception:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


OUTAGE = [
    # PostgreSQL
    psycopg.OperationalError("connection failed: Connection refused"),
    psycopg.errors.CannotConnectNow("the database system is starting up"),
    psycopg.errors.AdminShutdown("terminating connection due to administrator command"),
    psycopg.errors.TooManyConnections("sorry, too many clients already"),
    psycopg.errors.SerializationFailure("could not serialize access"),
    psycopg.errors.DeadlockDetected("deadlock detected"),
    psycopg.errors.DiskFull("could not extend file"),
    psycopg.errors.IoError("could not read block"),
    psycopg.InterfaceError("the connection is closed"),
    psycopg_pool.PoolTimeout("couldn't get a connection after 30.00 sec"),
    psycopg_pool.PoolClosed("the pool is already closed"),
    psycopg2.OperationalError("could not connect to server"),
    by_psycopg2("57P01"),
    by_psycopg2("57P03"),
    by_psycopg2("53300"),
    by_psycopg2("40P01"),
    psycopg2.InterfaceError("connection already closed"),
    psycopg2.pool.PoolError("connection pool exhausted"),
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.AdminShutdownError("terminating connection"),
    asyncpg.DeadlockDetectedError("deadlock detected"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InterfaceError("pool is closing"),
    # MySQL
    pymysql.err.OperationalError(2003, "Can't connect to MySQL server"),
    pymysql.err.OperationalError(2006, "MySQL server has gone away"),
    pymysql.err.OperationalError(1040, "Too many connections"),
    pymysql.err.OperationalError(1213, "Deadlock found when trying to get lock"),
    pymysql.err.OperationalError(3572, "lock(s) could not be acquired immediately and NOWAIT is set"),
    pymysql.err.InterfaceError(0, ""),
    aiomysql.OperationalError(2013, "Lost connection to MySQL server during query"),
    aiomysql.OperationalError(1290, "The MySQL server is running with the --read-only option"),
    # SQLAlchemy
    wrapped(psycopg.OperationalError("connection failed")),
    wrapped(psycopg2.OperationalError("could not connect")),
    wrapped(pymysql.err.OperationalError(2003, "Can't connect")),
    wrapped(psycopg.errors.UniqueViolation("odd, but the connection is gone"), invalidated=True),
    sqlalchemy.exc.TimeoutError("QueuePool limit of size 5 overflow 10 reached"),
    # MongoDB
    pymongo.errors.ServerSelectionTimeoutError("no servers found yet"),
    pymongo.errors.AutoReconnect("connection closed"),
    pymongo.errors.NetworkTimeout("timed out"),
    pymongo.errors.NotPrimaryError("not primary"),
    pymongo.errors.WaitQueueTimeoutError("timed out while checking out a connection"),
    pymongo.errors.WTimeoutError("waiting for replication timed out"),
    of_mongo(11600),
    of_mongo(0, "RetryableWriteError"),
    # HTTP, the network
    httpx.ConnectError("refused"),
    httpx.PoolTimeout("no connection was free"),
    httpx.RemoteProtocolError("cut"),
    httpx2.ReadError("cut"),
    aiohttp.ServerDisconnectedError(),
    aiohttp.ClientPayloadError("cut"),
    aiohttp.ClientOSError(errno.ECONNRESET, "reset"),
    requests.ConnectionError("refused"),
    requests.Timeout("slow"),
    requests.exceptions.ChunkedEncodingError("cut"),
    urllib3.exceptions.NewConnectionError(None, "refused"),
    urllib3.exceptions.ProtocolError("cut"),
    urllib3.exceptions.ReadTimeoutError(None, SITE, "slow"),
    urllib3.exceptions.MaxRetryError(None, SITE, urllib3.exceptions.ProtocolError("cut")),
    urllib.error.URLError(ConnectionRefusedError(errno.ECONNREFUSED, "refused")),
    urllib.error.URLError("timed out"),
    http.client.IncompleteRead(b""),
    http.client.RemoteDisconnected("closed"),
    ssl.SSLError("handshake"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect call failed"),
    # Azure
    azure_errors.ServiceRequestError("refused"),
    azure_errors.ServiceResponseError("cut"),
    azure_errors.IncompleteReadError("cut"),
    cosmos_errors.CosmosClientTimeoutError(),
    servicebus_errors.ServiceBusConnectionError(message="away"),
    servicebus_errors.ServiceBusServerBusyError(message="busy"),
    servicebus_errors.OperationTimeoutError(message="slow"),
    servicebus_errors.ServiceBusQuotaExceededError(message="full"),
    # Amazon
    amazon_errors.EndpointConnectionError(endpoint_url=SITE),
    amazon_errors.ConnectTimeoutError(endpoint_url=SITE),
    amazon_errors.ReadTimeoutError(endpoint_url=SITE),
    amazon_errors.ConnectionClosedError(endpoint_url=SITE),
    amazon_errors.ClientError({"Error": {"Code": "ThrottlingException"}}, "PutItem"),
    # gRPC, Kafka, Redis
    RpcError(grpc.StatusCode.UNAVAILABLE),
    RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED),
    aio_rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED),
    kafka.errors.NoBrokersAvailable(),
    kafka.errors.KafkaTimeoutError("slow"),
    kafka.errors.KafkaConnectionError("cut"),
    kafka.errors.NotLeaderForPartitionError(),
    aiokafka.errors.KafkaConnectionError("cut"),
    aiokafka.errors.RequestTimedOutError("slow"),
    confluent_kafka.KafkaException(confluent_kafka.KafkaError(confluent_kafka.KafkaError._TRANSPORT)),
    confluent_kafka.KafkaException(confluent_kafka.KafkaError(confluent_kafka.KafkaError._ALL_BROKERS_DOWN)),
    redis_errors.ConnectionError("refused"),
    redis_errors.MaxConnectionsError("Too many connections"),
    redis_errors.MasterDownError("MASTERDOWN"),
]

NO_OUTAGE = [
    psycopg.errors.UniqueViolation("duplicate key"),
    psycopg.errors.QueryCanceled("canceling statement due to statement timeout"),
    psycopg.errors.UndefinedTable('relation "orders" does not exist'),
    psycopg.errors.NotNullViolation("null value"),
    psycopg.InterfaceError("wrong use"),
    psycopg.ProgrammingError("bad query"),
    by_psycopg2("23505"),
    psycopg2.InterfaceError("only protocol 3 supported"),
    asyncpg.UniqueViolationError("duplicate key"),
    asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
    pymysql.err.IntegrityError(1062, "Duplicate entry"),
    pymysql.err.OperationalError(1054, "Unknown column"),
    pymysql.err.ProgrammingError(1146, "Table doesn't exist"),
    wrapped(psycopg.errors.UniqueViolation("duplicate key")),
    wrapped(pymysql.err.IntegrityError(1062, "Duplicate entry")),
    pymongo.errors.DuplicateKeyError("duplicate", 11000, {}),
    of_mongo(121),
    httpx.UnsupportedProtocol("Request URL is missing a protocol"),
    httpx.LocalProtocolError("bad header"),
    httpx.InvalidURL("bad"),
    aiohttp.InvalidURL("bad"),
    requests.exceptions.InvalidSchema("no adapter"),
    requests.exceptions.JSONDecodeError("bad", "", 0),
    urllib3.exceptions.LocationParseError("bad"),
    urllib3.exceptions.MaxRetryError(None, SITE, urllib3.exceptions.ResponseError("too many 500 error responses")),
    azure_errors.ResourceExistsError("there already"),
    azure_errors.ClientAuthenticationError("no token"),
    servicebus_errors.MessageSizeExceededError(message="too large"),
    amazon_errors.ClientError({"Error": {"Code": "ValidationException"}}, "PutItem"),
    amazon_errors.ParamValidationError(report="bad"),
    RpcError(grpc.StatusCode.INVALID_ARGUMENT),
    aio_rpc_error(grpc.StatusCode.INTERNAL),
    kafka.errors.MessageSizeTooLargeError(),
    aiokafka.errors.MessageSizeTooLargeError(),
    confluent_kafka.KafkaException(confluent_kafka.KafkaError(confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE)),
    redis_errors.DataError("bad value"),
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    sqlite3.IntegrityError("UNIQUE constraint failed"),
    ValueError("503"),
]


def busy_sqlite() -> Exception:
    """A real one: what SQLite says while another connection writes."""
    first = sqlite3.connect("file:outages?mode=memory&cache=shared", uri=True)
    second = sqlite3.connect("file:outages?mode=memory&cache=shared", uri=True, timeout=0)
    first.execute("create table t (x)")
    first.execute("begin immediate")
    error = raised_by(lambda: second.execute("begin immediate"))
    first.close()
    second.close()
    return error


def name(error: object) -> str:
    return f"{type(error).__module__}.{type(error).__name__}: {error}"


def test_an_outage_is_known_by_what_the_client_raises() -> None:
    """It costs no entry a delivery, whichever client met it."""
    assert [name(error) for error in OUTAGE if classify(error) is not Verdict.RETRY] == []


def test_what_the_entry_or_the_handler_is_to_blame_for_is_none() -> None:
    """It is charged and backed off."""
    assert [name(error) for error in NO_OUTAGE if classify(error) is not Verdict.FAIL] == []


def test_a_locked_sqlite_database_is_an_outage() -> None:
    """The error is SQLite's own."""
    assert classify(busy_sqlite()) is Verdict.RETRY


@pytest.mark.parametrize("by", BY_STATUS)
def test_the_status_of_an_http_answer_decides(by: object) -> None:
    """429 and 503 are an outage; 500 is the handler's failure, as 4xx is."""
    verdicts = {status: classify(by(status)) for status in OUTAGES + FAILURES}

    assert verdicts == dict.fromkeys(OUTAGES, Verdict.RETRY) | dict.fromkeys(FAILURES, Verdict.FAIL)


# --- errors behind errors ---------------------------------------------------------------------------------------------


class StoreFailed(Exception):
    """What a handler of somebody's makes of any error."""


def because_of(cause: BaseException, *, hidden: bool = False, by_context: bool = False) -> Exception:
    """StoreFailed, raised because of this (from it, while handling it, or from None)."""
    try:
        try:
            raise cause
        except BaseException as exc:
            if hidden:
                raise StoreFailed from None
            if by_context:
                raise StoreFailed  # noqa: B904  # which is what is tested
            raise StoreFailed from exc
    except StoreFailed as failed:
        return failed


def test_an_outage_is_seen_through_the_error_that_it_was_made_into() -> None:
    """Raised from it or while it was handled, at any depth; a cause that somebody has hidden on purpose is not used."""
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    assert classify(because_of(refused)) is Verdict.RETRY
    assert classify(because_of(refused, by_context=True)) is Verdict.RETRY
    assert classify(because_of(because_of(because_of(by_httpx(503))))) is Verdict.RETRY
    assert classify(because_of(refused, hidden=True)) is Verdict.FAIL


def test_what_an_error_says_itself_counts_more_than_its_cause() -> None:
    """A rejection, a status and a state that are no outage stay what they are."""
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    for error, verdict in (
        (RejectEntry("bad"), Verdict.PARK),
        (by_httpx(500), Verdict.FAIL),
        (psycopg.errors.UniqueViolation("duplicate"), Verdict.FAIL),
    ):
        error.__cause__ = refused
        assert classify(error) is verdict


def test_a_cause_that_is_no_outage_leaves_a_failure() -> None:
    """Also if it is a rejection: only what the handler raises itself makes a dead letter at once."""
    assert classify(because_of(RejectEntry("bad"))) is Verdict.FAIL
    assert classify(because_of(by_httpx(404))) is Verdict.FAIL
    assert classify(because_of(KeyError("id"))) is Verdict.FAIL


def test_causes_that_go_in_a_circle_end() -> None:
    """Somebody has set them so."""
    one, other = StoreFailed("one"), StoreFailed("other")
    one.__cause__, other.__cause__ = other, one

    assert classify(one) is Verdict.FAIL


def test_of_errors_raised_together_the_weightiest_decides() -> None:
    """All an outage: an outage. One failure among them: a failure. One rejection: a bad entry."""
    refused, bad = ConnectionRefusedError(errno.ECONNREFUSED, "refused"), RejectEntry("bad")
    groups = {
        Verdict.RETRY: [refused, by_httpx(503), ExceptionGroup("", [TimeoutError()])],
        Verdict.FAIL: [refused, ValueError()],
        Verdict.PARK: [refused, bad, ValueError()],
    }

    assert {verdict: classify(ExceptionGroup("", errors)) for verdict, errors in groups.items()} == {
        verdict: verdict for verdict in groups
    }
    assert classify(because_of(ExceptionGroup("", [refused]))) is Verdict.RETRY


def test_a_falsy_error_is_an_error_like_any_other() -> None:
    """Its class decides, not what Python makes of it."""

    class NoErrors(ConnectionError):
        def __len__(self) -> int:
            return 0

    assert classify(NoErrors()) is Verdict.RETRY
    assert classify(because_of(NoErrors())) is Verdict.RETRY


# --- RETRY_ON and REJECT_ON -------------------------------------------------------------------------------------------


def test_classes_named_by_the_settings_come_first() -> None:
    """Before our tables, the nearest class of the error first, also behind another error if it is an outage."""
    own = OwnErrors(retry=(StoreFailed, KeyError), reject=(psycopg.errors.UniqueViolation, LookupError))

    assert classify(StoreFailed(), own) is Verdict.RETRY
    assert classify(psycopg.errors.UniqueViolation("duplicate"), own) is Verdict.PARK
    assert classify(KeyError("id"), own) is Verdict.RETRY
    assert classify(IndexError(), own) is Verdict.PARK
    assert classify(ValueError(), own) is Verdict.FAIL
    assert is_transient(StoreFailed(), own)
    assert not is_transient(StoreFailed())


def test_a_drivers_class_is_known_inside_of_what_sqlalchemy_raises() -> None:
    """Whoever names the driver's class means it, whichever library is between; SQLAlchemy's own comes first."""
    cancelled, violated = psycopg.errors.QueryCanceled, psycopg.errors.UniqueViolation
    own = OwnErrors(retry=(cancelled,), reject=(violated,))

    assert classify(wrapped(cancelled("too slow")), own) is Verdict.RETRY
    assert classify(wrapped(violated("duplicate")), own) is Verdict.PARK
    assert classify(wrapped(cancelled("too slow"))) is Verdict.FAIL
    assert classify(wrapped(violated("x")), OwnErrors((sqlalchemy.exc.IntegrityError,), (violated,))) is Verdict.RETRY


# --- Retry-After ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", BY_STATUS)
def test_retry_after_is_read_from_the_answer(by: object) -> None:
    """In seconds or as a date, also behind another error; nonsense is none."""
    date = format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True)

    def asked(**headers: str) -> float | None:
        return retry_after_sec(because_of(by(503, **headers)), NOW)

    assert asked(**{"Retry-After": "120"}) == 120
    assert asked(**{"Retry-After": date}) == 90
    assert asked(**{"Retry-After": "soon"}) is None
    assert asked(**{"Retry-After": "-1"}) is None
    assert asked() is None


def test_a_handler_may_say_itself_how_long_to_wait() -> None:
    """RetryEntry takes it."""
    assert retry_after_sec(RetryEntry("busy", after_sec=7), NOW) == 7
    assert retry_after_sec(RetryEntry("busy"), NOW) is None
    assert str(RetryEntry("busy", after_sec=7)) == "busy"


def test_cosmos_tells_it_in_milliseconds() -> None:
    """Its own header, beside a 429."""
    assert retry_after_sec(by_cosmos(429, **{"x-ms-retry-after-ms": "1500"}), NOW) == 1.5


def test_no_client_is_imported() -> None:
    """Errors are known by name: what a handler does not use is not loaded."""
    code = "import sys, reclaim.verdicts; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    clients = {"redis", "psycopg", "httpx2", "aiohttp", "azure", "requests", "sqlalchemy", "grpc", "ssl", "asyncio"}
    assert clients & {module.partition(".")[0] for module in loaded} == set()


def test_an_error_whose_attributes_are_odd_is_judged_all_the_same() -> None:
    """What it calls a status, a code or headers may be anything."""

    class Odd(Exception):
        status_code = "503"
        code = None
        status = True
        headers = 7

        @property
        def response(self) -> object:
            raise RuntimeError("not read yet")

    assert is_outage(Odd()) is None
    assert classify(Odd()) is Verdict.FAIL
    assert retry_after_sec(Odd(), NOW) is None
