"""The installed package: its types are strict for whoever writes a handler, and it runs under an app of one's own."""

import json
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support import Client, Endpoint, a_target, env_for, given, held, pending_count

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "handlers.md").read_text(encoding="utf-8")

TYPED = """
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import reclaim
from reclaim import Entry, Failures, RejectEntry, RetryEntry, batch


async def handle(entry: Entry) -> None:
    value: bytes | None = entry.get("id")
    text: str = entry.text("text")
    pairs: list[tuple[str, str]] = entry.items()
    whole: dict[str, str] = entry.dict()
    names: tuple[str, str, int, bool] = (entry.stream, entry.group, entry.deliveries, entry.is_last_delivery)
    if not (value and text and pairs and whole and names):
        raise RejectEntry("nothing")
    raise RetryEntry("later", after_sec=3)


@batch(most=50)
def handle_many(entries: Sequence[Entry]) -> Failures | None:
    return {entry.id: ValueError(reclaim.__version__) for entry in entries}


@reclaim.batch()
async def later(entries: Sequence[Entry]) -> None:
    for entry in entries:
        await handle(entry)


@asynccontextmanager
async def resource() -> AsyncIterator[Callable[[Entry], Awaitable[None]]]:
    yield handle


ONE = Entry.of({"id": "1", "raw": b"1", "count": 3}, id="5-0")
TWO = Entry.of([("a", 1), ("a", 2)])
"""

WRONG = """
from reclaim import Entry, batch

@batch(most=50)
def handle(entry: Entry) -> None: ...

text: bytes = Entry.of({"a": "b"}).text("a")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of packages of a virtual environment that holds the built wheel, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"  # a build leaves files where it builds
    shutil.copytree(ROOT / "reclaim", source / "reclaim", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt", "requirements-cli.txt"):
        shutil.copy(ROOT / name, source)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        folder,
        source,
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("reclaim-*.whl")
    venv.create(folder / "venv")
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    return packages


def strictly(installed: Path, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """What mypy --strict says of a module that imports the installed package."""
    (folder / "typed.py").write_text(code, encoding="utf-8")
    python = installed.parents[2] / "bin" / "python"
    words = ["--strict", "--python-executable", str(python), "--cache-dir", str(folder / "cache"), "typed.py"]
    return subprocess.run(
        [sys.executable, "-m", "mypy", *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_handler_is_checked_strictly(installed: Path, tmp_path: Path) -> None:
    ended = strictly(installed, tmp_path, TYPED)

    assert ended.returncode == 0, ended.stdout


def test_a_wrong_handler_is_found_by_its_types(installed: Path, tmp_path: Path) -> None:
    ended = strictly(installed, tmp_path, WRONG)

    assert ended.stdout.count("error:") == 2, ended.stdout


def test_it_runs_under_an_app_of_ones_own(installed: Path, embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    """The documented function_app.py, beside the handlers, in a folder with nothing else; the timer is called once."""
    (code,) = (one for one in re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL) if "FunctionApp()" in one)
    (tmp_path / "function_app.py").write_text(code, encoding="utf-8")
    (tmp_path / "my_handlers.py").write_text(
        "def handle(entry): print(f'handled {entry.id.decode()}\\n', end='')", encoding="utf-8"
    )
    target = a_target()
    given(client, target, *held(range(2)))
    call = (
        "import asyncio, json, function_app, reclaim\n"
        "functions = {one.get_function_name(): one for one in function_app.app.get_functions()}\n"
        "asyncio.run(functions['reclaim'].get_user_function()(None))\n"
        "print(json.dumps([reclaim.__file__, sorted(functions)]))\n"
    )
    env = env_for(embedded, target, HANDLER="my_handlers:handle", PYTHONPATH=f"{installed}:{tmp_path}")

    ended = subprocess.run(
        [sys.executable, "-c", call], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    *handled, told = ended.stdout.splitlines()
    file, functions = json.loads(told)
    assert sorted(handled) == ["handled 1-0", "handled 2-0"]
    assert Path(file).is_relative_to(installed)
    assert {"reclaim", "get_status", "dashboard"} <= set(functions)
    assert pending_count(client, target) == 0
