"""Other Pythons for the tests: Debian's own packages, unpacked beside the system, which stays as it is.

`make python-3.13` unpacks one into build/, with an environment of what the tests need: half a minute and 70 MB.
Nothing is installed: apt has lists and a cache of its own here, and patchelf tells the programs where their loader and
libraries are.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
SUITES = {"3.13": "trixie", "3.14": "forky"}  # https://packages.debian.org/search?keywords=python3.13
PYTHONS_OF_RUNTIME = "azure-functions-runtime>=1.3,<2"


class CannotFetch(Exception):
    """It could not be had; the message says why."""


def environment_of(version: str) -> Path:
    """Where the environment of a version is, or would be."""
    return BUILD / f"venv-{version}"


def python_of(version: str) -> Path | None:
    """The environment's Python; None where it has not been made."""
    python = environment_of(version) / "bin" / "python"
    return python if python.exists() else None


def fetch(version: str) -> Path:
    """Unpack the version unless that was done before; its program.

    Raises:
        CannotFetch: there are no such packages, or they cannot be downloaded.
    """
    root = BUILD / f"python-{version}"
    program = root / "usr" / "bin" / f"python{version}"
    if not program.exists():
        shutil.rmtree(root, ignore_errors=True)
        for package in _downloaded(version, BUILD / f"apt-{version}"):
            _run("dpkg-deb", "-x", str(package), str(root))
        _patch(root)
    return program


def _downloaded(version: str, state: Path) -> list[Path]:
    """The packages of the version and all that they need."""
    for name in ("lists/partial", "cache/archives/partial", "etc"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    source = f"deb [signed-by={keys}] {_mirror()} {SUITES[version]} main\n"
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
    _run("apt-get", *options, "--quiet=2", "update")
    wanted = [f"python{version}", f"python{version}-venv", f"libpython{version}-stdlib"]
    _run("apt-get", *options, "--quiet=2", "--yes", "--no-install-recommends", "--download-only", "install", *wanted)
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


def _patch(root: Path) -> None:
    """Let every program and library find the loader and the libraries that came with it."""
    (loader,) = [*root.glob("usr/lib64/ld-linux-x86-64.so.2"), *root.glob("lib64/ld-linux-x86-64.so.2")][:1]
    libraries = ":".join(str(root / where) for where in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
    patchelf = str(Path(sys.executable).parent / "patchelf")
    for path in root.glob("usr/bin/python3*"):
        if not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF":
            _run(patchelf, "--set-interpreter", str(loader), "--force-rpath", "--set-rpath", libraries, str(path))
    for path in root.glob("usr/lib/python3*/lib-dynload/*.so"):
        _run(patchelf, "--force-rpath", "--set-rpath", libraries, str(path))


def make_environment(version: str) -> Path:
    """An environment of that Python with what the tests need, and the platform's own worker; its Python."""
    program = fetch(version)
    where = environment_of(version)
    _run(str(program), "-m", "venv", "--without-pip", str(where))
    python = where / "bin" / "python"
    uv = str(Path(sys.executable).parent / "uv")
    requirements = ["-r", "requirements-dev.txt", PYTHONS_OF_RUNTIME]
    _run(uv, "pip", "install", "--quiet", "--python", str(python), "--only-binary", ":all:", *requirements)
    return python


def _run(*words: str) -> None:
    ended = subprocess.run(words, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CannotFetch(f"{Path(words[0]).name} failed: {ended.stderr.strip()[-1000:]}")


def main() -> None:
    """Make the environment of a version, and say where its Python is."""
    parser = argparse.ArgumentParser(prog="python -m dev.pythons", description="Another Python, for the tests.")
    parser.add_argument("version", choices=sorted(SUITES))
    version = parser.parse_args().version
    try:
        python = make_environment(version)
    except CannotFetch as exc:
        raise SystemExit(f"Python {version} is not to be had here: {exc}") from exc
    print(python)


if __name__ == "__main__":
    main()
