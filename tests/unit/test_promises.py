"""docs/promises.md is true: its functions and tests exist, and each test is marked with the promise it proves.

The format of docs/promises.md:

- Each promise has a heading ``## G3: …`` and below it a table.
- The first column names functions in backticks as ``module:function`` (``module:Class.method``).
- The last column names tests in backticks as ``path::test``. The path begins at the repository, and has no parameters.

Each test that a promise's table names carries the promise's marker, ``@pytest.mark.G3``: ``pytest -m G3`` runs them. A
test file as a whole carries it as ``pytestmark = pytest.mark.G3``. A test with a marker of its own stands in the table.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (G\d): [^\n]+\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
ALL = [f"G{number}" for number in range(1, 10)]


def rows(text: str) -> list[tuple[list[str], list[str]]]:
    """The functions and the tests that each row of a promise's table names."""
    cells = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [(re.findall("`([^`]+)`", row[0]), re.findall("`([^`]+)`", row[-1])) for row in cells]


def named_tests(text: str) -> set[str]:
    return {test for _, tests in rows(text) for test in tests}


@cache
def marks_by_test(path: Path) -> dict[str, set[str]]:
    """The tests of a file, each with the promises it is marked with itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name: {name for decorator in node.decorator_list for name in marks(decorator)}
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@cache
def file_marks(path: Path) -> set[str]:
    """The promises that a file as a whole is marked with."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return {
        name
        for node in assigned
        if [target.id for target in node.targets if isinstance(target, ast.Name)] == ["pytestmark"]
        for name in marks(node.value)
    }


def marks(node: ast.AST) -> Iterator[str]:
    """The promises among the markers of an expression."""
    for one in ast.walk(node):
        if (
            isinstance(one, ast.Attribute)
            and ast.unparse(one.value) == "pytest.mark"
            and re.fullmatch(r"G\d", one.attr)
        ):
            yield one.attr


def exists(function: str) -> bool:
    """Whether there is such a function, method or class: ``module:Class.method``."""
    module, _, path = function.partition(":")
    try:
        found = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        return False
    return callable(found)


def test_every_promise_has_a_section_with_functions_and_tests() -> None:
    assert list(SECTIONS) == ALL
    assert [name for name, text in SECTIONS.items() if not rows(text)] == []
    assert [row for text in SECTIONS.values() for row in rows(text) if not all(row)] == []


@pytest.mark.parametrize("promise", ALL)
def test_every_function_that_a_promise_names_exists(promise: str) -> None:
    functions = [function for functions, _ in rows(SECTIONS[promise]) for function in functions]

    assert [function for function in functions if not exists(function)] == []


def test_every_test_that_the_page_names_exists() -> None:
    missing = {
        f"{path}::{test}"
        for path, test in re.findall(r"`(tests/[^`]+?\.py)::([^`]+)`", TEXT)
        if not (ROOT / path).is_file() or test not in marks_by_test(ROOT / path)
    }

    assert missing == set()


@pytest.mark.parametrize("promise", ALL)
def test_every_test_that_a_promise_names_is_marked_with_it(promise: str) -> None:
    unmarked = set()
    for name in named_tests(SECTIONS[promise]):
        path, _, test = name.partition("::")
        if promise not in marks_by_test(ROOT / path).get(test, set()) | file_marks(ROOT / path):
            unmarked.add(name)

    assert unmarked == set()


def test_every_test_with_a_marker_of_its_own_is_named_under_that_promise() -> None:
    unnamed = {
        f"{promise}: {name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for test, promises in marks_by_test(path).items()
        for promise in promises
        if (name := f"{path.relative_to(ROOT)}::{test}") not in named_tests(SECTIONS.get(promise, ""))
    }

    assert unnamed == set()


def test_every_file_in_a_promises_folder_is_marked_with_it() -> None:
    """`tests/promises/g3_order/` is what proves G3 across modules."""
    unmarked = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests" / "promises").glob("g*/test_*.py"))
        if path.parent.name[:2].upper() not in file_marks(path)
    ]

    assert unmarked == []
