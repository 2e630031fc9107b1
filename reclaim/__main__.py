"""Owns nothing: `python -m reclaim` is the command line of reclaim.cli.main."""

from reclaim.cli.main import cli

if __name__ == "__main__":
    cli(prog_name="python -m reclaim")
