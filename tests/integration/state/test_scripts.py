"""The Lua scripts on a server: each is Lua that the server understands."""

from pathlib import Path

import pytest

import reclaim.state.scripts
from reclaim.state.scripts import script
from tests.support import Client

NAMES = sorted(path.stem for path in (Path(reclaim.state.scripts.__file__).parent / "lua").iterdir())

PRELUDES = {
    "circuit": "circuit_prelude",
    "claim": "lost_prelude",
    "keep": "lost_prelude",
    "acknowledge": "delete_prelude",
    "park": "keep_prelude",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_server_understands_the_script(client: Client, name: str) -> None:
    prelude = None if name.endswith("_prelude") else PRELUDES.get(name.partition("_")[0])
    text = script(name, prelude=prelude)

    assert len(client.execute_command("SCRIPT", "LOAD", text)) == 40
