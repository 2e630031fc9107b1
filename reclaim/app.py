"""Owns the composition: builds everything from the settings, runs every target, and hands the reports out."""

import asyncio
import logging
from collections.abc import Mapping

from reclaim import handlers
from reclaim.connection import Server, connect
from reclaim.errors import RunFailed, SettingsError
from reclaim.report import Outcome, RunReport
from reclaim.runner import Runner
from reclaim.settings import Settings

logger = logging.getLogger("reclaim")

_LEVELS = {Outcome.FAILED: logging.ERROR, Outcome.GROUP_MISSING: logging.WARNING, Outcome.LEASE_LOST: logging.WARNING}


class App:
    """The app on one event loop: one client, one runner for each target. Make it inside the loop that uses it."""

    def __init__(self, settings: Settings) -> None:
        """Build it; nothing is connected yet.

        Raises:
            SettingsError: a HANDLER cannot be loaded.
        """
        self._settings = settings
        self._server = connect(settings)
        self._runners = _runners(settings, self._server)

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
        budget_sec = self._settings.run_budget_sec
        reports = await asyncio.gather(*(runner.run(budget_sec, stop) for runner in self._runners))
        for report in reports:
            logger.log(_LEVELS.get(report.outcome, logging.INFO), "reclaim run %s", report.to_json())
        failed = [report for report in reports if report.outcome is Outcome.FAILED]
        if failed:
            raise RunFailed("; ".join(f"{report.target}: {report.reason}" for report in failed)) from failed[0].error
        return reports

    async def aclose(self) -> None:
        """Close the client."""
        await self._server.aclose()


def _runners(settings: Settings, server: Server) -> list[Runner]:
    """A runner for each target; all the handlers that cannot be loaded are named at once."""
    runners: list[Runner] = []
    problems: list[str] = []
    for target in settings.targets:
        try:
            runners.append(Runner(target, server, handlers.make(server, target)))
        except SettingsError as exc:
            problems += exc.problems
    if problems:
        raise SettingsError(problems)
    return runners
