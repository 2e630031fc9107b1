"""Writes what is made of the table of settings: the two tables in README.md, and .env.example.

`python -m dev.settings_table` rewrites both files. A test says when that has been forgotten.
"""

import shlex
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reclaim.reading import Setting
from reclaim.settings import OF_APP, OF_TARGET

ROOT = Path(__file__).parents[1]
README, ENV_EXAMPLE = ROOT / "README.md", ROOT / ".env.example"
WIDTH = 100
HEAD = """\
# Settings of the plain program. Copy this file to .env, fill in what is required, and take the # from what you change:
#
#     set -a; . ./.env; set +a; python -m reclaim doctor
#
# `python -m dev.settings_table` makes this file of the table in reclaim/settings.py.
"""

Rows = Iterable[Setting[Any]]


def main() -> None:
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")
    ENV_EXAMPLE.write_text(env_example(), encoding="utf-8")


def readme(text: str) -> str:
    """The README with today's tables between its markers."""
    return _between("the app", OF_APP, _between("a target", OF_TARGET, text))


def env_example() -> str:
    """A file that sh can read, with every setting: what is required is empty, and defaults stand in comments."""
    return HEAD + "".join(_lines(row) for row in (*OF_APP, *OF_TARGET) if row.is_listed)


def _between(part: str, rows: Rows, text: str) -> str:
    """The text with a part's table in the place of what stands between its markers."""
    opened, marker, rest = text.partition(f"<!-- of {part}: python -m dev.settings_table writes this -->\n")
    _, end, after = rest.partition("<!-- end -->")
    return f"{opened}{marker}{_table(rows)}{end}{after}"


def _table(rows: Rows) -> str:
    lines = [f"| `{row.name}` | {_default(row)} | {_meaning(row)} |" for row in rows if row.is_listed]
    return "\n".join(["| name | default | meaning |", "|---|---|---|", *lines, ""])


def _default(row: Setting[Any]) -> str:
    """A default as the README shows it: numbers plainly, text as code."""
    if row.is_required:
        return "required"
    if row.default is None:
        return "none"
    text = row.kind.write(row.default)
    return f"`{text}`" if isinstance(row.default, str | bool) else text


def _meaning(row: Setting[Any]) -> str:
    return f"{row.meaning} (secret)" if row.kind.is_secret else row.meaning


def _lines(row: Setting[Any]) -> str:
    comment = textwrap.fill(_meaning(row), WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    if row.is_required:
        return f"\n{comment} (required)\n{row.name}=\n"
    default = "" if row.default is None else shlex.quote(row.kind.write(row.default))
    return f"\n{comment}\n#{row.name}={default}\n"


if __name__ == "__main__":
    main()
