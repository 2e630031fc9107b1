"""What the README shows is true: its commands exist, and its code runs."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from reclaim.settings import Settings
from tests.support import Client, Endpoint, a_target, env_for, given, held, pending_count, state, stored

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
NOT_RUN = {"pip", "git", "func", "az", "azd", "curl", "cd", "python3", "."}  # they would install, deploy or need Azure


def blocks(*languages: str) -> list[str]:
    """The code blocks of these languages."""
    text = README.read_text(encoding="utf-8")
    return [
        code
        for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if language in languages
    ]


def commands() -> list[list[str]]:
    """The words of every line of a shell block, without its comment."""
    lines = "\n".join(blocks("sh", "bash", "console")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line.removeprefix("$ "), comments=True))]


def is_assignment(word: str) -> bool:
    """Whether a word sets a variable of the environment."""
    return re.match(r"[A-Z_]+=", word) is not None


def make_targets() -> set[str]:
    """What make can be asked for."""
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_there_are_blocks_to_run() -> None:
    """Else the tests below would pass for want of anything to do."""
    assert ["make", "run"] in commands()
    assert ["make", "test"] in commands()
    assert any("reclaim" in words for words in commands())
    assert blocks("python")


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_one_that_there_is(words: list[str], embedded: Endpoint, client: Client) -> None:
    """Targets of make exist; settings are such; `python -m reclaim` is run against a server, in the README's words."""
    settings = dict(word.split("=", 1) for word in words if is_assignment(word))
    program, *arguments = [word for word in words if not is_assignment(word)] or ["export"]
    for name, value in settings.items():
        assert name in (ROOT / "README.md").read_text(encoding="utf-8").split("## Settings")[1], f"{name}={value}"
    if program == "make":
        assert set(arguments) <= make_targets()
    elif program == "python" and arguments[:2] == ["-m", "reclaim"]:
        run_in_its_words(arguments, settings, embedded, client)
    else:
        assert program == "export" or program in NOT_RUN, f"teach this test what to do with {words}"


def run_in_its_words(arguments: list[str], settings: dict[str, str], embedded: Endpoint, client: Client) -> None:
    """Run `python -m reclaim …` with the settings that are exported before it, on a server of ours."""
    exported = dict(word.split("=", 1) for words in commands() if words[0] == "export" for word in words[1:])
    settings = {**exported, **settings, "REDIS_HOST": f"127.0.0.1:{embedded.port}", "REDIS_TLS": "false"}
    target = Settings.from_env(settings).targets[0]
    given(client, target, *(held(range(3)) if "run" in arguments else held(range(3), idle_ms=0)))
    env = env_for(embedded, target) | settings
    once = [argument for argument in arguments if argument != "--watch"]
    if "--watch" in arguments:  # it would go on for ever
        options = subprocess.run([sys.executable, *once, "--help"], cwd=ROOT, env=env, capture_output=True, check=True)
        assert b"--watch" in options.stdout

    subprocess.run([sys.executable, *once], cwd=ROOT, env=env, capture_output=True, check=True)

    if once[2:] == ["run"]:
        assert state(client, target).hashes == stored(*held(range(3)))


@pytest.mark.parametrize("code", blocks("python"), ids=range(len(blocks("python"))))
def test_every_handler_works_as_it_is_shown(code: str, server: Endpoint, client: Client, tmp_path: Path) -> None:
    """The block is a module; its async function is given three tweets through HANDLER, and acknowledges them."""
    target = a_target()
    given(client, target, *held(range(3)))
    (function,) = (node.name for node in ast.parse(code).body if isinstance(node, ast.AsyncFunctionDef))
    (tmp_path / "my_handlers.py").write_text(code, encoding="utf-8")
    env = env_for(server, target, HANDLER=f"my_handlers:{function}", PYTHONPATH=f"{tmp_path}:{ROOT}")

    ended = subprocess.run(
        [sys.executable, "-m", "reclaim", "run"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert "3 claimed, 3 acknowledged" in ended.stdout
    assert pending_count(client, target) == 0


def test_the_shown_handler_is_the_setting_that_is_shown() -> None:
    """The name in HANDLER=… is that of a function of the block below it."""
    (name,) = re.findall(r"HANDLER=my_handlers:(\w+)", README.read_text(encoding="utf-8"))
    functions = [
        node.name
        for code in blocks("python")
        for node in ast.parse(code).body
        if isinstance(node, ast.AsyncFunctionDef)
    ]

    assert name in functions
