"""Owns how an outage is recognised: by an error's class, SQLSTATE, HTTP status or OS error, whichever client raised it.

No client is imported: an error is known by the names of its classes, and by the attributes that its library documents.
A name is written as the library's top package and the class, ``psycopg.OperationalError``, wherever in the package the
class is defined.

Each function answers True (an outage: trying again later may help), False (none: the handler has failed), or None (the
error does not say).
"""

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

Answer = bool | None

# HTTP statuses that say "not now" (https://www.rfc-editor.org/rfc/rfc9110#name-status-codes, and 425, 429). 500 is not
# among them: a service that fails on one entry answers it too.
STATUSES = frozenset({408, 425, 429, 502, 503, 504})

# SQLSTATE classes: connection, resources, system error, transaction rollback; of operator intervention (57) those of a
# server that starts or stops; and a lock that another session has
# (https://www.postgresql.org/docs/current/errcodes-appendix.html). A statement that takes too long (57014) is not among
# them: it may be the entry that makes it long.
_SQLSTATES = ("08", "53", "57P", "58", "40", "55P03")

# MySQL and MariaDB (https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html and client errors): no
# room, too many connections, shutting down, the network, lock wait, deadlock, read-only, server gone, lock not there.
_MYSQL = frozenset({
    1021, 1037, 1038, 1040, 1041, 1042, 1043, 1053, 1077, 1078, 1079, 1080, 1129, 1152, 1153, 1158, 1159, 1160, 1161,
    1184, 1203, 1205, 1213, 1226, 1290, 1836, 2002, 2003, 2004, 2005, 2006, 2012, 2013, 2055, 3168, 3169, 3572,
})  # fmt: skip

# SQL Server and Azure SQL through ODBC: busy, a lock that another session has, failing over, throttled
# (https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues).
_SQL_SERVER = re.compile(
    r"\((?:1205|1222|4060|4221|10928|10929|10053|10054|10060|40197|40501|40613|40615|4991[89]|49920)\)"
)

# SQLite's primary result codes BUSY, LOCKED, IOERR, FULL, CANTOPEN (https://www.sqlite.org/rescode.html).
_SQLITE = frozenset({5, 6, 10, 13, 14})

# MongoDB's codes of a node that is away, not primary, or shutting down
# (https://github.com/mongodb/specifications/blob/master/source/retryable-writes/retryable-writes.md).
_MONGO = frozenset({6, 7, 64, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
_MONGO_LABELS = ("RetryableWriteError", "TransientTransactionError", "SystemOverloadedError")

# Amazon's codes for "slower, please" and "not now", which may come with the status 400.
_AMAZON = frozenset({
    "PriorRequestNotComplete", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
    "RequestThrottled", "RequestThrottledException", "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable",
    "SlowDown", "Throttling", "ThrottledException", "ThrottlingException", "TooManyRequestsException",
    "TransactionInProgressException",
})  # fmt: skip

# gRPC's codes (https://grpc.io/docs/guides/status-codes/).
_GRPC = frozenset({"ABORTED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})

# librdkafka's own codes that its `retriable` flag leaves out.
_RDKAFKA = frozenset({"_ALL_BROKERS_DOWN", "_MSG_TIMED_OUT", "_QUEUE_FULL", "_RESOLVE", "_TIMED_OUT", "_TRANSPORT"})

# What the operating system says of a network that is away, or of no room left
# (https://man7.org/linux/man-pages/man3/errno.3.html).
_ERRNOS = frozenset({
    errno.EAGAIN, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EDQUOT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EMFILE, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH, errno.ENFILE, errno.ENOBUFS,
    errno.ENOMEM, errno.ENOSPC, errno.EPIPE, errno.ETIMEDOUT,
})  # fmt: skip


def is_outage(error: BaseException) -> Answer:
    """Whether this error by itself, without the errors that caused it, tells of an outage."""
    for name in class_names(error):
        rule = _BY_CLASS.get(name)
        answer = rule(error) if callable(rule) else rule
        if answer is not None:
            return answer
    return _by_status(error)


def class_names(error: BaseException) -> Iterator[str]:
    """The names of an error's classes, the nearest first, each as its library's top package and the class."""
    for cls in type(error).__mro__:
        yield f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


def wrapped_by(error: BaseException) -> BaseException | None:
    """The driver's error that SQLAlchemy's error stands for; None for all other errors.

    An async driver's is wrapped twice: by SQLAlchemy's own errors for that driver, too.
    """
    if "sqlalchemy.StatementError" not in class_names(error):
        return None
    wrapped = getattr(error, "orig", None)
    if not isinstance(wrapped, BaseException):
        return None
    is_wrapped_again = next(class_names(wrapped)).startswith("sqlalchemy.")
    return wrapped.__cause__ if is_wrapped_again and wrapped.__cause__ is not None else wrapped


def retry_after_sec(error: BaseException, unix_sec: float) -> float | None:
    """How many seconds the answer that this error holds asks us to wait (Retry-After); None where it does not ask.

    Args:
        error: what a client of any HTTP library raised.
        unix_sec: now, in seconds since 1970: Retry-After may be a date
            (https://www.rfc-editor.org/rfc/rfc9110#name-retry-after).
    """
    headers = _headers(error)
    in_ms = _positive(headers.get("x-ms-retry-after-ms") or headers.get("retry-after-ms"))
    if in_ms is not None:
        return in_ms / 1000
    value = headers.get("retry-after")
    seconds = _positive(value)
    if seconds is None and value:
        try:
            seconds = max(0.0, parsedate_to_datetime(value).timestamp() - unix_sec)
        except (TypeError, ValueError, OverflowError):
            return None
    return seconds


def _positive(value: str | None) -> float | None:
    return float(value) if value is not None and re.fullmatch(r"\d{1,15}(\.\d{1,9})?", value) else None


def _headers(error: BaseException) -> dict[str, str]:
    """The headers of the answer, their names in lower case."""
    response = _attribute(error, "response")
    if isinstance(response, Mapping):  # botocore
        headers = _get(response, "ResponseMetadata", "HTTPHeaders")
    else:
        headers = _attribute(error if response is None else response, "headers")
    try:
        return {str(name).lower(): str(value) for name, value in headers.items()}
    except AttributeError:
        return {}


def _get(values: Any, *path: str) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _by_status(error: BaseException) -> Answer:
    """By the HTTP status of the answer that the error holds, wherever its library keeps it."""
    status = _status(error)
    return None if status is None else status in STATUSES


# Where libraries keep the status of an answer: azure-core, elasticsearch and starlette on the error; httpx and requests
# on its response; aiohttp on the error; urllib and google-api-core as a code.
_STATUS_PLACES = (("status_code",), ("response", "status_code"), ("status",), ("response", "status"), ("code",))


def _status(error: BaseException) -> int | None:
    status = _get(_attribute(error, "response"), "ResponseMetadata", "HTTPStatusCode")  # botocore
    places = iter(_STATUS_PLACES)
    while not (type(status) is int and 100 <= status <= 599):
        place = next(places, None)
        if place is None:
            return None
        status = _attribute(error, *place)
    return status


def _attribute(value: Any, *names: str) -> Any:
    """An attribute of an attribute; None where there is none, or where reading it raises: it may be anybody's code."""
    try:
        for name in names:
            value = getattr(value, name, None)
    except Exception:  # noqa: BLE001  # reading an attribute of a library's object may raise anything
        return None
    return value


def _by_sqlstate(error: BaseException) -> Answer:
    state = _attribute(error, "sqlstate") or _attribute(error, "pgcode")
    return state.startswith(_SQLSTATES) if isinstance(state, str) and state else None


def _of_postgres_connection(error: BaseException) -> bool:
    """An OperationalError without a SQLSTATE comes from the client: no connection, or a broken one."""
    answer = _by_sqlstate(error)
    return True if answer is None else answer


def _if_closed(error: BaseException) -> bool:
    """An InterfaceError tells of wrong use, or of a connection (a pool) that is closed."""
    return re.search(r"\bclos(?:ed|ing)\b", str(error)) is not None


def _of_mysql(error: BaseException) -> Answer:
    number = _attribute(error, "errno") or next(iter(error.args), None)
    return number in _MYSQL if isinstance(number, int) and number else None


def _of_mysql_interface(error: BaseException) -> bool:
    return next(iter(error.args), None) == 0 or _of_mysql(error) is True or _if_closed(error)


def _of_odbc(error: BaseException) -> bool:
    state, text = str(next(iter(error.args), "")), str(error)
    return state.startswith((*_SQLSTATES, "HYT")) or _SQL_SERVER.search(text) is not None


def _of_sqlite(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE


def _of_sqlalchemy(error: BaseException) -> Answer:
    if getattr(error, "connection_invalidated", False):
        return True
    wrapped = wrapped_by(error)
    return None if wrapped is None else is_outage(wrapped)


def _of_pending_rollback(error: BaseException) -> Answer:
    """Said of a connection that an outage has ended, until it is rolled back; also after a failure of another kind."""
    return True if getattr(error, "code", None) == "8s2b" else None


def _of_mongo(error: BaseException) -> bool:
    has_label = getattr(error, "has_error_label", lambda _: False)
    return getattr(error, "code", None) in _MONGO or any(map(has_label, _MONGO_LABELS))


def _of_amazon(error: BaseException) -> Answer:
    return True if _get(_attribute(error, "response"), "Error", "Code") in _AMAZON else _by_status(error)


def _of_grpc(error: BaseException) -> Answer:
    code = getattr(error, "code", None)
    return getattr(code(), "name", None) in _GRPC if callable(code) else None


def _of_kafka(error: BaseException) -> bool:
    return getattr(error, "retriable", False) is True


def _of_rdkafka(error: BaseException) -> bool:
    kafka_error: Any = next(iter(error.args), None)
    return hasattr(kafka_error, "retriable") and (kafka_error.retriable() or kafka_error.name() in _RDKAFKA)


def _of_reason(error: BaseException) -> Answer:
    """By the error that this one holds as its reason; a reason in words is one of a connection."""
    reason = getattr(error, "reason", None)
    return is_outage(reason) if isinstance(reason, BaseException) else True


def _of_system(error: BaseException) -> Answer:
    """By the system's number; asyncio tells only in words that it could connect to none of a name's addresses."""
    number = getattr(error, "errno", None)
    if number is None and str(error).startswith("Multiple exceptions: "):
        return True
    return True if number in _ERRNOS else None


_BY_CLASS: Mapping[str, bool | Callable[[BaseException], Answer]] = {
    # Python's own
    "builtins.ConnectionError": True,
    "builtins.TimeoutError": True,
    "builtins.OSError": _of_system,
    "asyncio.IncompleteReadError": True,
    "socket.gaierror": True,
    "ssl.SSLError": True,
    "http.IncompleteRead": True,
    "urllib.HTTPError": _by_status,
    "urllib.URLError": _of_reason,
    "sqlite3.OperationalError": _of_sqlite,
    # PostgreSQL
    "psycopg.OperationalError": _of_postgres_connection,
    "psycopg.InterfaceError": _if_closed,
    "psycopg.Error": _by_sqlstate,
    "psycopg2.OperationalError": _of_postgres_connection,
    "psycopg2.InterfaceError": _if_closed,
    "psycopg2.PoolError": True,
    "psycopg2.Error": _by_sqlstate,
    "asyncpg.InterfaceError": _if_closed,
    "asyncpg.PostgresError": _by_sqlstate,
    # MySQL, MariaDB
    "pymysql.InterfaceError": _of_mysql_interface,
    "pymysql.MySQLError": _of_mysql,
    "MySQLdb.InterfaceError": _of_mysql_interface,
    "MySQLdb.MySQLError": _of_mysql,
    "mysql.InterfaceError": _of_mysql_interface,
    "mysql.Error": _of_mysql,
    # SQL Server and whatever else has an ODBC driver
    "pyodbc.Error": _of_odbc,
    # SQLAlchemy: what it wraps
    "sqlalchemy.TimeoutError": True,
    "sqlalchemy.PendingRollbackError": _of_pending_rollback,
    "sqlalchemy.StatementError": _of_sqlalchemy,
    # MongoDB
    "pymongo.ConnectionFailure": True,
    "pymongo.WTimeoutError": True,
    "pymongo.OperationFailure": _of_mongo,
    # HTTP
    "httpx.TransportError": True,
    "httpx.LocalProtocolError": False,
    "httpx.UnsupportedProtocol": False,
    "httpx2.TransportError": True,
    "httpx2.LocalProtocolError": False,
    "httpx2.UnsupportedProtocol": False,
    "aiohttp.ClientConnectionError": True,
    "aiohttp.ClientPayloadError": True,
    "requests.ConnectionError": True,
    "requests.Timeout": True,
    "requests.ChunkedEncodingError": True,
    "requests.RetryError": True,
    "urllib3.TimeoutError": True,
    "urllib3.ProtocolError": True,
    "urllib3.ProxyError": True,
    "urllib3.SSLError": True,
    "urllib3.EmptyPoolError": True,
    "urllib3.ClosedPoolError": True,
    "urllib3.MaxRetryError": _of_reason,
    "elastic_transport.ConnectionError": True,
    "elastic_transport.ConnectionTimeout": True,
    # Azure: Storage, Cosmos DB, Service Bus
    "azure.ServiceRequestError": True,
    "azure.ServiceResponseError": True,
    "azure.IncompleteReadError": True,
    "azure.CosmosClientTimeoutError": True,
    "azure.ServiceBusConnectionError": True,
    "azure.ServiceBusCommunicationError": True,
    "azure.ServiceBusQuotaExceededError": True,
    "azure.ServiceBusServerBusyError": True,
    "azure.OperationTimeoutError": True,
    # Amazon
    "botocore.ConnectionError": True,
    "botocore.HTTPClientError": True,
    "botocore.IncompleteReadError": True,
    "botocore.ClientError": _of_amazon,
    # gRPC
    "grpc.RpcError": _of_grpc,
    # Kafka, AMQP
    "kafka.KafkaConnectionError": True,
    "kafka.KafkaTimeoutError": True,
    "kafka.NoBrokersAvailable": True,
    "kafka.KafkaError": _of_kafka,
    "aiokafka.KafkaConnectionError": True,
    "aiokafka.KafkaTimeoutError": True,
    "aiokafka.KafkaError": _of_kafka,
    "cimpl.KafkaException": _of_rdkafka,
    "pika.AMQPConnectionError": True,
    "aiormq.AMQPConnectionError": True,
}
