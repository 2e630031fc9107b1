"""Owns what is to be known of the machine that something was measured on."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("redis", "hiredis", "tenacity", "azure-functions")


def facts(load: float) -> list[list[str]]:
    """Pairs of a name and its value: the code, the processor, the system, the versions.

    Args:
        load: the load of the last minute before the measurement, which others have made.
    """
    return [
        ["commit", commit()],
        ["processor", f"{processor()}, {os.cpu_count()} of them"],
        ["load before (others' work, 1 minute)", f"{load:.2f}"],
        ["system", f"{platform.system()} {platform.machine()}"],
        ["Python", platform.python_version()],
        *([name, version(name)] for name in PACKAGES),
    ]


def commit() -> str:
    """What git calls the code that was measured."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    words = [git, "describe", "--always", "--dirty"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.stdout.strip() or "unknown"


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
