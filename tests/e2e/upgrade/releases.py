"""Two releases of reclaim at work, each in a process of its own: the one before, out of git, and this one."""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Self

import pytest

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent

# The release that this one takes the place of. When a part of the work has landed, the next one sets this to the commit
# that it began from (`git rev-parse HEAD`), so that what has landed stays able to work beside what comes.
RELEASE_BEFORE = "6b13f4fa85d8da76e107f73e70ffd54fb8dd458d"


def release_before(folder: Path) -> Path:
    """The release before, unpacked into a folder.

    A clone without history does not have it: the test is skipped. In one with history it must be there.
    """
    asked = _git("rev-parse", "--is-shallow-repository")
    if asked.returncode or asked.stdout.strip() == b"true":
        pytest.skip("the release before is in git's history, and there is no history here")
    archived = _git("archive", RELEASE_BEFORE, "reclaim")
    assert archived.returncode == 0, f"RELEASE_BEFORE is not in the history: {archived.stderr.decode()}"
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 1, b"", b"git is not installed")


class Release:
    """A release at work; requests go to its driver."""

    def __init__(self, code: Path) -> None:
        self.code = code
        # A pipe that nobody reads would fill, and stop the driver.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  # it is closed with the driver
        self._driver = subprocess.Popen(
            [sys.executable, str(HERE / "driver.py")],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(code), str(HERE)])},
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.communicate()
        self._said.close()

    def begin(self, env: dict[str, str]) -> None:
        """Make its app anew, with these settings; its code is the one that is meant."""
        assert Path(self.ask("begin", env=env)).is_relative_to(self.code)

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have it do something, and wait for what comes of it."""
        self.tell(do, **arguments)
        return self.answer()

    def tell(self, do: str, **arguments: Any) -> None:
        """Have it do something, while the test does something else."""
        assert self._driver.stdin is not None
        self._driver.stdin.write(json.dumps({"do": do} | arguments) + "\n")
        self._driver.stdin.flush()

    def answer(self) -> Any:
        """What came of what it was told to do."""
        assert self._driver.stdout is not None
        line = self._driver.stdout.readline()
        if not line:
            self._said.seek(0)
            pytest.fail(self._said.read())
        told = json.loads(line)
        return told["answer"] if "answer" in told else pytest.fail(told["error"])
