"""Debian's own packages, of any of its suites, unpacked beside the system, which stays as it is.

Nothing is installed: apt has lists and a cache of its own here, and patchelf tells the programs where the loader and
the libraries are that came with them.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
LOADER = "ld-linux-x86-64.so.2"


class CannotFetch(Exception):
    """It could not be had; the message says why."""


def unpack(packages: Iterable[str], suite: str, root: Path) -> None:
    """Unpack these packages and all that they need into a folder, which is made anew.

    Args:
        packages: their names.
        suite: which of Debian's suites they are taken from (``trixie``).
        root: the folder.

    Raises:
        CannotFetch: there are no such packages, or they cannot be downloaded.
    """
    shutil.rmtree(root, ignore_errors=True)
    for package in _downloaded(packages, suite, root.with_name(f"apt-{root.name}")):
        run("dpkg-deb", "-x", str(package), str(root))


def patch(root: Path, programs: Iterable[Path], libraries: Iterable[Path] = ()) -> None:
    """Let programs and libraries find the loader and the libraries that are in this folder.

    Raises:
        CannotFetch: the folder has no loader, or patchelf failed.
    """
    loaders = [path for where in ("usr/lib64", "lib64", *LIBRARIES) if (path := root / where / LOADER).exists()]
    if not loaders:
        raise CannotFetch(f"no {LOADER} came with it")
    where = ["--force-rpath", "--set-rpath", ":".join(str(root / one) for one in LIBRARIES)]
    for path in programs:
        run(_patchelf(), "--set-interpreter", str(loaders[0].resolve()), *where, str(path))
    for path in libraries:
        run(_patchelf(), *where, str(path))


def is_program(path: Path) -> bool:
    """Whether it is a program of this kind of machine, and no script or link."""
    return path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF"


def run(*words: str) -> None:
    """Run a command to its end.

    Raises:
        CannotFetch: it failed; the message has the end of what it said.
    """
    try:
        ended = subprocess.run(words, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise CannotFetch(f"{Path(words[0]).name} is not installed here") from exc
    if ended.returncode:
        raise CannotFetch(f"{Path(words[0]).name} failed: {ended.stderr.strip()[-1000:]}")


def _downloaded(packages: Iterable[str], suite: str, state: Path) -> list[Path]:
    for name in ("lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    source = f"deb [signed-by={KEYS}] {_mirror()} {suite} main\n"
    (state / "etc" / "sources.list").write_text(source, encoding="utf-8")
    settings = {
        "Dir::Etc": state / "etc",
        "Dir::Etc::sourcelist": state / "etc" / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    run("apt-get", *options, "--quiet=2", "update")
    run("apt-get", *options, "--quiet=2", "--yes", "--no-install-recommends", "--download-only", "install", *packages)
    return sorted((state / "cache" / "archives").glob("*.deb"))


def _mirror() -> str:
    """Where this machine takes Debian's packages from.

    Raises:
        CannotFetch: its sources name no such place: it is no Debian.
    """
    for path in [*Path("/etc/apt/sources.list.d").glob("*"), Path("/etc/apt/sources.list")]:
        if path.is_file() and (found := re.search(r"https?://\S+/debian(?=/?\s)", path.read_text(encoding="utf-8"))):
            return found[0]
    raise CannotFetch("the sources of apt name no mirror of Debian")


def _patchelf() -> str:
    return str(Path(sys.executable).parent / "patchelf")
