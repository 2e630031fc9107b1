"""Which room may import which, and what importing the function app does not do."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "reclaim"

# The rooms, from the bottom to the top: a room imports from those above its line only what stands before it here.
ROOMS = ("values", "state", "handlers", "run", "observe", "app", "ops", "http", "cli", "function_app")
LEVEL = {room: level for level, room in enumerate(ROOMS)}

# The modules that declare commands and options, and those that end a command.
TYPERS = {"main", "run", "status", "lists", "survey", "doctor", "dead", "filters", "circuit", "try_", "session"}
TYPERS |= {"output", "probes"}

# What only these modules may import, so that the others are quick to load and work where it is not installed.
ONLY = {
    "opencensus": {"observe.app_insights"},
    "typer": {f"cli.{name}" for name in TYPERS},
    "rich": {"cli.progress", "cli.tables", "cli.views"},
    "azure": {"state.entra", "function_app", "http.routes", "observe.app_insights"},
    "tenacity": {"retry"},
    "httpx2": {"observe.webhook"},
    "aiohttp": {"handlers.http", "cli.probes"},
    "prometheus_client": {"ops.metrics"},
    "msgspec": {"http.answers", "http.reading", "http.requests"},
}

# Doors stand beside each other: what both need is an operation in ops, or a value.
BESIDE = {"http", "cli"}


def _files() -> dict[str, Path]:
    """Our modules by name: ``entry``, ``run.pages``, and a room itself (``run``) for its `__init__`."""
    package = ROOT / PACKAGE
    paths = {path.relative_to(package).with_suffix(""): path for path in sorted(package.rglob("*.py"))}
    named = {".".join(path.parts).removesuffix(".__init__"): file for path, file in paths.items()}
    return named | {"function_app": ROOT / "function_app.py"}


FILES = _files()


def imported(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, wherever in it, with what is imported from it: ``reclaim.keys.Keys``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def our_module(name: str) -> str | None:
    """Which of our modules an imported name comes from; None where it is not ours."""
    first, *rest = name.split(".")
    if first != PACKAGE:
        return first if first == "function_app" else None
    dotted = [".".join(rest[:length]) for length in range(len(rest), 0, -1)]
    return next((one for one in dotted if one in FILES), "__init__")


def room_of(module: str) -> str:
    """The room a module stands in; what stands in none is a value, but for the app and its doors."""
    first = module.partition(".")[0]
    return "cli" if first == "__main__" else first if first in LEVEL else "values"


def imports(module: str) -> set[str]:
    """Those of our modules that this one imports, wherever in it."""
    return {ours for name in imported(FILES[module]) if (ours := our_module(name))} - {module}


def test_rooms_are_imported_one_way() -> None:
    """A room knows those before it, so that each can be read without the ones after it."""
    for module in FILES:
        level = LEVEL[room_of(module)]
        above = {one for one in imports(module) if LEVEL[room_of(one)] > level}

        assert above == set(), module


def test_doors_do_not_know_each_other() -> None:
    """What the command line can do must not depend on what HTTP asks for, nor the other way round."""
    for module in FILES:
        others = BESIDE - {room_of(module)} if room_of(module) in BESIDE else set()

        assert {one for one in imports(module) if room_of(one) in others} == set(), module


def test_no_module_imports_itself_by_a_detour() -> None:
    """Inside a room too: without circles every part can be read by itself."""
    known: set[str] = {"__init__"}
    left = {module: imports(module) - known for module in FILES.keys() - known}
    while left:
        free = {module for module, needed in left.items() if not needed}
        assert free, f"a circle among {sorted(left)}"
        left = {module: needed - free for module, needed in left.items() if module not in free}


def test_some_libraries_belong_to_one_module() -> None:
    """Telemetry's, the command line's and Azure's libraries are imported where they are needed, and nowhere else."""
    for module, path in FILES.items():
        libraries = {name.partition(".")[0] for name in imported(path)}

        assert {library for library in libraries & ONLY.keys() if module not in ONLY[library]} == set(), module


def test_what_handlers_import_loads_no_redis() -> None:
    """`from reclaim import Entry` is all that a handler's module needs, in its tests too."""
    code = "import sys; from reclaim import Entry, RejectEntry, RetryEntry; print(*sys.modules)"

    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert {name.partition(".")[0] for name in ended.stdout.split()} & {"redis", "tenacity", "azure", "ssl"} == set()


_PROBE = """
import json, os, sys

ROOT = sys.argv[1]
read, connected = set(), []


class Recording(dict):
    def note(self, name):
        frame = sys._getframe(2)
        while frame is not None:  # os.getenv and Mapping.get stand between us and whoever wants to know
            file = frame.f_code.co_filename
            if file.startswith(ROOT) and ".venv" not in file and "site-packages" not in file:
                read.add(name)
                return
            if not file.endswith(("os.py", "_collections_abc.py", "collections/abc.py", "<string>")):
                return
            frame = frame.f_back

    def __getitem__(self, name):
        self.note(name)
        return super().__getitem__(name)

    def __contains__(self, name):
        self.note(name)
        return super().__contains__(name)

    def get(self, name, default=None):
        self.note(name)
        return super().get(name, default)

    def __iter__(self):
        self.note("everything")
        return super().__iter__()

    def items(self):
        self.note("everything")
        return super().items()

    def keys(self):
        self.note("everything")
        return super().keys()


WATCHED = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen"}
os.environ = Recording(os.environ)
sys.addaudithook(lambda event, _: connected.append(event) if event in WATCHED else None)
import function_app
print(json.dumps({"read": sorted(read), "connected": connected, "modules": sorted(sys.modules)}))
"""


OF_PYTHON = {
    "_PYTHON_SUBPROCESS_USE_POSIX_SPAWN",
    "_PYTHON_SUBPROCESS_USE_VFORK",
}  # what 3.13 asks when it imports subprocess


@pytest.mark.parametrize("schedule", [None, "0 * * * * *"])
def test_importing_the_function_app_reads_three_settings_and_connects_to_nothing(schedule: str | None) -> None:
    """The host imports it to index it, also where nothing is configured, and while the network is not there yet."""
    env = {name: value for name, value in os.environ.items() if name != "RECLAIM_SCHEDULE"} | {
        "REDIS_HOST": "10.255.255.1",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=00000000-0000-0000-0000-000000000000",
        "PYTHONPATH": str(ROOT),
    }
    if schedule:
        env["RECLAIM_SCHEDULE"] = schedule

    ended = subprocess.run(
        [sys.executable, "-c", _PROBE, str(ROOT)], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr

    found = json.loads(ended.stdout)
    assert set(found["read"]) - OF_PYTHON == {"FAN_OUT", "RECLAIM_PREFIX", "RECLAIM_SCHEDULE"}
    assert found["connected"] == []
    roots = {name.partition(".")[0] for name in found["modules"]}
    assert roots & {"opencensus", "typer", "rich", "requests", "msgspec"} == set()
    late = {"reclaim.ops.status", "reclaim.ops.health", "reclaim.ops.facts", "reclaim.schedule", "reclaim.run.replay"}
    late |= {"reclaim.state.cluster", "reclaim.state.topology", "reclaim.run.fan_out"}
    late |= {"reclaim.state.patience", "reclaim.observe.export", "reclaim.ops.operations", "reclaim.http.requests"}
    assert late & set(found["modules"]) == set(), "every cold start would pay for them"


def _loaded(*command: str) -> set[str]:
    """What is loaded when a command has ended."""
    code = (
        "import sys, atexit; from reclaim.__main__ import main; atexit.register(lambda: print(*sys.modules));"
        f"sys.argv[1:] = {[*command]!r}; main()"
    )
    env = {**os.environ, "REDIS_HOST": "127.0.0.1:1", "REDIS_TLS": "false", "STREAM_NAME": "s"}
    env |= {"STREAM_CONSUMER_GROUP_NAME": "g", "RETRY_ATTEMPTS": "1"}
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return set(ended.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["stauts"], []], ids=repr)
def test_the_list_of_commands_loads_no_command(command: list[str]) -> None:
    """Who only asks what there is waits for nothing: a command's module is loaded when it is called."""
    loaded = _loaded(*command)

    ours = {name.removeprefix("reclaim.") for name in loaded if name.startswith("reclaim.")} - {"__main__"}
    assert {name for name in ours if room_of(name) != "values"} == {"cli", "cli.main", "cli.output"}
    assert {name.partition(".")[0] for name in loaded} & {"redis", "rich", "asyncio", "tenacity", "pydantic"} == set()


# What the status needs not, with what is large among it: each takes milliseconds of every command's start.
NOT_FOR_STATUS = {"pydantic", "msgspec", "httpx2", "aiohttp", "azure", "opencensus", "prometheus_client", "requests"}
OURS_NOT_FOR_STATUS = {
    *("cli.dead", "cli.run", "cli.try_", "cli.survey", "cli.lists", "cli.progress", "cli.probes", "run.replay"),
    *("ops.letter_acts", "ops.letter_looks", "ops.survey", "ops.trying", "ops.saved", "state.cluster", "state.entra"),
}


def test_the_status_loads_only_what_it_needs() -> None:
    """It is asked for again and again, by people and by probes, so it has to start quickly."""
    loaded = _loaded("status")

    assert "reclaim.ops.status" in loaded
    assert {name.partition(".")[0] for name in loaded} & NOT_FOR_STATUS == set()
    assert {f"reclaim.{name}" for name in OURS_NOT_FOR_STATUS} & loaded == set()


def test_what_only_metrics_need_is_loaded_for_them_alone() -> None:
    """Neither any other request nor a command pays for it."""
    code = "import sys, reclaim.http.answers, reclaim.cli.main; print(*sys.modules)"

    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert {name.partition(".")[0] for name in ended.stdout.split()} & {"prometheus_client", "aiohttp"} == set()
