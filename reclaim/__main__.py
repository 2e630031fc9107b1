"""Starts the command line, reclaim.cli.main: as `reclaim`, and as `python -m reclaim`."""

import sys


def main() -> None:
    """Run the command that the arguments name. Without the packages that it needs, say in one line how to get them."""
    try:
        from reclaim.cli.main import cli  # noqa: PLC0415  # its packages may be missing
    except ModuleNotFoundError as exc:
        if exc.name not in {"typer", "rich"}:
            raise
        raise SystemExit(f"the command line needs {exc.name}: pip install 'reclaim[cli]'") from exc
    is_module = sys.argv[0].endswith("__main__.py")
    cli(prog_name="python -m reclaim" if is_module else "reclaim")


if __name__ == "__main__":
    main()
