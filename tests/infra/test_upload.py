"""What publishing uploads: exactly the app, by the rules of both programs, whatever else lies in the folder."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.upload import ROOT, by_azd, by_core_tools, size

AT_MOST_BYTES = 2_000_000
APP = ("function_app.py", "host.json", "requirements.txt", "reclaim/")
YOURS = ("handlers.py", "orders/handlers.py", "orders/tests.json", "ca.pem", "develop/x.py", "tests_of_mine.py")

CLUTTER = """
.env .env.local .env.production .coverage .coverage.host.1 coverage.xml coverage/index.html htmlcov/index.html
.python-version .python_packages/lib/x.py .idea/workspace.xml .vscode/settings.json .DS_Store
reclaim/.DS_Store reclaim/state/.DS_Store Thumbs.db build/lib/reclaim/app.py dist/reclaim-0.1.0.tar.gz
reclaim.egg-info/PKG-INFO reclaim_env/bin/python reclaim_env/lib/python3.13/site-packages/redis/client.py
.venv/bin/python .venv/pyvenv.cfg venv/pyvenv.cfg .venv313/pyvenv.cfg env/lib/x.py
__pycache__/function_app.cpython-311.pyc reclaim/__pycache__/app.cpython-311.pyc
reclaim/state/__pycache__/find.cpython-311.pyc orders/__pycache__/x.pyc .azure/dev/.env .azure/config.json
local.settings.json local.settings.production.json __azurite_db_blob__.json __blobstorage__/x
__queuestorage__/x .hypothesis/x .mypy_cache/x .pytest_cache/x .ruff_cache/x .tox/x .nox/x
node_modules/x/index.js dev/page/node_modules/x/index.js dev/kql/node_modules/x.js func.log .git/config
.github/workflows/deploy.yml SECURITY.md Containerfile
"""

Rule = Callable[[Path], list[str]]
both_programs = pytest.mark.parametrize("uploaded", [by_core_tools, by_azd])


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that git has, as they are now."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            put(tmp_path / name, (ROOT / name).read_bytes())
    return tmp_path


def put(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def app_of(root: Path) -> list[str]:
    """The app's files."""
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return [path for path in paths if path.startswith(APP) and ".git/" not in path]


@both_programs
def test_exactly_the_app_is_uploaded(uploaded: Rule, clone: Path) -> None:
    expected = app_of(clone)

    assert uploaded(clone) == expected
    assert "reclaim/state/lua/park.lua" in expected
    assert size(clone, expected) < AT_MOST_BYTES


@both_programs
def test_nothing_of_a_developers_clutter_is_uploaded(uploaded: Rule, clone: Path) -> None:
    expected = app_of(clone)
    for name in CLUTTER.split():
        put(clone / name)

    assert uploaded(clone) == expected


@both_programs
def test_files_of_your_own_are_uploaded(uploaded: Rule, clone: Path) -> None:
    """A handler, the certificate of a private CA; also where their names begin like what is left out."""
    before = uploaded(clone)
    for name in YOURS:
        put(clone / name)

    assert set(uploaded(clone)) - set(before) == set(YOURS)


def test_the_page_says_how_much_is_uploaded(clone: Path) -> None:
    """To a tenth of a megabyte, more or less."""
    said = re.search(
        r"its files alone, (\d\.\d) MB together", (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    )

    assert said
    assert abs(float(said[1]) - size(clone, app_of(clone)) / 1_000_000) < 0.1
