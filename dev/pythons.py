"""Other Pythons for the tests: Debian's own packages, unpacked beside the system.

`make python-3.13` unpacks one into build/, with an environment of what the tests need: half a minute and 70 MB.
`make test-3.13` runs the tests there.
"""

import argparse
import sys
from pathlib import Path

from dev.debian import BUILD, CannotFetch, is_program, patch, run, unpack

SUITES = {"3.13": "trixie", "3.14": "forky"}  # https://packages.debian.org/search?keywords=python3.13
PYTHONS_OF_RUNTIME = "azure-functions-runtime>=1.3,<2"
BUILDING = ("pip", "setuptools")  # a test builds the package; `python -m venv` would bring them where Debian lets it


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
        unpack([f"python{version}", f"python{version}-venv", f"libpython{version}-stdlib"], SUITES[version], root)
        programs = [path for path in root.glob("usr/bin/python3*") if is_program(path)]
        patch(root, programs, root.glob("usr/lib/python3*/lib-dynload/*.so"))
    return program


def make_environment(version: str) -> Path:
    """An environment of that Python with what the tests need, and the platform's own worker; its Python."""
    program = fetch(version)
    where = environment_of(version)
    run(str(program), "-m", "venv", "--without-pip", str(where))
    python = where / "bin" / "python"
    uv = str(Path(sys.executable).parent / "uv")
    requirements = ["-r", "requirements-dev.txt", PYTHONS_OF_RUNTIME, *BUILDING]
    run(uv, "pip", "install", "--quiet", "--python", str(python), "--only-binary", ":all:", *requirements)
    return python


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
