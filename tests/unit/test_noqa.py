"""Whoever turns a check off for a line says why, on that line; a check that is not run is not turned off."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
OFF = re.compile(r"# *(noqa(: *[A-Z]+[0-9]+(, *[A-Z]+[0-9]+)*)?|type: ignore(\[[a-z,-]+\])?)")


def without_reason(line: str) -> bool:
    """Whether a line turns a check of ruff or mypy off, and says nothing behind that."""
    offs = list(OFF.finditer(line))
    return bool(offs) and not line[offs[-1].end() :].strip(" #-")


def test_each_check_that_is_off_has_a_reason_beside_it() -> None:
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    bare = [
        f"{name}:{number}"
        for name in files.stdout.split()
        if name != Path(__file__).relative_to(ROOT).as_posix()
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
        if without_reason(line)
    ]
    assert bare == []


def test_types_are_ignored_only_where_mypy_looks() -> None:
    """It does not look at the tests, so nothing is to be ignored there."""
    ignoring = [path for path in (ROOT / "tests").rglob("*.py") if "# type: ignore" in path.read_text(encoding="utf-8")]
    assert ignoring == [Path(__file__)]


def test_a_line_without_a_reason_is_found() -> None:
    assert without_reason("x = 1  # noqa: F401")
    assert without_reason("x = 1  # type: ignore[no-untyped-def]  # noqa: ANN202")
    assert without_reason("x = 1  # type: ignore[misc]")
    assert not without_reason("x = 1  # noqa: F401  # they are for the reader")
    assert not without_reason("x = 1  # type: ignore[misc]  # noqa: ANN202  # it has no types")
