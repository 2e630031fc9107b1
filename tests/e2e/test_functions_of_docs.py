"""The code in docs/handlers.md does what the page says: in Python, in the shell, and in Java."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from dev.server import free_port
from reclaim.settings import Settings
from tests.handlers_page import PAGE, ROOT, asked_for, block, blocks
from tests.support import (
    Client,
    Endpoint,
    Held,
    a_target,
    age_all,
    env_for,
    given,
    held,
    pending_count,
    pending_rows,
    state,
)

HANDLERS = {
    "store": block("async def store("),
    "handle_many": block("async def handle_many("),
    "dispatch": block("async def dispatch("),
}
TESTS = block("import dispatch, handle_many, store")


def run_python(folder: Path, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


def paths(folder: Path) -> str:
    return f"{folder}:{ROOT}"


def test_each_block_of_the_page_is_run_by_a_test() -> None:
    """That is: a test asks for it by words that only this block has."""
    words = list(asked_for())

    assert [one for one in blocks() if not any(some in one for some in words)] == []
    assert len(blocks()) == PAGE.read_text(encoding="utf-8").count("```") / 2


@pytest.mark.parametrize("name", HANDLERS)
def test_a_function_works_as_it_is_shown(name: str, embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    target = a_target()
    given(client, target, *held(range(3)))
    (tmp_path / "my_handlers.py").write_text(HANDLERS[name], encoding="utf-8")
    env = env_for(embedded, target, HANDLER=f"my_handlers:{name}", LANES="1", PYTHONPATH=paths(tmp_path))

    ended = run_python(tmp_path, env, "-m", "reclaim", "run")

    assert "3 claimed, 3 acknowledged" in ended.stdout, ended.stderr
    assert pending_count(client, target) == 0


def test_the_tests_of_the_functions_pass(embedded: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "my_handlers.py").write_text("\n".join(HANDLERS.values()), encoding="utf-8")
    (tmp_path / "test_my_handlers.py").write_text(TESTS, encoding="utf-8")

    ended = run_python(
        tmp_path, env_for(embedded, PYTHONPATH=paths(tmp_path)), "-m", "pytest", "-p", "no:cacheprovider"
    )

    assert "3 passed" in ended.stdout, ended.stdout


def test_a_kind_that_is_no_text_is_a_bad_entry_of_the_dispatcher(
    embedded: Endpoint, client: Client, tmp_path: Path
) -> None:
    """As every other entry that nobody will ever handle."""
    target = a_target()
    given(client, target, Held([b"user", b"ada", b"kind", b"\xff"]), Held([b"user", b"ada", b"kind", b""]))
    (tmp_path / "my_handlers.py").write_text(HANDLERS["dispatch"], encoding="utf-8")
    env = env_for(embedded, target, HANDLER="my_handlers:dispatch", PYTHONPATH=paths(tmp_path))

    ended = run_python(tmp_path, env, "-m", "reclaim", "run")

    assert "2 claimed, 1 acknowledged, 1 parked" in ended.stdout, ended.stderr
    (letter,) = state(client, target).dead
    assert letter[b"error"].startswith(b"RejectEntry: the field 'kind' is not UTF-8")


def test_an_entry_is_tried_as_it_is_shown(embedded: Endpoint, tmp_path: Path) -> None:
    """With the dispatcher."""
    (tmp_path / "my_handlers.py").write_text(HANDLERS["dispatch"], encoding="utf-8")
    env = env_for(embedded, HANDLER="my_handlers:dispatch", PYTHONPATH=paths(tmp_path))
    command = block('echo \'{"user": "ada"').replace("python", sys.executable)

    ended = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout.splitlines()[0]) == (0, "ada"), ended.stderr
    assert "so\tit would be stored, and acknowledged" in ended.stdout.splitlines()


# --- the first handler, line by line ----------------------------------------------------------------------------------


def test_the_first_handler_works_step_by_step(embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    """In an empty folder, with its tests; every line of the shell is run, the ones of redis-cli by a client."""
    (tmp_path / "my_handlers.py").write_text(block("# my_handlers.py\n"), encoding="utf-8")
    (tmp_path / "test_my_handlers.py").write_text(block("import my_handlers\n"), encoding="utf-8")
    exported, *lines = block("HANDLER=my_handlers:keep").splitlines()
    settings = dict(word.split("=", 1) for word in shlex.split(exported)[1:])
    settings["REDIS_HOST"] = f"127.0.0.1:{embedded.port}"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": paths(tmp_path), **settings}
    target = Settings.from_env(settings).targets[0]

    tested = run_python(tmp_path, env, "-m", "pytest", "-p", "no:cacheprovider")
    said = "\n".join(said_by(line, env, client, tmp_path) for line in lines)

    assert "2 passed" in tested.stdout, tested.stdout
    assert "2 claimed, 1 acknowledged, 1 parked" in said
    assert "the order has no number" in said
    assert (tmp_path / "orders" / "7.json").read_text(encoding="utf-8") == '{"number": 7, "customer": "ada"}'
    assert state(client, target).pending == {}


def said_by(line: str, env: dict[str, str], client: Client, folder: Path) -> str:
    """What a line of the page's shell prints."""
    words = shlex.split(line, comments=True)
    if words[0] == "redis-cli":
        return str(client.execute_command(*words[1:]))
    if words[0] == "sleep":  # nobody waits: the entries are aged
        age_all(client, Settings.from_env(env).targets[0])
        return ""
    command = re.sub(r"\bpython\b", sys.executable, line)
    ended = subprocess.run(["sh", "-c", command], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


# --- the service in Java ----------------------------------------------------------------------------------------------

SERVICE = block("public class Orders")
SHELL = block("HANDLER=http HTTP_URL=")
SPRINGS = [b"_class", b"com.example.Order", b"number", b"7", b"customer.name", b"Ada"]


@contextmanager
def a_java_service(folder: Path) -> Iterator[tuple[int, Path]]:
    """Its port, and the file of what it prints."""
    (folder / "Orders.java").write_text(SERVICE, encoding="utf-8")
    port, log = free_port(), folder / "log"
    env = {**os.environ, "PORT": str(port)}
    with log.open("wb") as out:
        process = subprocess.Popen(["java", "Orders.java"], cwd=folder, env=env, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield port, log
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        httpx2.get(f"http://127.0.0.1:{port}/")
    except httpx2.TransportError:
        return False
    return True


@pytest.mark.skipif(
    shutil.which("javac") is None and os.environ.get("CI", "").lower() != "true",
    reason="there is no JDK here: apt-get install default-jdk-headless",
)
@pytest.mark.timeout(120)
def test_a_java_service_takes_entries_as_spring_writes_them(embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    """The good one is sent twice and done once; the other is a dead letter with the service's words."""
    exported = [word for line in SHELL.splitlines()[:2] for word in shlex.split(line)[1:]]
    settings = dict(word.split("=", 1) for word in exported) | {"REDIS_HOST": f"127.0.0.1:{embedded.port}"}
    with a_java_service(tmp_path) as (port, log):
        settings["HTTP_URL"] = settings["HTTP_URL"].replace("8080", str(port)).replace("localhost", "127.0.0.1")
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings}
        target = Settings.from_env(settings).targets[0]
        given(client, target, Held(SPRINGS), Held(SPRINGS[:2] + SPRINGS[4:]))
        (first, *_), *_ = pending_rows(client, target)

        tried = run_python(tmp_path, env, "-m", "reclaim", "try", first.decode(), "--yes")
        said = "\n".join(said_by(line, env, client, tmp_path) for line in SHELL.splitlines()[2:])

        assert "so\tit would be stored, and acknowledged" in tried.stdout.splitlines(), tried.stderr
        assert "2 claimed, 1 acknowledged, 1 parked" in said
        assert log.read_text().splitlines() == [
            '{"_class": "com.example.Order", "number": "7", "customer.name": "Ada"}'
        ]
        (letter,) = state(client, target).dead
        assert b"the order has no number" in letter[b"error"]
