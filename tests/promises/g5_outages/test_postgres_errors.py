"""Which errors of a real PostgreSQL are outages, as each driver raises them: all are brought about, none is made up."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import asyncpg
import psycopg
import psycopg2
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from dev.postgres import Postgres, programs
from dev.server import HOST
from reclaim.verdicts import OwnErrors, Verdict, classify

pytestmark = [
    pytest.mark.G5,
    pytest.mark.skipif(
        programs() is None and os.environ.get("CI", "").lower() != "true",
        reason="there is no PostgreSQL here: apt-get install postgresql",
    ),
    pytest.mark.timeout(120),
]

CONNECTIONS = 8
VIOLATED = (psycopg.errors.UniqueViolation, psycopg2.errors.UniqueViolation, asyncpg.UniqueViolationError)
CANCELLED = (psycopg.errors.QueryCanceled, psycopg2.errors.QueryCanceled, asyncpg.QueryCanceledError)
THEM = "backend_type = 'client backend' AND pid <> pg_backend_pid()"  # all sessions but the one that asks


class Session(Protocol):
    """One connection of a driver's, without its own transactions: BEGIN and COMMIT are said in SQL."""

    def run(self, sql: str) -> object: ...

    def close(self) -> None: ...


class Psycopg:
    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def run(self, sql: str) -> object:
        return self._connection.execute(sql)

    def close(self) -> None:
        self._connection.close()


class Psycopg2:
    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True

    def run(self, sql: str) -> object:
        with self._connection.cursor() as cursor:
            return cursor.execute(sql)

    def close(self) -> None:
        self._connection.close()


class Sqlalchemy:
    """Over psycopg."""

    def __init__(self, url: str) -> None:
        self._engine = sqlalchemy.create_engine(
            address_of(url, "psycopg"), poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT"
        )
        self._connection = self._engine.connect()

    def run(self, sql: str) -> object:
        return self._connection.exec_driver_sql(sql)

    def close(self) -> None:
        self._connection.invalidate()
        self._connection.close()


class Asyncpg:
    """On an event loop of its own, so that a thread can use it as the others are used."""

    def __init__(self, url: str) -> None:
        words = dict(word.split("=") for word in url.split())
        self._runner = asyncio.Runner()
        try:
            self._connection = self._runner.run(
                asyncpg.connect(host=HOST, port=int(words["port"]), user=words["user"], database=words["dbname"])
            )
        except BaseException:
            self._runner.close()
            raise

    def run(self, sql: str) -> object:
        return self._runner.run(self._connection.execute(sql))

    def close(self) -> None:
        self._connection.terminate()
        self._runner.close()


class SqlalchemyAsync:
    """SQLAlchemy over asyncpg, whose errors it wraps twice."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._engine = create_async_engine(
            address_of(url, "asyncpg"), poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT"
        )
        try:
            self._connection = self._runner.run(self._opened())
        except BaseException:
            self._runner.close()
            raise

    async def _opened(self) -> AsyncConnection:
        return await self._engine.connect()

    def run(self, sql: str) -> object:
        return self._runner.run(self._connection.exec_driver_sql(sql))

    def close(self) -> None:
        self._runner.run(self._closed())
        self._runner.close()

    async def _closed(self) -> None:
        await self._connection.invalidate()
        await self._connection.close()


Open = Callable[[], Session]
DRIVERS = [Psycopg, Psycopg2, Asyncpg, Sqlalchemy, SqlalchemyAsync]


def address_of(url: str, driver: str) -> str:
    """The server's address as SQLAlchemy takes it."""
    words = dict(word.split("=") for word in url.split())
    return f"postgresql+{driver}://{words['user']}@{words['host']}:{words['port']}/{words['dbname']}"


@pytest.fixture(scope="module")
def running() -> Iterator[Postgres]:
    with Postgres(max_connections=str(CONNECTIONS), deadlock_timeout="10ms") as postgres:
        yield postgres


@pytest.fixture
def postgres(running: Postgres) -> Postgres:
    """With two rows, and none of the sessions of the test before."""
    end_all_sessions(running)
    with psycopg.connect(running.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS shops")
        connection.execute("CREATE TABLE shops (id int PRIMARY KEY, sold int NOT NULL CHECK (sold >= 0))")
        connection.execute("INSERT INTO shops VALUES (1, 0), (2, 0)")
    return running


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.__name__.lower())
def connect(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Open]:
    """What opens a session of the driver; all of them are closed in the end."""
    with ExitStack() as stack:

        def opened() -> Session:
            session: Session = request.param(postgres.url)
            stack.callback(session.close)
            return session

        yield opened


def raised_by(act: Callable[[], object]) -> Exception:
    try:
        act()
    except Exception as exc:  # noqa: BLE001  # whatever a driver raises is what is wanted
        return exc
    raise AssertionError("nothing was raised")


def raised_in_the_end(act: Callable[[], object]) -> Exception:
    """What it raises; again and again, because a session notices a while after its server was killed."""
    while True:
        try:
            act()
        except Exception as exc:  # noqa: BLE001  # whatever a driver raises is what is wanted
            return exc


def sqlstate(error: Any) -> str | None:
    """The SQLSTATE, wherever the driver has it; None where it has none, as of a connection that was refused."""
    wrapped = getattr(error, "orig", error)
    return getattr(wrapped, "sqlstate", None) or getattr(wrapped, "pgcode", None)


# --- outages ----------------------------------------------------------------------------------------------------------


def test_too_many_connections_are_an_outage(connect: Open) -> None:
    error = raised_by(lambda: [connect() for _ in range(CONNECTIONS + 1)])

    assert classify(error) is Verdict.RETRY
    assert "too many clients" in str(error)


def test_a_deadlock_is_an_outage(connect: Open) -> None:
    """Of two transactions the server ends one; it would go through if it came alone."""
    one, other = connect(), connect()
    for session, shop in ((one, 1), (other, 2)):
        session.run("BEGIN")
        session.run(f"UPDATE shops SET sold = sold + 1 WHERE id = {shop}")
    errors: list[Exception] = []

    def crosswise(session: Session, shop: int) -> None:
        try:
            session.run(f"UPDATE shops SET sold = sold + 1 WHERE id = {shop}")
            session.run("COMMIT")
        except Exception as exc:  # noqa: BLE001  # whatever a driver raises is what is wanted
            errors.append(exc)
            session.run("ROLLBACK")

    waiting = threading.Thread(target=crosswise, args=(one, 2))
    waiting.start()
    crosswise(other, 1)
    waiting.join()

    (error,) = errors
    assert (sqlstate(error), classify(error)) == ("40P01", Verdict.RETRY)


def test_a_transaction_that_cannot_be_serialized_is_an_outage(connect: Open) -> None:
    late, early = connect(), connect()
    late.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
    late.run("SELECT * FROM shops")
    early.run("UPDATE shops SET sold = 1 WHERE id = 1")

    error = raised_by(lambda: late.run("UPDATE shops SET sold = 2 WHERE id = 1"))

    assert (sqlstate(error), classify(error)) == ("40001", Verdict.RETRY)


@pytest.mark.parametrize("wanted", ["UPDATE shops SET sold = 1", "SELECT * FROM shops FOR UPDATE NOWAIT"])
def test_a_lock_that_another_session_has_is_an_outage(connect: Open, wanted: str) -> None:
    """What holds it says nothing about the entry: a migration, an import, a forgotten session."""
    holding, wanting = connect(), connect()
    holding.run("BEGIN")
    holding.run("UPDATE shops SET sold = 1")

    wanting.run("SET lock_timeout = '5ms'")
    error = raised_by(lambda: wanting.run(wanted))

    assert (sqlstate(error), classify(error)) == ("55P03", Verdict.RETRY)


def test_a_session_that_an_operator_ends_is_an_outage(connect: Open, postgres: Postgres) -> None:
    session = connect()
    end_all_sessions(postgres)

    error = raised_by(lambda: session.run("SELECT 1"))

    assert classify(error) is Verdict.RETRY
    assert classify(raised_by(lambda: session.run("SELECT 1"))) is Verdict.RETRY  # and it stays one on that connection


def test_a_session_that_ends_while_it_waits_is_an_outage(connect: Open, postgres: Postgres) -> None:
    session = connect()

    with beside(lambda: end_a_session_that_sleeps(postgres)):
        error = raised_by(lambda: session.run("SELECT pg_sleep(60)"))

    assert classify(error) is Verdict.RETRY


@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill])
def test_a_server_that_ends_is_an_outage_until_it_serves_again(
    connect: Open, postgres: Postgres, end: Callable[[Postgres], None]
) -> None:
    session = connect()
    end(postgres)
    try:
        errors = [
            raised_in_the_end(lambda: session.run("SELECT 1")),
            raised_by(lambda: session.run("SELECT 1")),
            raised_by(connect),
        ]
    finally:
        postgres.start()

    assert [classify(one) for one in errors] == [Verdict.RETRY] * 3
    connect().run("SELECT 1")


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_statement_that_takes_too_long_is_a_failure(connect: Open) -> None:
    """It may be the entry that makes it long. If all of them take too long, the circuit opens and refunds."""
    session = connect()
    session.run("SET statement_timeout = '5ms'")

    error = raised_by(lambda: session.run("SELECT pg_sleep(60)"))

    assert (sqlstate(error), classify(error)) == ("57014", Verdict.FAIL)
    assert classify(error, OwnErrors(retry=CANCELLED)) is Verdict.RETRY  # as RETRY_ON says


@pytest.mark.parametrize(
    ("sql", "state"),
    [
        ("INSERT INTO shops VALUES (1, 0)", "23505"),
        ("UPDATE shops SET sold = -1", "23514"),
        ("INSERT INTO shops VALUES (3, NULL)", "23502"),
        ("SELECT 'x'::int", "22P02"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELEC 1", "42601"),
    ],
)
def test_what_the_database_refuses_is_a_failure(connect: Open, sql: str, state: str) -> None:
    error = raised_by(lambda: connect().run(sql))

    assert (sqlstate(error), classify(error)) == (state, Verdict.FAIL)


def test_a_row_that_is_there_already_may_be_named_a_bad_entry(connect: Open) -> None:
    """By the driver's class, which REJECT_ON names, whatever wraps it."""
    error = raised_by(lambda: connect().run("INSERT INTO shops VALUES (1, 0)"))

    assert classify(error, OwnErrors(reject=VIOLATED)) is Verdict.PARK


def end_all_sessions(postgres: Postgres) -> None:
    """And wait until they have ended."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {THEM}")


def end_a_session_that_sleeps(postgres: Postgres) -> None:
    """As soon as there is one."""
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {THEM} AND wait_event = 'PgSleep'"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        while connection.execute(end).fetchone() is None:
            pass


@contextmanager
def beside(act: Callable[[], None]) -> Iterator[None]:
    """Acts in a thread while the block runs."""
    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()
