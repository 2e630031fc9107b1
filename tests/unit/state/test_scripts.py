"""The Lua scripts as files: each is used, is deployed, and says what its keys and arguments are."""

import ast
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from reclaim.state.scripts import script

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "reclaim"
FILES = sorted((PACKAGE / "state" / "lua").iterdir())


def loaded() -> Iterator[str]:
    """The names that our modules give to `script`, preludes too."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "script":
                named = [*node.args, *(keyword.value for keyword in node.keywords)]
                yield from (one.value for one in named if isinstance(one, ast.Constant))


def test_every_file_is_loaded_and_every_load_names_a_file() -> None:
    assert {f"{name}.lua" for name in loaded()} == {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_script_opens_with_all_its_keys_and_arguments(path: Path) -> None:
    """Where it takes any number of the last argument, the opening says so by an ellipsis."""
    text = path.read_text(encoding="utf-8")
    opening = "".join(line for line in text.splitlines(keepends=True) if line.startswith("--"))
    body = text.removeprefix(opening)
    used = set(re.findall(r"(?:KEYS|ARGV)\[\d+\]", body))
    described = set(re.findall(r"^-- ((?:KEYS|ARGV)\[\d+\])", opening, re.MULTILINE))
    rest = set(re.findall(r"^-- (ARGV\[\d+\])…", opening, re.MULTILINE))
    preludes = {"KEYS[1]"} if path.name.startswith("circuit_") else {"KEYS[2]"} if "record_lost(" in body else set()

    assert text.startswith("-- ")
    assert used - described == set()
    assert described - used - rest - preludes == set()
    assert ("#ARGV" in body or "unpack(ARGV" in body) == bool(rest)
    assert "-- Returns " in opening or path.name.endswith("_prelude.lua")


def test_what_is_sent_does_not_carry_the_opening() -> None:
    """It would be sent with each call."""
    sent = script("park")

    assert "ARGV[1]  the group" in (PACKAGE / "state" / "lua" / "park.lua").read_text(encoding="utf-8")
    assert "the group" not in sent
    assert sent.strip().startswith("if redis.replicate_commands")


def test_a_script_stands_behind_its_prelude() -> None:
    prelude, alone = script("circuit_prelude"), script("circuit_enter")

    assert script("circuit_enter", prelude="circuit_prelude") == prelude + alone


def test_the_scripts_are_installed_and_deployed() -> None:
    """As package data where the package is installed; Azure deploys all that .funcignore does not name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["reclaim"]
    ignored = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
    for path in FILES:
        inside = path.relative_to(PACKAGE).as_posix()

        assert any(fnmatch(inside, pattern) for pattern in patterns), inside
        assert not any(fnmatch(part, pattern) for part in path.relative_to(ROOT).parts for pattern in ignored), inside
