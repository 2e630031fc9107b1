"""The table of settings: whatever else lists settings lists those of the table, with its defaults."""

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from dev import settings_table
from reclaim.settings import OF_TARGET, TABLE, Settings

ROOT = Path(__file__).parents[2]
LEAST = {"REDIS_HOST": "cache.example.net", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}
OF_AZURE = {"AzureWebJobsStorage", "FUNCTIONS_WORKER_RUNTIME"}  # names of the host's own settings


def test_the_readme_has_the_table() -> None:
    """Else: `python -m dev.settings_table`."""
    text = settings_table.README.read_text(encoding="utf-8")

    assert settings_table.readme(text) == text
    for row in TABLE:
        assert text.count(f"\n| `{row.name}` |") == row.is_listed


def test_the_example_of_an_environment_has_the_table() -> None:
    """Else: `python -m dev.settings_table`."""
    assert settings_table.ENV_EXAMPLE.read_text(encoding="utf-8") == settings_table.env_example()


def test_defaults_in_the_example_of_an_environment_change_nothing(tmp_path: Path) -> None:
    """A shell reads the file with every comment sign before a name taken away."""
    example = settings_table.ENV_EXAMPLE.read_text(encoding="utf-8")
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z])", "", example, flags=re.MULTILINE), encoding="utf-8")

    ended = subprocess.run(
        ["sh", "-c", "set -a; . ./.env; env -0"], cwd=tmp_path, env={}, capture_output=True, text=True, check=True
    )

    env = dict(line.split("=", 1) for line in ended.stdout.split("\0") if line)
    assert env.keys() >= {row.name for row in TABLE if row.is_listed}
    assert Settings.from_env(env | LEAST) == Settings.from_env(LEAST)


def test_the_example_for_core_tools_names_settings_only() -> None:
    """And some of the host's own; with them the app could start."""
    values = json.loads((ROOT / "local.settings.example.json").read_text(encoding="utf-8"))["Values"]

    assert values.keys() - OF_AZURE < {row.name for row in TABLE}
    assert Settings.from_env(values).targets


@pytest.mark.parametrize("names", [[row.name for row in TABLE], [row.key for row in OF_TARGET]])
def test_each_name_stands_once(names: list[str]) -> None:
    """In the environment, and in an object of RECLAIM_TARGETS."""
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_every_default_that_is_written_is_one_that_would_be_read() -> None:
    """A default outside its own bounds would be a bad setting as soon as somebody wrote it down."""
    for row in TABLE:
        if not row.is_required and row.default is not None:
            assert row.kind.read(row.kind.write(row.default)) == row.default, row.name


def test_secrets_are_known() -> None:
    """What doctor and the README do not show, and what deployments keep in a vault."""
    assert {row.name for row in TABLE if row.kind.is_secret} == {
        "REDIS_URL",
        "REDIS_PASSWORD",
        "RECLAIM_TARGETS",
        "ALERT_WEBHOOK_URL",
        "ALERT_WEBHOOK_KEY",
        "HTTP_URL",
        "HTTP_HEADERS",
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    }
