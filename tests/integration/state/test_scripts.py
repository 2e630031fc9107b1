"""The Lua scripts on a server: each is Lua that the server understands."""

from pathlib import Path

import pytest

import reclaim.state.scripts
from reclaim.state.scripts import script
from tests.support import Client

NAMES = sorted(path.stem for path in (Path(reclaim.state.scripts.__file__).parent / "lua").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_server_understands_the_script(client: Client, name: str) -> None:
    is_circuit = name.startswith("circuit_") and name != "circuit_prelude"
    text = script(name, prelude="circuit_prelude" if is_circuit else None)

    assert len(client.execute_command("SCRIPT", "LOAD", text)) == 40
