"""Owns the loading of the Lua scripts. Each script is a file in `lua/`; at its top it names its keys and arguments.

Redis runs a script as one step: no other client's command comes in between. In the names of keys ``{<stream>}`` stands
for the whole stream name, or for the stream's own hash tag if it has one.
"""

from pathlib import Path

_LUA = Path(__file__).with_name("lua")


def script(name: str, *, prelude: str | None = None) -> str:
    """The script of this name. Before it goes the text of `prelude`, another file, which several scripts share.

    The comment at the top of a file is for readers, and is not sent to Redis.
    """
    text = (_LUA / f"{name}.lua").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    first = next(at for at, line in enumerate(lines) if not line.startswith("--"))
    body = "".join(lines[first:])
    return body if prelude is None else script(prelude) + body
