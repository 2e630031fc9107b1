"""All experiments, with little of everything: the claims hold that do not hang on time, and the page is written."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.__main__ import NAMES

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_all_experiments_at_a_reduced_size(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "experiments", "--quick", "--output", str(tmp_path)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
    page = (tmp_path / "experiments.md").read_text()
    assert page.count("\n## ") == len(NAMES) + 1  # and the machine
    assert all(chart.stat().st_size > 1_000 for chart in (tmp_path / "experiments").iterdir())
