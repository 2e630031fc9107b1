"""The schedule that the host finds when it indexes the function app is that of the settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reclaim.settings import Settings

ROOT = Path(__file__).parents[2]
LEAST = {"REDIS_HOST": "cache", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}


def indexed(setting: str | None) -> str:
    """The schedule in the timer's decorator, with a RECLAIM_SCHEDULE or without."""
    env = {name: value for name, value in os.environ.items() if name != "RECLAIM_SCHEDULE"}
    env |= {} if setting is None else {"RECLAIM_SCHEDULE": setting}
    return subprocess.run(
        [sys.executable, "-c", "import function_app; print(function_app.SCHEDULE)"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.rstrip("\n")


@pytest.mark.parametrize("setting", [None, "", "   ", "\t", " \n"])
def test_a_blank_schedule_is_none_to_the_host_as_to_the_settings(setting: str | None) -> None:
    """The host would put blanks in the place of %RECLAIM_SCHEDULE%, and index nothing."""
    settings = Settings.from_env(LEAST | ({} if setting is None else {"RECLAIM_SCHEDULE": setting}))

    assert indexed(setting) == settings.schedule == "*/20 * * * * *"


def test_a_schedule_is_left_to_the_host_to_look_up() -> None:
    """So that changing it takes no deployment."""
    assert indexed(" 0 */5 * * * * ") == "%RECLAIM_SCHEDULE%"
