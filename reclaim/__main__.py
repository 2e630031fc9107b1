"""Starts the command line, reclaim.cli.main, for `python -m reclaim`."""

from reclaim.cli.main import cli

if __name__ == "__main__":
    cli(prog_name="python -m reclaim")
