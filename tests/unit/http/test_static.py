"""The dashboard's files: all of them, and nothing else, and known again by their tags."""

import re
from pathlib import Path

import pytest

from reclaim.http import static

PAGE = "index.html"
FOLDER = Path(static.__file__).parent / "dashboard"


def test_each_file_there_is_served_and_loaded_by_the_page() -> None:
    """One that the page forgot would be fetched late, and one that nobody needs is no part of it."""
    page = static.files()[PAGE].content.decode()

    named = re.findall(r'(?:href|src)="dashboard/([^"]+)"', page)

    assert sorted([*named, PAGE]) == sorted(path.name for path in FOLDER.iterdir()) == sorted(static.files())


def test_modules_import_each_other_and_nobody_else() -> None:
    """By relative names, which work wherever the app is mounted, and in no circle."""
    imports = {
        path.name: re.findall(r'^(?:import|\} from|import .* from) "([^"]+)";$', path.read_text("utf-8"), re.MULTILINE)
        for path in FOLDER.glob("*.js")
    }

    assert {found for some in imports.values() for found in some} <= {f"./{name}" for name in imports}
    done: set[str] = set()
    while ready := {
        name for name, some in imports.items() if name not in done and {one.removeprefix("./") for one in some} <= done
    }:
        done |= ready
    assert done == imports.keys()


@pytest.mark.parametrize("header", ['"tag"', '"other", "tag"', 'W/"tag"', "*"])
def test_a_browser_that_has_the_file_is_not_sent_it_again(header: str) -> None:
    """Tags are compared weakly (https://www.rfc-editor.org/rfc/rfc9110#field.if-none-match): proxies make them weak."""
    assert static.File(b"", "text/css", '"tag"').is_known_by(header)


@pytest.mark.parametrize("header", ['"other"', "tag", '"tag', ""])
def test_a_browser_that_has_another_file_is_sent_this_one(header: str) -> None:
    """So is one that has none."""
    assert not static.File(b"", "text/css", '"tag"').is_known_by(header)
