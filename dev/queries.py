"""Owns the queries of telemetry: one file each in infra/queries, and the page that shows them.

`python -m dev.queries` writes them into docs/operate.md. infra/ loads the same files into alert rules and a workbook.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "infra" / "queries"
PAGE = ROOT / "docs" / "operate.md"
PARSER = ROOT / "dev" / "kql"

# In the order of the page.
QUESTIONS = "keeping-up entries outcomes reasons last-good-run speed pages one-run circuit log-lines".split()
ALERTS = "no-good-run entries-lost circuit-open backlog dead-letters dead-letters-full telemetry".split()

_BLOCK = re.compile(r"(?<=```kusto\n).*?(?=```\n)", re.DOTALL)


def query(name: str) -> str:
    """A query: its first line is a comment that says what it asks."""
    return (FOLDER / f"{name}.kql").read_text(encoding="utf-8")


def alert(name: str) -> str:
    """The query of an alert. It returns a row for each target that the alert is about."""
    return query(f"alert-{name}")


def page(text: str) -> str:
    """The page with the queries as the files have them: those that answer questions, then those of the alerts."""
    blocks = iter(["".join(map(query, QUESTIONS)), "".join(map(alert, ALERTS))])
    return _BLOCK.sub(lambda _: next(blocks), text)


def parser_is_missing() -> str | None:
    """Why Microsoft's parser cannot be asked here; None if it can."""
    if shutil.which("node") is None:
        return "node is not installed here"
    if not (PARSER / "node_modules").is_dir():
        return "Microsoft's parser is not installed here: npm --prefix dev/kql ci"
    return None


def complaints(queries: Sequence[str]) -> list[list[str]]:
    """What Microsoft's parser says of each query, with the tables of Application Insights; nothing if it is right."""
    asked = subprocess.run(
        ["node", "check.cjs"],  # noqa: S607  # whichever node is on the path
        cwd=PARSER,
        input=json.dumps(list(queries)),
        capture_output=True,
        text=True,
        check=True,
    )
    answered: list[list[str]] = json.loads(asked.stdout)
    return answered


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
