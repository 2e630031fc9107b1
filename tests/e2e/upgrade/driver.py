"""Drives whichever release of reclaim is first on its path: reads a request a line, answers with a line of JSON each.

A request has `do`, and what that takes. A process has one App at a time, as an instance on Azure has.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import upgrade_handler

from reclaim import __file__ as package
from reclaim.app import App
from reclaim.ops import operations
from reclaim.run.report import RunReport
from reclaim.state.audit import Actor

try:
    from reclaim.ops import letter_acts, letter_looks
except ImportError:  # the release before has them all in one module
    letter_acts = letter_looks = operations

WHO = {"reason": "a test", "who": "me"}
ME = Actor("me")


class Instance:
    """An instance of the app, made anew by `begin`."""

    def __init__(self) -> None:
        self._app: App | None = None

    async def begin(self, env: dict[str, str]) -> str:
        """An app with these settings; where its code is."""
        if self._app is not None:
            await self._app.aclose()
        self._app = App.from_env(env)
        upgrade_handler.outage = False
        return package

    @property
    def app(self) -> App:
        """The app that was begun."""
        assert self._app is not None
        return self._app

    async def outage(self, on: bool) -> None:  # noqa: FBT001  # it comes out of JSON
        """Let the store of the function be away, or there again."""
        upgrade_handler.outage = on

    async def run(self) -> dict[str, Any]:
        """One run."""
        (report,) = await self.app.reports()
        return _account(report)

    async def run_until(self, done: int) -> dict[str, int]:
        """Run after run, until one of us has handled the entry of this number; how many runs came to do something."""
        counts = {"claimed": 0, "lease_held": 0, "failed": 0}
        key = f"tweet:{done}"
        while not await self.app.server.call("EXISTS", key):
            (report,) = await self.app.reports()
            counts["claimed"] += report.claimed
            counts["lease_held"] += report.outcome.value == "lease_held"
            counts["failed"] += report.outcome.value == "failed"
        return counts

    async def replay(self) -> dict[str, Any]:
        """Replay all dead letters."""
        told = (await letter_acts.replay_dead_letters(self.app, None, even_if_open=True)).report
        return {
            name: getattr(told, name) for name in ("chosen", "replayed", "failed", "retried", "held", "left", "missing")
        }

    async def discard(self) -> int:
        """Discard all dead letters."""
        return (await letter_acts.discard_dead_letters(self.app, None, by=ME, why="a test")).discarded

    async def letters(self) -> list[dict[str, Any]]:
        """The dead letters, as they are shown."""
        page = await letter_looks.list_many_dead_letters(self.app, limit=1000)
        shown = [letter.to_dict(repr) for letter in page.letters]
        return [{name: value for name, value in one.items() if name not in {"id", "at"}} for one in shown]

    async def lost(self) -> list[list[Any]]:
        """The lost entries, as they are shown."""
        return [
            [one.id, one.consumer, one.deliveries, one.at_most] for one in (await operations.list_lost(self.app)).lost
        ]

    async def runs(self) -> list[list[Any]]:
        """The outcomes in the history, and what was claimed; each process keeps its own choice of idle runs there."""
        runs = (await operations.list_runs(self.app)).runs
        return [[one["outcome"], one["claimed"]] for one in runs if one["outcome"] != "nothing_pending"]

    async def audit(self) -> list[list[Any]]:
        """What people did, as it is shown, the latest first; but for times and IDs."""
        records = (await operations.list_audit(self.app)).records
        return [
            [one.what, one.who, one.door, one.why, one.meant, one.outcome, one.error, one.counts] for one in records
        ]

    async def open(self) -> str:
        """Open the circuit, as a person; what that did."""
        return (await operations.open_circuit(self.app, **WHO)).effect.value

    async def close(self) -> str:
        """Close the circuit, as a person; what that did."""
        return (await operations.close_circuit(self.app, **WHO)).effect.value

    async def circuit(self) -> list[Any]:
        """The circuit, as it is shown."""
        (one,) = await operations.show_circuits(self.app)
        state = one.circuit
        return [state.state.value, state.by, state.failures, state.failed_probes, state.why if state.by else ""]


def _account(report: RunReport) -> dict[str, Any]:
    counts = {name: count for name, count in report.numbers().items() if count}
    return {"outcome": report.outcome.value, **counts}


async def main() -> None:
    """Answer until there is no more to read."""
    instance = Instance()
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        act: Callable[..., Awaitable[Any]] = getattr(instance, request.pop("do"))
        try:
            answer = {"answer": await act(**request)}
        except Exception as exc:  # noqa: BLE001  # the test says what it expected
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
