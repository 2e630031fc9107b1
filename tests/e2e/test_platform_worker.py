"""The platform's own worker for Python 3.13 and newer indexes the app and invokes it, in a Python of that version.

`make python-3.13` makes one in build/. Where there is none, these tests are skipped.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dev.pythons import python_of
from reclaim.fan_out import Message
from tests.handlers_page import block
from tests.support import Client, Endpoint, State, a_target, env_for, given, held, pending_count, state, stored

ROOT = Path(__file__).parents[2]


def the_python() -> Path:
    """A Python that has the worker."""
    if find_spec("azure_functions_runtime") is not None:
        return Path(sys.executable)
    python = python_of("3.13")
    if python is None:
        pytest.skip("there is no Python 3.13 with the platform's worker here: `make python-3.13` makes one")
    return python


def probe(env: dict[str, str], folder: Path = ROOT) -> dict[str, Any]:
    """What came of indexing and invoking the app in this folder with these settings."""
    command = [str(the_python()), str(Path(__file__).with_name("worker_probe.py"))]
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=100)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_the_worker_indexes_the_app_and_invokes_timer_and_http(embedded: Endpoint, client: Client) -> None:
    """The timer reclaims, and a route answers."""
    target, entries = a_target(), held(range(5))
    given(client, target, *entries)

    found = probe(env_for(embedded, target))

    assert found["init"] == "Success", found
    assert {"reclaim", "get_status", "dashboard"} <= set(found["functions"])
    assert "reclaim_target" not in found["functions"]
    assert (found["timer"]["status"], found["timer"]["error"]) == ("Success", "")
    assert (found["status"]["status"], found["status"]["http"]) == ("Success", "200")
    assert state(client, target) == State(hashes=stored(*entries), length=5)


def test_the_timer_hands_its_messages_to_the_output_binding(embedded: Endpoint, client: Client) -> None:
    """With FAN_OUT=queue: the worker takes the list, and the host would enqueue each text."""
    target = a_target()
    given(client, target, *held(range(2)))

    found = probe(env_for(embedded, target, FAN_OUT="queue"))

    assert "reclaim_target" in found["functions"]
    assert found["timer"]["status"] == "Success", found
    (text,) = json.loads(found["timer"]["outputs"]["messages"])
    assert Message.of(text).target == "s/g"
    assert pending_count(client, target) == 2


def test_the_worker_takes_an_app_of_ones_own_with_a_function_called_as_one_of_ours(
    embedded: Endpoint, client: Client, tmp_path: Path
) -> None:
    """As docs/handlers.md shows it; without the prefix the worker refuses the whole app."""
    own = [block("app = func.FunctionApp()"), block("def get_status(")]
    (tmp_path / "function_app.py").write_text("\n".join(own), encoding="utf-8")
    target = a_target()
    given(client, target, *held(range(2)))
    env = env_for(embedded, target, PYTHONPATH=str(ROOT))

    without, found = probe(env, tmp_path), probe(env | {"RECLAIM_PREFIX": "reclaim"}, tmp_path)

    assert "get_status" in without["error"]
    assert {"reclaim", "get_status", "reclaim_get_status", "reclaim_dashboard"} <= set(found["functions"])
    assert (found["timer"]["status"], found["timer"]["error"]) == ("Success", "")
    assert (found["status"]["status"], found["status"]["http"]) == ("Success", "200")
    assert pending_count(client, target) == 0


def test_a_bad_setting_fails_the_invocation_in_words(embedded: Endpoint) -> None:
    """The app is indexed all the same, so that its dashboard can say what is wrong."""
    found = probe(env_for(embedded, PAGE_SIZE="0"))

    assert found["init"] == "Success"
    assert found["timer"]["status"] == "Failure"
    assert "PAGE_SIZE is '0'; allowed: a whole number from 1 to 1000" in found["timer"]["error"]
