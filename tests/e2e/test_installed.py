"""The installed package: its types are strict for whoever writes a handler, and it runs under an app of one's own."""

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.handlers_page import PAGE, ROOT, block
from tests.support import Client, Endpoint, a_target, env_for, given, held, pending_count

APP = block("app = func.FunctionApp()")
COLLIDING = block("def get_status(")

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


def test_the_wheel_is_called_as_the_page_says(installed: Path) -> None:
    (wheel,) = installed.parents[3].glob("*.whl")

    assert PAGE.read_text(encoding="utf-8").count(wheel.name) == 3


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_packages_the_command_line_says_how_to_get_them(missing: str, tmp_path: Path) -> None:
    """From where reclaim came from: no package index is asked for one of its name."""
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError(name={missing!r})", encoding="utf-8")

    ended = subprocess.run(
        [sys.executable, "-m", "reclaim", "doctor"],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"the command line needs {missing}: pip install '.[cli]' in reclaim's repository, or "
        "'./reclaim-0.1.0-py3-none-any.whl[cli]' beside its wheel\n"
    )


def test_a_handler_is_checked_strictly(installed: Path, tmp_path: Path) -> None:
    ended = strictly(installed, tmp_path, TYPED)

    assert ended.returncode == 0, ended.stdout


def test_the_handlers_of_the_page_are_checked_strictly(installed: Path, tmp_path: Path) -> None:
    """Those that need no other package."""
    words = ("# my_handlers.py\n", "async def store(", "async def handle_many(", "async def dispatch(")
    ended = strictly(installed, tmp_path, "\n".join(map(block, words)))

    assert ended.returncode == 0, ended.stdout


def test_a_wrong_handler_is_found_by_its_types(installed: Path, tmp_path: Path) -> None:
    ended = strictly(installed, tmp_path, WRONG)

    assert ended.stdout.count("error:") == 2, ended.stdout


def an_app_of_ones_own(folder: Path, *code: str) -> None:
    """A folder with nothing but a function_app.py and the handlers."""
    (folder / "function_app.py").write_text("\n".join(code), encoding="utf-8")
    (folder / "my_handlers.py").write_text(
        "def handle(entry): print(f'handled {entry.id.decode()}\\n', end='')", encoding="utf-8"
    )


def called(folder: Path, env: dict[str, str], call: str) -> subprocess.CompletedProcess[str]:
    """What a Python prints that has indexed the app, as the host does: it calls `functions` by their names."""
    index = (
        "import asyncio, json, function_app, reclaim\n"
        "import azure.functions as func\n"
        "class Context: trace_context = type('', (), {'trace_parent': ''})\n"
        "functions = {one.get_function_name(): one for one in function_app.app.get_functions()}\n"
    )
    return subprocess.run(
        [sys.executable, "-c", index + call], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def test_it_runs_under_an_app_of_ones_own(installed: Path, embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    """The documented function_app.py, beside the handlers, in a folder with nothing else; the timer is called once."""
    an_app_of_ones_own(tmp_path, APP)
    target = a_target()
    given(client, target, *held(range(2)))
    env = env_for(embedded, target, HANDLER="my_handlers:handle", PYTHONPATH=f"{installed}:{tmp_path}")

    ended = called(
        tmp_path,
        env,
        "asyncio.run(functions['reclaim'].get_user_function()(None, Context))\n"
        "print(json.dumps([reclaim.__file__, sorted(functions)]))\n",
    )

    assert ended.returncode == 0, ended.stderr
    *handled, told = ended.stdout.splitlines()
    file, functions = json.loads(told)
    assert sorted(handled) == ["handled 1-0", "handled 2-0"]
    assert Path(file).is_relative_to(installed)
    assert {"reclaim", "get_status", "dashboard"} <= set(functions)
    assert pending_count(client, target) == 0


def test_an_app_that_has_our_names_and_routes_sets_a_prefix(
    installed: Path, embedded: Endpoint, client: Client, tmp_path: Path
) -> None:
    """Without it the host refuses the app; with it both answer at their routes, and the API's document says where."""
    an_app_of_ones_own(tmp_path, APP, COLLIDING)
    target = a_target()
    given(client, target, *held(range(2)))
    env = env_for(embedded, target, HANDLER="my_handlers:handle", PYTHONPATH=f"{installed}:{tmp_path}")
    ask = (
        "def ask(name, *more):\n"
        "    answer = functions[name].get_user_function()(func.HttpRequest('GET', '/', body=b''), *more)\n"
        "    answer = asyncio.run(answer) if asyncio.iscoroutine(answer) else answer\n"
        "    return answer.get_body().decode()\n"
        "routes = {name: one.get_trigger().get_dict_repr().get('route') for name, one in functions.items()}\n"
        "print(json.dumps([routes, ask('get_status'), ask('reclaim_openapi', Context)]))\n"
    )

    without = called(tmp_path, env, ask)
    ended = called(tmp_path, env | {"RECLAIM_PREFIX": "reclaim"}, ask)

    assert "get_status" in without.stderr
    assert ended.returncode == 0, ended.stderr
    routes, own, document = json.loads(ended.stdout)
    assert routes["get_status"] == "status"
    assert own == "the shop is open"
    ours = {name: route for name, route in routes.items() if name not in {"get_status", "reclaim"}}
    assert all(name.startswith("reclaim_") and route.startswith("reclaim/") for name, route in ours.items())
    assert routes["reclaim_get_status"] == "reclaim/status"
    assert routes["reclaim_dashboard_file"] == "reclaim/dashboard/{file}"
    assert json.loads(document)["servers"] == [{"url": "/api/reclaim"}]
