"""Every Python that Azure Functions offers finds a wheel for each package that is deployed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNREACHABLE = ("error sending request", "Failed to fetch", "dns error", "Could not connect", "timed out")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_all_requirements_are_to_be_had_as_wheels(version: str) -> None:
    """For Linux on x86-64, as Azure has it. It asks the package index; where that cannot be reached it is skipped."""
    uv = Path(sys.executable).parent / "uv"
    platform = ["--python-version", version, "--python-platform", "x86_64-manylinux_2_28"]
    command = [uv, "pip", "compile", "--no-header", "--no-annotate", "--only-binary", ":all:", *platform]
    ended = subprocess.run([*command, "requirements.txt"], cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode and any(one in ended.stderr for one in UNREACHABLE):
        pytest.skip(f"the package index cannot be reached: {ended.stderr.strip().splitlines()[-1][:200]}")

    assert ended.returncode == 0, ended.stderr
    major = next(line for line in ended.stdout.splitlines() if line.startswith("azure-functions=="))
    assert major.startswith("azure-functions==1." if version in {"3.11", "3.12"} else "azure-functions==2.")


def test_the_list_of_licences_names_every_requirement() -> None:
    """`make sbom` writes it anew."""
    listed = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8").lower()
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = {line.split(";")[0].split(">")[0].split("[")[0].strip() for line in lines if not line.startswith("#")}

    assert {name for name in names if f"| {name} " not in listed} == set(), os.linesep.join(sorted(names))
