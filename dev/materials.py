"""What is deployed, and under which licences: a bill of materials (CycloneDX) and docs/licences.md, made by two tools.

`make sbom` runs it. It installs requirements.txt into an environment of its own, and asks cyclonedx-bom and
pip-licenses about that. The bill of materials is build/sbom.json; it names versions, so each release makes it anew.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = """# Licences of what is deployed

Made by `make sbom`, with pip-licenses, from what `requirements.txt` installs on Python {version}. reclaim's own
licence is [MIT](../LICENSE).

"""


def main() -> None:
    """Write both files, and say where they are."""
    with tempfile.TemporaryDirectory() as directory:
        python = Path(directory) / "bin" / "python"
        run(sys.executable, "-m", "venv", "--without-pip", directory)
        run(
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "-r",
            str(ROOT / "requirements.txt"),
        )
        build = ROOT / "build"
        build.mkdir(exist_ok=True)
        sbom = build / "sbom.json"
        run(sys.executable, "-m", "cyclonedx_py", "environment", str(python), "--output-file", str(sbom))
        table = run("pip-licenses", f"--python={python}", "--format=markdown", "--order=name", "--with-urls")
    version = ".".join(map(str, sys.version_info[:2]))
    licences = ROOT / "docs" / "licences.md"
    licences.write_text(HEAD.format(version=version) + table.strip() + "\n", encoding="utf-8")
    print(f"{sbom.relative_to(ROOT)} and {licences.relative_to(ROOT)} are written")


def run(*words: str) -> str:
    """What a program printed; an error if it failed. Programs are those of this environment."""
    own = Path(sys.executable).parent / words[0]
    command = [str(own) if own.exists() else words[0], *words[1:]]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
