"""Owns the command line's list of commands. A command's module is loaded when the command is called, and not before."""

import os
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from reclaim import __version__
from reclaim.cli.output import show_line, use_any_encoding

# Each command's module in this room, and what the list of commands says of it.
COMMANDS = {
    "run": ("run", "Run now, or again and again by the schedule."),
    "status": ("status", "Show the health of each target."),
    "survey": ("survey", "Look at every stream and group of a server, the worst first."),
    "doctor": ("doctor", "Say what is wrong and what to do about it."),
    "pending": ("lists", "List what is pending now, and why the last run left it."),
    "dead": ("dead", "List, group, show, replay, discard and import dead letters."),
    "lost": ("lists", "List lost entries, the latest found first."),
    "runs": ("lists", "List the reports of runs, the latest first."),
    "audit": ("lists", "List what people did, the latest first."),
    "circuit": ("circuit", "Show, open and close the circuit."),
    "try": ("try_", "Say what would become of one entry, without claiming it."),
}


class _Later(TyperCommand):
    """A command that is not loaded yet: the list of commands shows it, and a call loads it."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself."""
        module = import_module(f"reclaim.cli.{COMMANDS[str(self.name)][0]}")
        found: Any = typer.main.get_command(module.commands)
        found = getattr(found, "commands", {}).get(self.name, found)
        return found.make_context(info_name, args, parent=parent, **extra)


class Commands(TyperGroup):
    """All commands. They and their help can print to streams of any encoding."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, about) in COMMANDS.items():
            self.commands[name] = _Later(name, help=about)

    def main(self, *arguments: Any, **options: Any) -> Any:
        use_any_encoding()
        return super().main(*arguments, **options)


cli = typer.Typer(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    name="reclaim",
)


def _show_version(asked: bool) -> None:  # noqa: FBT001  # Typer calls it so
    if asked:
        show_line(f"reclaim {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
]


UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The Redis to use, as in rediss://host:6380/0, in place of REDIS_HOST, REDIS_URL, REDIS_TLS and REDIS_DB."
        " Keep the password in REDIS_PASSWORD: others on this machine can read arguments.",
    ),
]


@cli.callback()
def main(version: VersionOption = False, url: UrlOption = None) -> None:  # noqa: ARG001  # its callback shows it
    """Take over Redis Streams entries that a consumer read and never acknowledged.

    Settings come from the environment, as on Azure: REDIS_HOST, STREAM_NAME, STREAM_CONSUMER_GROUP_NAME and more.

    Exit codes: 0 all went well, 1 the command failed or found something wrong, 2 the settings or the arguments are bad,
    130 Ctrl-C interrupted the command, 143 SIGTERM did.

    \b
    Examples:
      export REDIS_HOST=localhost REDIS_TLS=false STREAM_NAME=s STREAM_CONSUMER_GROUP_NAME=g
      python -m reclaim doctor
      python -m reclaim status
      python -m reclaim run --watch
      python -m reclaim dead list --json
    """  # noqa: D301  # \b is one character: it keeps the lines
    if url is not None:
        for name in ("REDIS_HOST", "REDIS_TLS", "REDIS_DB"):
            os.environ.pop(name, None)
        os.environ["REDIS_URL"] = url
