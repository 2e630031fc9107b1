"""Owns the journal: a file in which handlers, killed processes and the world write what happened, one line each.

A line stays, even if its process is killed right after it wrote the line. The lines are in the order in which things
happened, because all processes append to one file.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = "SOAK_DIRECTORY"  # the environment variable that tells a handler where the journal is
DEAD_ENDPOINT = "dead endpoint"  # the word for an entry whose endpoint was not there
CHILD = "SOAK_CHILD"  # set in a process that may be killed


@dataclass(frozen=True, slots=True)
class Line:
    """What happened.

    Attributes:
        at_ms: when, Unix ms.
        pid: of the process that wrote it.
        word: what happened: `begin`, `stored`, `failed` and so on.
        target: the target's number.
        entry: the entry's ID; empty where no entry is meant.
        about: the order key, where a handler has written the line; else what else there is to say.
    """

    at_ms: float
    pid: int
    word: str
    target: int
    entry: str
    about: str


def write(word: str, target: int, entry: str = "", about: str = "") -> None:
    """Write a line; one write, so that it is there whole or not at all."""
    file = os.open(_path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        about = about.replace("\n", " ").replace("\t", " ")
        os.write(file, f"{time.time() * 1000:.3f}\t{os.getpid()}\t{word}\t{target}\t{entry}\t{about}\n".encode())
    finally:
        os.close(file)


def count_try(target: int, entry: str) -> int:
    """Count a try of an entry, in whichever process; return how many there were, this one included."""
    file = os.open(Path(os.environ[DIRECTORY]) / f"tries-{target}-{entry}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, b".")
        return os.fstat(file).st_size
    finally:
        os.close(file)


def read() -> list[Line]:
    """All lines, in the order in which they were written."""
    if not _path().exists():
        return []
    lines = []
    for text in _path().read_text().splitlines():
        at_ms, pid, word, target, entry, about = text.split("\t", 5)
        lines.append(Line(float(at_ms), int(pid), word, int(target), entry, about))
    return lines


def kill_endpoint(target: int, port: int, keys: Sequence[str]) -> None:
    """Let handlers of a target find nobody at this port, for entries of these order keys; of all, if one is a star."""
    (Path(os.environ[DIRECTORY]) / f"endpoint-{target}").write_text(f"{port} {' '.join(keys)}")


def revive_endpoints() -> int:
    """Let them find what they look for; how many could not before."""
    dead = list(Path(os.environ[DIRECTORY]).glob("endpoint-*"))
    for one in dead:
        one.unlink()
    return len(dead)


def dead_endpoint(target: int, key: str) -> int | None:
    """The port at which nobody is, where an entry of this order key would be stored; None where all is well."""
    try:
        port, *keys = (Path(os.environ[DIRECTORY]) / f"endpoint-{target}").read_text().split()
    except (FileNotFoundError, ValueError):  # it is being written
        return None
    return int(port) if "*" in keys or key in keys else None


def _path() -> Path:
    return Path(os.environ[DIRECTORY]) / "journal"
