"""No message ends in ": ": an error that says nothing, or cannot be asked, is told by its class."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from reclaim.errors import describe, said

ROOT = Path(__file__).parents[2] / "reclaim"
LOGS = {"debug", "info", "warning", "error", "exception", "critical"}


class Mute(Exception):
    """An error that fails when it is asked for its text."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [ValueError(), ValueError(""), ValueError(" \n"), ValueError(": "), TimeoutError()])
def test_an_error_without_words_is_told_by_its_class(error: Exception) -> None:
    assert said(error) == describe(error) == type(error).__name__


@pytest.mark.parametrize("error", [ValueError("no row: "), ValueError("no row:\n"), Mute("x")])
def test_no_error_ends_in_a_colon(error: Exception) -> None:
    assert not said(error).endswith((":", " "))
    assert not describe(error).endswith((":", " "))


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.py")), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_errors_are_put_into_messages_by_what_never_says_nothing(file: Path) -> None:
    """An error from `except … as` goes through `said` or `describe`, in texts and in the log; `repr` is fine too."""
    tree = ast.parse(file.read_text(encoding="utf-8"))

    assert sorted(_bare(tree)) == []


def _bare(tree: ast.AST) -> Iterator[str]:
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or handler.name is None:
            continue
        for node in ast.walk(handler):
            if isinstance(node, ast.FormattedValue) and node.conversion == -1 and _says(node.value, handler.name):
                yield f"line {node.lineno}: {ast.unparse(node)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOGS:
                for argument in node.args[1:]:
                    if _says(argument, handler.name):
                        yield f"line {node.lineno}: {ast.unparse(argument)} in the log"


def _says(node: ast.expr, name: str) -> bool:
    """Whether this is the error itself, or an attribute that may be empty or None."""
    if isinstance(node, ast.Name):
        return node.id == name
    is_of_error = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    return is_of_error and isinstance(node, ast.Attribute) and node.attr in {"strerror", "reason", "args", "message"}
