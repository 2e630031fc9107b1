"""Owns the Lua scripts as they are loaded: each stands in a file of `lua/`, which opens with its keys by name.

Redis runs a script as one step: no other client's command comes in between. In the names of keys ``{<stream>}`` stands
for the whole stream name, or for the stream's own hash tag if it has one.
"""

from pathlib import Path

_LUA = Path(__file__).with_name("lua")


def script(name: str, *, prelude: str | None = None) -> str:
    """The script of this name, behind what another file has for all scripts of its kind.

    What the file opens with is for readers, and is not sent.
    """
    text = (_LUA / f"{name}.lua").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    first = next(at for at, line in enumerate(lines) if not line.startswith("--"))
    body = "".join(lines[first:])
    return body if prelude is None else script(prelude) + body
