"""Owns the composition: builds everything from the settings, runs every target, and hands the reports out."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from reclaim import handlers
from reclaim.connection import Server, connect
from reclaim.deadletters import DeadLetters
from reclaim.errors import RunFailed, SettingsError
from reclaim.replay import Replay
from reclaim.report import History, Outcome, RunReport
from reclaim.runner import Runner
from reclaim.settings import Settings, Target

logger = logging.getLogger("reclaim")

_LEVELS = {Outcome.FAILED: logging.ERROR, Outcome.GROUP_MISSING: logging.WARNING, Outcome.LEASE_LOST: logging.WARNING}


@dataclass(frozen=True, slots=True)
class Unit:
    """All that works on one target."""

    target: Target
    runner: Runner
    replay: Replay
    dead_letters: DeadLetters
    history: History


class App:
    """The app on one event loop: one client, one unit for each target. Make it inside the loop that uses it.

    Attributes:
        settings: what it was built from.
        server: the client.
        units: by the target's name, ``stream/group``.
    """

    def __init__(self, settings: Settings) -> None:
        """Build it; nothing is connected yet.

        Raises:
            SettingsError: a HANDLER cannot be loaded.
        """
        self.settings = settings
        self.server = connect(settings)
        self.units = _units(settings, self.server)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "App":
        """Build it from environment variables.

        Raises:
            SettingsError: naming all settings that are missing or bad.
        """
        return cls(Settings.from_env(env))

    async def run(self, stop: asyncio.Event | None = None) -> list[RunReport]:
        """One run of every target, all at once; each report is logged.

        Raises:
            RunFailed: a target's run failed; the others have run all the same, and all reports are out.
        """
        budget_sec = self.settings.run_budget_sec
        reports = await asyncio.gather(*(unit.runner.run(budget_sec, stop) for unit in self.units.values()))
        for report in reports:
            logger.log(_LEVELS.get(report.outcome, logging.INFO), "reclaim run %s", report.to_json())
        failed = [report for report in reports if report.outcome is Outcome.FAILED]
        if failed:
            raise RunFailed("; ".join(f"{report.target}: {report.reason}" for report in failed)) from failed[0].error
        return reports

    async def aclose(self) -> None:
        """Close the client."""
        await self.server.aclose()


def _units(settings: Settings, server: Server) -> dict[str, Unit]:
    """A unit for each target; all the handlers that cannot be loaded are named at once."""
    units: dict[str, Unit] = {}
    problems: list[str] = []
    for target in settings.targets:
        try:
            handler = handlers.make(server, target)
        except SettingsError as exc:
            problems += exc.problems
            continue
        history = History(server, target)
        runner = Runner(target, server, handler, history.append)
        letters = DeadLetters(server, target)
        units[target.name] = Unit(target, runner, Replay(target, server, handler), letters, history)
    if problems:
        raise SettingsError(problems)
    return units
