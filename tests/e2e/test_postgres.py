"""The documented PostgreSQL handlers store each entry once, through outages of the database and a kill of ours."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import pytest

from dev.postgres import Postgres, programs
from tests.handlers_page import ROOT, block
from tests.support import (
    Client,
    Endpoint,
    Held,
    a_target,
    age_all,
    drop_lease,
    env_for,
    given,
    held,
    pending_count,
    state,
    tweet,
)

pytestmark = [
    pytest.mark.skipif(
        programs() is None and os.environ.get("CI", "").lower() != "true",
        reason="there is no PostgreSQL here: apt-get install postgresql",
    ),
    pytest.mark.timeout(180),
]

TABLE = block("CREATE TABLE tweets")
HANDLERS = block("async def saved()") + block("async def saved_in_batches()")
TARGET = a_target()
COUNT = 60
ALL = [str(number) for number in range(COUNT)]

Start = Callable[[], AbstractContextManager[subprocess.Popen[str]]]


@pytest.fixture(scope="module")
def running() -> Iterator[Postgres]:
    with Postgres() as postgres:
        yield postgres


@pytest.fixture
def postgres(running: Postgres) -> Postgres:
    """A PostgreSQL with the documented table, empty, which takes any text but ``poison``."""
    with psycopg.connect(running.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS tweets")
        connection.execute(TABLE)
        connection.execute("ALTER TABLE tweets ADD CHECK (text <> 'poison')")
    return running


@pytest.fixture(params=["saved", "saved_in_batches"])
def start(request: pytest.FixtureRequest, postgres: Postgres, embedded: Endpoint, tmp_path: Path) -> Start:
    """What starts a run with the handler, as it is documented."""
    (tmp_path / "my_handlers.py").write_text(HANDLERS, encoding="utf-8")
    settings = {"HANDLER": f"my_handlers:{request.param}", "RUN_BUDGET_SEC": "30", "DATABASE_URL": postgres.url}
    env = env_for(embedded, TARGET, **settings, PYTHONPATH=f"{tmp_path}:{ROOT}")

    @contextmanager
    def started() -> Iterator[subprocess.Popen[str]]:
        words = [sys.executable, "-m", "reclaim", "run"]
        with subprocess.Popen(
            words, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    return started


def told(start: Start) -> str:
    """What one whole run prints."""
    with start() as process:
        return process.communicate()[0]


def ids(postgres: Postgres) -> list[str]:
    with psycopg.connect(postgres.url) as connection:
        return sorted((name for (name,) in connection.execute("SELECT id FROM tweets")), key=int)


@contextmanager
def at_work(postgres: Postgres, start: Start) -> Iterator[subprocess.Popen[str]]:
    """A run whose statements wait for the table, which a session of the test has locked until the block ends."""
    locking = psycopg.connect(postgres.url)
    try:
        locking.execute("LOCK TABLE tweets")
        with start() as process:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            while locking.execute(waiting).fetchone() == (0,):
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.01)
            yield process
    finally:
        locking.close()  # it may have ended with its server


def nothing_is_charged(client: Client) -> None:
    now = state(client, TARGET)
    assert (now.dead, now.lost) == ([], [])
    assert {row[3] for row in client.execute_command("XPENDING", TARGET.stream, TARGET.group, "-", "+", 1000)} <= {1}


def test_a_row_that_the_table_refuses_holds_back_no_other(postgres: Postgres, start: Start, client: Client) -> None:
    given(client, TARGET, *held(range(3)), Held(tweet(3, text=b"poison")), *held(range(4, 6)))

    text = told(start)

    assert "6 claimed, 5 acknowledged, 1 failed" in text
    assert ids(postgres) == ["0", "1", "2", "4", "5"]
    assert pending_count(client, TARGET) == 1


@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill])
def test_an_outage_while_a_run_is_at_work_costs_nothing(
    postgres: Postgres, start: Start, client: Client, end: Callable[[Postgres], None]
) -> None:
    given(client, TARGET, *held(range(COUNT)))
    try:
        with at_work(postgres, start) as process:
            end(postgres)
            process.communicate()
    finally:
        postgres.start()
    assert ids(postgres) == []
    nothing_is_charged(client)

    age_all(client, TARGET)
    text = told(start)

    assert f"{COUNT} acknowledged" in text
    assert ids(postgres) == ALL
    assert pending_count(client, TARGET) == 0


def test_a_run_goes_on_after_its_sessions_were_ended(postgres: Postgres, start: Start, client: Client) -> None:
    given(client, TARGET, *held(range(COUNT)))

    with at_work(postgres, start) as process:
        with psycopg.connect(postgres.url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
            )
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'AccessExclusiveLock'")
        text = process.communicate()[0]

    assert f"{COUNT} acknowledged" in text
    assert ids(postgres) == ALL
    assert pending_count(client, TARGET) == 0


def test_a_run_that_is_killed_stores_each_row_once(postgres: Postgres, start: Start, client: Client) -> None:
    given(client, TARGET, *held(range(COUNT)))
    with at_work(postgres, start) as process:
        process.kill()
        process.wait()
    assert pending_count(client, TARGET) == COUNT
    drop_lease(client, TARGET)
    age_all(client, TARGET)

    text = told(start)

    assert f"{COUNT} acknowledged" in text
    assert ids(postgres) == ALL
    assert pending_count(client, TARGET) == 0


def test_no_entry_is_claimed_while_the_database_is_down(postgres: Postgres, start: Start, client: Client) -> None:
    given(client, TARGET, *held(range(3)))
    postgres.stop()
    try:
        text = told(start)
    finally:
        postgres.start()

    assert "could not be entered" in text
    nothing_is_charged(client)


def test_a_row_that_was_stored_before_is_stored_no_second_time(
    postgres: Postgres, start: Start, client: Client
) -> None:
    """As after a kill between commit and acknowledgement (0), and where a newer entry was stored meanwhile (1)."""
    given(client, TARGET, *held(range(2)))
    with psycopg.connect(postgres.url) as connection:
        connection.execute("INSERT INTO tweets VALUES ('0', 'older', 0, 0), ('1', 'newer', 9, 0)")

    text = told(start)

    assert "2 claimed, 2 acknowledged" in text
    with psycopg.connect(postgres.url) as connection:
        rows = connection.execute("SELECT id, text, entry_ms::int FROM tweets ORDER BY id").fetchall()
    assert rows == [("0", "hello 0 😀", 1), ("1", "newer", 9)]
