"""Owns what publishing would upload: `func azure functionapp publish` and `azd deploy` read .funcignore differently.

`python -m dev.upload` prints the files and their size. Both rules are written down here as the two programs have them
(https://github.com/Azure/azure-functions-core-tools, GitIgnoreParser.cs and FileSystemHelpers.cs;
https://github.com/Azure/azure-dev, project_utils.go).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pathspec

ROOT = Path(__file__).parents[1]
IGNORE = ".funcignore"


def by_core_tools(root: Path) -> list[str]:
    """The files that Core Tools upload: paths from the root."""
    left_out = {IGNORE, ".gitignore", "local.settings.json", "project.lock.json"}
    drop, keep = _core_tools_rules((root / IGNORE).read_text(encoding="utf-8"))
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name.lower() not in {".git", ".vscode"}]
        for name in files:
            path = (Path(folder) / name).relative_to(root).as_posix()
            if name.lower() not in left_out and (keep.search(path) or not drop.search(path)):
                found.append(path)
    return sorted(found)


def _core_tools_rules(text: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What is dropped, and what is kept all the same (`!`): one regular expression for each."""
    lines = [line.strip() for line in text.split("\n")]
    patterns = [line for line in lines if line and not line.startswith("#")]
    drop = [line.removeprefix("/") for line in patterns if not line.startswith("!")]
    keep = [line.removeprefix("!").removeprefix("/") for line in patterns if line.startswith("!")]
    return _regex(drop), _regex(keep)


def _regex(patterns: list[str]) -> re.Pattern[str]:
    if not patterns:
        return re.compile("$^")
    escaped = (re.sub(r"[-\[\]/{}()+?.\\^$|]", r"\\\g<0>", one) for one in sorted(patterns))
    whole = ")|(".join(one.replace("**", "(.+)").replace("*", "([^/]+)") for one in escaped)
    return re.compile(rf"^(({whole}))\b", re.ASCII)


def by_azd(root: Path) -> list[str]:
    """The files that azd uploads: paths from the root. A folder that is ignored is not looked into."""
    spec = pathspec.GitIgnoreSpec.from_lines((root / IGNORE).read_text(encoding="utf-8").splitlines())
    return sorted(_azd_walk(root, root, spec))


def _azd_walk(root: Path, folder: Path, spec: pathspec.GitIgnoreSpec) -> Iterator[str]:
    for entry in folder.iterdir():
        path = entry.relative_to(root).as_posix()
        if entry.is_dir():
            if entry.name != ".azure" and not spec.match_file(f"{path}/"):
                yield from _azd_walk(root, entry, spec)
        elif entry.name not in {IGNORE, "local.settings.json"} and not spec.match_file(path):
            yield path


def size(root: Path, paths: list[str]) -> int:
    """The bytes of some files."""
    return sum((root / path).stat().st_size for path in paths)


if __name__ == "__main__":
    for program, paths in (("func azure functionapp publish", by_core_tools(ROOT)), ("azd deploy", by_azd(ROOT))):
        print(f"{program}: {len(paths)} files, {size(ROOT, paths):,} bytes")
        print(*(f"  {path}" for path in paths), sep="\n")
