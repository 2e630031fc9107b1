"""docs/operate.md is true: the messages that it tells people to look for are those of the code."""

import ast
import re
from pathlib import Path

import pytest

from reclaim.run.report import Outcome

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
TABLES = TEXT.partition("## What to do when")[2].partition("\n## ")[0]
FROM_REDIS = ("MovedError", "OOM", "READONLY")  # messages that begin so are redis-py's or the server's
LEAST_CHARS = 6  # of a piece that is looked for


def seen() -> list[str]:
    """What the first column of the tables quotes: messages, outcomes and counts."""
    cells = re.findall(r"^\| (.+?) \| ", TABLES, re.MULTILINE)
    return [quoted for cell in cells for quoted in re.findall("`([^`]+)`", cell)]


def pieces(message: str) -> list[str]:
    """The words of a message that are the same each time: what stands between names, numbers and ``…``."""
    parts = re.split(r"…|HOST:PORT|\d[\d,]*(?: s\b)?|'[^']*'", message)
    return [words for part in parts if len(words := part.strip(" :;")) >= LEAST_CHARS]


def texts() -> str:
    """All string constants of the package, those that stand beside each other joined."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "reclaim").rglob("*.py"))]
    constants = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return "\n".join(value for value in constants if isinstance(value, str))


CODE = texts()
MESSAGES = [one for one in seen() if " " in one and not one.startswith(FROM_REDIS)]


def test_there_are_messages_to_look_for() -> None:
    assert len(MESSAGES) > 10


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_is_one_of_the_code(message: str) -> None:
    """A message that was changed must be changed on the page too: people search it for the words that they see."""
    assert pieces(message)
    assert [words for words in pieces(message) if words not in CODE] == []


def test_every_outcome_is_explained() -> None:
    """In the table of what a run reports."""
    report = TEXT.partition("## What a run reports")[2].partition("\n## ")[0]
    outcomes = re.findall(r"^\| `(\w+)` \| ", report.partition("| outcome ")[2].partition("\n\n")[0], re.MULTILINE)

    assert sorted(outcomes) == sorted(outcome.value for outcome in Outcome)
