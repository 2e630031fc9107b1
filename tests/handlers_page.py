"""The code blocks of docs/handlers.md, for the tests that run them. A test sees to it that each block has one."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "handlers.md"


@cache
def blocks() -> list[str]:
    """All blocks with a language, in their order."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(r"^ *```\w+\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def block(words: str) -> str:
    """The one block with these words in it. Tests pass plain text, so that `asked_for` can find it."""
    found = [one for one in blocks() if words in one]
    assert len(found) == 1, f"{len(found)} blocks hold {words!r}"
    return found[0]


def asked_for() -> Iterator[str]:
    """The words of every call of `block` in the tests."""
    for file in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="block"), args=[ast.Constant(value=str(words))]):
                    yield words
