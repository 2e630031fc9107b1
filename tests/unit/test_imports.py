"""Which module may import which (DESIGN.md), and what importing the function app does not do."""

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

# From the bottom to the top: a module imports only from layers below its own. A new module is entered here, in the
# lowest layer that it fits. `__init__` holds the version and nothing else.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__init__", "entry", "errors", "schedule", "facts", "operation"),  # values and words
    ("keys", "contract", "retry", "pace"),
    ("settings",),
    ("connection",),  # capabilities, from here …
    ("handlers", "pending", "lease", "deadletters", "circuit", "standing", "about", "permissions"),
    ("lanes", "report", "lost"),
    ("storing", "health", "alerts", "measures"),
    ("finding", "telemetry"),
    ("examine", "exports"),  # … to here
    ("hands", "passage"),
    ("pages",),
    ("runner", "replay", "doctor"),
    ("app",),
    ("status", "terminal", "watch"),
    ("views",),
    ("ops", "cli_session"),  # the front doors, from here …
    ("cli_circuit", "cli_dead"),
    ("cli",),
    ("__main__", "function_app"),  # … to here
)
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}

# What only these modules may import, so that the others are quick to load and work where it is not installed.
ONLY = {
    "opencensus": {"telemetry"},
    "typer": {"cli", "cli_circuit", "cli_dead", "cli_session"},
    "rich": {"terminal", "views"},
    "croniter": {"watch"},
    "azure": {"function_app", "ops", "telemetry"},
    "tenacity": {"retry"},
}


def _files() -> dict[str, Path]:
    """Our modules by name."""
    package = {path.stem: path for path in sorted((ROOT / PACKAGE).glob("*.py"))}
    return package | {"function_app": ROOT / "function_app.py"}


FILES = _files()


def imported(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, wherever in it, with what is imported from it: ``reclaim.keys.Keys``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = f"{PACKAGE}.{node.module or ''}".rstrip(".") if node.level else str(node.module)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def our_module(name: str) -> str | None:
    """Which of our modules an imported name comes from; None where it is not ours."""
    first, *rest = name.split(".")
    if first != PACKAGE:
        return first if first in FILES else None
    return rest[0] if rest and rest[0] in FILES else "__init__"


def test_the_table_names_every_module() -> None:
    """A module nobody has given a layer could import anything."""
    assert FILES.keys() - LEVEL.keys() == set()
    assert len(LEVEL) == sum(map(len, LAYERS))


@pytest.mark.parametrize("module", FILES)
def test_imports_go_down_only(module: str) -> None:
    """Each module imports from lower layers, so that there is no circle and every part can be read by itself."""
    ours = {source for name in imported(FILES[module]) if (source := our_module(name))}

    assert {source for source in ours if LEVEL.get(source, 0) >= LEVEL.get(module, 1)} == set()


@pytest.mark.parametrize("module", FILES)
def test_some_libraries_belong_to_one_module(module: str) -> None:
    """Telemetry's, the command line's and Azure's libraries are imported where they are needed, and nowhere else."""
    libraries = {name.partition(".")[0] for name in imported(FILES[module])}

    assert {library for library in libraries & ONLY.keys() if module not in ONLY[library]} == set()


def test_the_runner_knows_nothing_of_what_is_done_with_its_reports() -> None:
    """Alerts, telemetry and the command line get the report from the app; none of them can fail a run."""
    ours = {our_module(name) for name in imported(FILES["runner"])}

    assert ours & {"alerts", "telemetry", "exports", "measures", "health", "standing"} == set()


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


@pytest.mark.parametrize("schedule", [None, "0 * * * * *"])
def test_importing_the_function_app_reads_one_setting_and_connects_to_nothing(schedule: str | None) -> None:
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
    assert found["read"] == ["RECLAIM_SCHEDULE"]
    assert found["connected"] == []
    roots = {name.partition(".")[0] for name in found["modules"]}
    assert roots & {"opencensus", "typer", "rich", "croniter", "requests"} == set()
    late = {f"reclaim.{name}" for name in ("status", "health", "facts", "schedule", "about", "replay", "exports")}
    assert late & set(found["modules"]) == set(), "every cold start would pay for them"
