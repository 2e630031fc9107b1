"""Owns the history: the reports of a target's latest runs, written and read."""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from reclaim.entry import id_before
from reclaim.run.report import Outcome, RunReport
from reclaim.settings import Target
from reclaim.state.ask import Command
from reclaim.state.connection import Server
from reclaim.state.formats import FIELD, FORMAT

RUNS_MAXLEN = 2_000
# How often the report of a run that found nothing is kept. A report every 20 s would soon push out all other reports.
IDLE_EVERY_SEC = 300.0


class History:
    """The reports of a target's latest runs, in a capped stream. Runs without work are kept only now and then."""

    def __init__(self, server: Server, target: Target, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._key = target.keys.runs
        self._clock = clock
        self._idle_due = clock()

    def append(self, report: RunReport) -> Command | None:
        """The command that adds a report; None for a run without work that follows another one soon."""
        if report.outcome is Outcome.NOTHING_PENDING:
            if self._clock() < self._idle_due:
                return None
            self._idle_due = self._clock() + IDLE_EVERY_SEC
        else:
            self._idle_due = self._clock()
        return ("XADD", self._key, "MAXLEN", "~", RUNS_MAXLEN, "*", "report", report.to_json())

    async def latest(
        self, count: int, before: bytes | None = None
    ) -> tuple[list[tuple[bytes, dict[str, Any]]], bytes | None]:
        """At most `count` reports with their IDs, newest first, from the one before the ID given.

        Returns:
            Those that can be read; and the ID before which to go on, None at the end.
        """
        end = "+" if before is None else id_before(before)
        found = await self._server.call("XREVRANGE", self._key, end, "-", "COUNT", count)
        return list(self.read(found)), found[-1][0] if len(found) == count else None

    @staticmethod
    def read(found: Iterable[tuple[bytes, Sequence[bytes]]]) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """The reports among stream entries, with their IDs; what somebody else has put among them is passed over.

        So are those in the format of a newer release: the doctor tells of them.
        """
        for entry_id, flat in found:
            try:
                report = json.loads(flat[1], parse_constant=_refused, parse_float=_finite)
            except (ValueError, RecursionError):
                continue
            if isinstance(report, dict) and _is_ours(report):
                yield entry_id, report


def _is_ours(report: dict[str, Any]) -> bool:
    """Whether it is in the format of this release; one that says nothing is."""
    return str(report.get(FIELD.decode(), FORMAT.decode())) == FORMAT.decode()


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number that JSON has")


def _finite(number: str) -> float:
    """A number too large for a float would become Infinity, which JSON does not have."""
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number} is too large")
    return value
