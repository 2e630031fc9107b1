"""`make run`: the demo on a server of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support import ENV_NAMES

ROOT = Path(__file__).parents[2]


def test_the_demo_ends_well() -> None:
    """Two processors die, the timer makes good for them: every hash is right, nothing is pending."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(ENV_NAMES)}

    ended = subprocess.run(
        [sys.executable, "-m", "dev.demo"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("server at 127.0.0.1:")
    assert "tweets produced: 20,000 of 20,000" in ended.stdout
    assert lines[-1] == "all 20,000 hashes are as produced, byte for byte; nothing is pending"
