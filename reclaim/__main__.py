"""Starts the command line, reclaim.cli.main: as `reclaim`, and as `python -m reclaim`."""

import sys

from reclaim import __version__, left_behind


def main() -> None:
    """Run the command that the arguments name. Without the packages that it needs, say in one line how to get them."""
    is_module = sys.argv[0].endswith("__main__.py")
    try:
        from reclaim.cli.main import cli  # noqa: PLC0415  # its packages may be missing

        cli(prog_name="python -m reclaim" if is_module else "reclaim")
    except SystemExit as exc:
        if left_behind.is_some():
            from reclaim.cli.ending import end_in_time  # noqa: PLC0415  # it loads asyncio

            end_in_time(exc.code)
        raise
    except ModuleNotFoundError as exc:
        if exc.name not in {"typer", "rich"}:
            raise
        wheel = f"./reclaim-{__version__}-py3-none-any.whl"
        how = f"pip install '.[cli]' in reclaim's repository, or '{wheel}[cli]' beside its wheel"
        raise SystemExit(f"the command line needs {exc.name}: {how}") from exc


if __name__ == "__main__":
    main()
