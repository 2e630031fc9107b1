"""The functions in docs/handlers.md finish entries as they are shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import Client, Endpoint, a_target, env_for, given, held, pending_count

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "handlers.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", ["store", "handle_many", "dispatch"])
def test_a_function_works_as_it_is_shown(name: str, embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    (code,) = (block for block in BLOCKS if f"async def {name}(" in block)
    target = a_target()
    given(client, target, *held(range(3)))
    (tmp_path / "my_handlers.py").write_text(code, encoding="utf-8")
    env = env_for(embedded, target, HANDLER=f"my_handlers:{name}", LANES="1", PYTHONPATH=f"{tmp_path}:{ROOT}")

    ended = subprocess.run(
        [sys.executable, "-m", "reclaim", "run"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )

    assert "3 claimed, 3 acknowledged" in ended.stdout, ended.stderr
    assert pending_count(client, target) == 0


def test_an_entry_is_made_as_it_is_shown() -> None:
    (code,) = (block for block in BLOCKS if "Entry.of(" in block)

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_an_entry_is_tried_as_it_is_shown(embedded: Endpoint, tmp_path: Path) -> None:
    """With the dispatcher."""
    text = (ROOT / "docs" / "handlers.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"```sh\n(.*?reclaim try.*?)```", text, re.DOTALL)
    (code,) = (block for block in BLOCKS if "async def dispatch(" in block)
    (tmp_path / "my_handlers.py").write_text(code, encoding="utf-8")
    env = env_for(embedded, HANDLER="my_handlers:dispatch", PYTHONPATH=f"{tmp_path}:{ROOT}")

    ended = subprocess.run(
        ["sh", "-c", command.replace("python", sys.executable)], env=env, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stdout.splitlines()[0]) == (0, "ada"), ended.stderr
    assert "so\tit would be stored, and acknowledged" in ended.stdout.splitlines()
