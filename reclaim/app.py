"""Owns the composition: builds everything from the settings, runs every target, and passes the reports on."""

import asyncio
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from reclaim import handlers
from reclaim.bounded import NAME_CHARS, shortened
from reclaim.errors import RunFailed, SettingsError, said
from reclaim.fan_out import QUEUE, Message
from reclaim.handlers.outcomes import Handler
from reclaim.observe.alerter import Alerter
from reclaim.observe.alerts import alert_of, alerts_of, ended_by
from reclaim.run.history import History
from reclaim.run.report import RunReport, failures_in
from reclaim.run.runner import PAGES_AT_ONCE, Runner
from reclaim.settings import IN_REDIS, Settings, Target
from reclaim.state.circuit import Change, Circuit
from reclaim.state.connection import Server, connect
from reclaim.state.dead_letters import DeadLetters
from reclaim.times import Deadline
from reclaim.trace import RUN, RUN_LINE, Operation, holding, name_in_log_lines, run_under_way
from reclaim.verdicts import OwnErrors

if TYPE_CHECKING:
    from reclaim.handlers.resource import Resource
    from reclaim.observe.export import Exporter
    from reclaim.observe.quiet import Told
    from reclaim.run.discovery import Discovery
    from reclaim.run.replay import Replay

logger = logging.getLogger("reclaim")

OWN_BUDGET_SEC = 10.0  # with FAN_OUT, of the timer's own runs: messages are enqueued only when they have ended
FOUND_AT_ONCE = 24  # runs of targets that patterns have found
UNITS_KEPT = 500  # of such targets
LEAST_BUDGET_SEC = 1.0
PAGES_AT_ONCE_IN_ALL = 24  # for all targets together: one works while another waits, so more would only take memory


@dataclass(frozen=True, slots=True)
class Unit:
    """Everything that works on one target.

    Attributes:
        runners: one for each of its shards.
        replay: makes the target's replay. Few invocations need one, so its module is loaded only then.
    """

    target: Target
    runners: tuple[Runner, ...]
    replay: "Callable[[], Replay]"
    circuit: Circuit
    dead_letters: DeadLetters
    history: History


@dataclass(frozen=True, slots=True)
class _Ended:
    """A run that has ended, and what telemetry is told now; nothing where it is off."""

    report: RunReport
    told: "tuple[Told, ...]"


class App:
    """The app on one event loop: one client, one unit for each target. Make it inside the loop that uses it.

    Attributes:
        settings: what it was built from.
        server: the client.
        units: of the targets that the settings name, by the target's name, ``stream/group``.
        discovery: what patterns find; None where there is no pattern.
        alerter: tells alerts.
        exporter: exports telemetry; None where it is off.
    """

    def __init__(self, settings: Settings) -> None:
        """Build it; nothing is connected yet.

        Raises:
            SettingsError: a HANDLER cannot be loaded, or a package that a setting needs is not installed.
        """
        name_in_log_lines()
        for what, todo in settings.warnings:
            logger.warning("reclaim settings: %s; %s", what, todo)
        self.settings = settings
        self.server = connect(settings)
        self.units = _units(settings, self.server)
        self.discovery = _discovery(settings, self.server)
        self._found: dict[str, Unit] = {}  # of targets that patterns have found, those used last
        self._resources: dict[str | Target, Resource[Any] | None] = {}  # what several targets work with
        for unit in self.units.values():
            if unit.target.calls_a_function:
                self._share_resource(unit, unit.target.handler)
        self._turns = asyncio.Semaphore(FOUND_AT_ONCE)
        self.alerter = Alerter(settings, self.server)
        self.exporter = _exporter(settings)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "App":
        """Build it from environment variables.

        Raises:
            SettingsError: naming all settings that are missing or bad.
        """
        return cls(Settings.from_env(env))

    async def run(self, stop: asyncio.Event | None = None, operation: Operation | None = None) -> list[RunReport]:
        """One run of every target, all at once, as a part of `operation`.

        Raises:
            RunFailed: a target's run went wrong (`Outcome.went_wrong`). The other targets were run all the same, and
                every report is logged.
        """
        reports = await self.reports(stop, operation=operation)
        wrong = [report for report in reports if report.outcome.went_wrong]
        if wrong:
            raise RunFailed(failures_in(wrong)) from wrong[0].error
        return reports

    async def reports(
        self,
        stop: asyncio.Event | None = None,
        *,
        only: str | None = None,
        budget_sec: float = math.inf,
        operation: Operation | None = None,
        park_misfits: str | None = None,
    ) -> list[RunReport]:
        """One run of every target, or of the one named, all at once. Each report is logged; a failed run is no error.

        `park_misfits` is who wants entries to be parked though HASH_KEY fits none of them; None: nobody.
        The runs and their telemetry end within `budget_sec` and RUN_BUDGET_SEC. Alerts, if any, take up to 10 s more.
        """
        named = self.units if only is None or only in self.units else {}
        runners = [runner for name, unit in named.items() if only in {None, name} for runner in unit.runners]
        found = await self._found_with_work() if only is None else self._found_called(only)
        return await self._reports([*runners, *found], budget_sec, operation or Operation.of(), stop, park_misfits)

    def unit_of(self, name: str) -> Unit | None:
        """The unit of a target that the settings name, or that one of their patterns matches; None for any other."""
        if name in self.units:
            return self.units[name]
        target = None if self.discovery is None else self.discovery.target(name)
        return None if target is None else self._unit_found(target)

    def _unit_found(self, target: Target) -> Unit:
        unit = self._found.pop(target.name, None)
        if unit is None:
            unit = _unit(self.settings, self.server, target, pages_at_once=1)
            settings = replace(target, stream="", group="")  # the same for all that a pattern finds
            self._share_resource(unit, target.handler if target.calls_a_function else settings)
        self._found[target.name] = unit
        while len(self._found) > UNITS_KEPT:
            self._found.pop(next(iter(self._found)))
        return unit

    def _share_resource(self, unit: Unit, by: str | Target) -> None:
        """One pool for all targets with the same function: twenty pools could be more than a database takes."""
        for handler in {runner.handler for runner in unit.runners}:
            handler.resource = self._resources.setdefault(by, handler.resource)

    async def _found_with_work(self) -> list[Runner]:
        if self.discovery is None:
            return []
        targets = await self.discovery.with_work()
        if self.exporter is not None:
            self.exporter.looked(self.discovery.looked)
        return [runner for target in targets for runner in self._unit_found(target).runners]

    def _found_called(self, name: str) -> list[Runner]:
        unit = None if name in self.units else self.unit_of(name)
        return [] if unit is None else list(unit.runners)

    async def fan_out(self, operation: Operation | None = None) -> list[str]:
        """The timer's tick with FAN_OUT=queue: the messages to enqueue, one for each target and shard that has work.

        Those without work are run here, within OWN_BUDGET_SEC. What goes wrong with one of them raises only if
        there is no message: an invocation that fails enqueues nothing. It is logged and alerted all the same.

        Raises:
            RunFailed: a target's run went wrong, and there is nothing to enqueue.
        """
        from reclaim.run.fan_out import FanOut, place_of  # noqa: PLC0415  # every cold start would pay for it

        runners = [runner for unit in self.units.values() for runner in unit.runners]
        runners += await self._found_with_work()
        fan = FanOut(self.server, [runner.target for runner in runners])
        shared = await fan.share()
        own = [runner for runner in runners if place_of(runner.target) in shared.own]
        reports = await self._reports(own, OWN_BUDGET_SEC, operation or Operation.of())
        messages = await fan.enqueue(shared.work)
        wrong = [report for report in reports if report.outcome.went_wrong]
        if wrong and not messages:
            raise RunFailed(failures_in(wrong)) from wrong[0].error
        return messages

    async def take_up(self, text: str | bytes, operation: Operation | None = None) -> list[RunReport]:
        """Run the target that a message of the queue names; a run that goes wrong is told by its report and its alert.

        A message that cannot be read, or that names no target of ours, is logged and dropped: it would be no better the
        next time.
        """
        try:
            message = Message.of(text)
            unit = self.unit_of(message.target)
            runner = (unit.runners if unit else ())[message.shard]
        except ValueError as exc:
            logger.warning("reclaim: a message of the queue %s is dropped: %s", QUEUE, said(exc))
            return []
        except LookupError:
            what = "reclaim: a message of the queue %s is dropped: no target is called %r, or it has no shard %d"
            logger.warning(what, QUEUE, shortened(message.target, NAME_CHARS), message.shard)
            return []
        return await self._reports([runner], math.inf, operation or Operation.of(), mark=message.mark)

    async def _reports(
        self,
        runners: Sequence[Runner],
        budget_sec: float,
        operation: Operation,
        stop: asyncio.Event | None = None,
        park_misfits: str | None = None,
        mark: str = "",
    ) -> list[RunReport]:
        budget_sec = min(budget_sec, self.settings.run_budget_sec)
        with operation.under_way():
            share = self.exporter.share_of(budget_sec) if self.exporter else None
            if share:
                budget_sec -= share.total_sec
            deadline = Deadline(budget_sec, time.monotonic)
            asked = partial(
                self._run, budget_sec=budget_sec, deadline=deadline, stop=stop, park_misfits=park_misfits, mark=mark
            )
            runs = [asked(runner) for runner in runners]
            targets = [runner.target for runner in runners]
            ended = await asyncio.gather(*map(partial(self._ended, operation), targets, runs))
            if self.exporter and share:
                told = [(target, one) for target, run in zip(targets, ended, strict=True) for one in run.told]
                await self.exporter.export(self.server, told, operation, share)
            return [run.report for run in ended]

    async def _run(
        self,
        runner: Runner,
        *,
        budget_sec: float,
        deadline: Deadline,
        stop: asyncio.Event | None,
        park_misfits: str | None,
        mark: str,
    ) -> RunReport:
        """One run. Targets that patterns have found take turns: there may be hundreds."""
        if runner.target.name in self.units:
            return await runner.run(budget_sec, stop, park_misfits, mark)
        async with self._turns:
            return await runner.run(max(deadline.remaining_sec(), LEAST_BUDGET_SEC), stop, park_misfits, mark)

    async def tell(self, change: Change, target: Target) -> None:
        """Send the alert that a person's change of a target's circuit calls for, if it calls for one."""
        alert = alert_of(change, target)
        if alert is not None:
            await self.alerter.send([alert])

    async def _ended(self, operation: Operation, target: Target, run: Awaitable[RunReport]) -> _Ended:
        """One run of one target: logged, and its alerts sent."""
        report = await run
        told = self.exporter.told_of(report) if self.exporter else ()
        # Where there is telemetry, the log goes to the same place at the same price: it is told of the same runs.
        level = logging.DEBUG if self.exporter and not told else report.outcome.log_level
        with run_under_way(report.target, report.run_id):
            line = report.to_json(operation_id=operation.trace_id)
            logger.log(level, RUN_LINE, line, extra=holding(RUN, report))
            await self.alerter.end(ended_by(report), target)
            await self.alerter.send(alerts_of(report, target))
        return _Ended(report, told)

    async def aclose(self) -> None:
        """Leave what the handlers have entered, and close the client."""
        resources = {runner.handler.resource for unit in self.units.values() for runner in unit.runners}
        resources.update(self._resources.values())
        await asyncio.gather(*(one.leave() for one in resources if one is not None))
        if self.exporter is not None:
            self.exporter.close()
        await self.server.aclose()


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, App] = WeakKeyDictionary()


def app_of_loop() -> App:
    """The app of the running event loop, made from the environment when it is first asked for.

    Each loop has its own, because a client works only on the loop that it was made on.

    Raises:
        SettingsError: naming all settings that are missing or bad.
    """
    loop = asyncio.get_running_loop()
    if loop not in _of_loop:
        _of_loop[loop] = App.from_env(os.environ)
    return _of_loop[loop]


async def tick(trace_parent: str | None = None) -> None:
    """What a timer's function calls: one run of every target.

    Args:
        trace_parent: what the host says of the trace that the invocation is part of.

    Raises:
        SettingsError: naming all settings that are missing or bad.
        RunFailed: a target's run went wrong, or this was cancelled.
    """
    try:
        await app_of_loop().run(operation=Operation.of(trace_parent))
    except asyncio.CancelledError as exc:  # one that leaks leaves the host's invocation hanging
        raise RunFailed("the run was cancelled; what it held is taken up by the next one") from exc


def _exporter(settings: Settings) -> "Exporter | None":
    if settings.insights is None:
        return None
    from reclaim.observe.export import make  # noqa: PLC0415  # every cold start would pay for it

    return make(settings, settings.insights)


def _replay(target: Target, server: Server, handler: Handler, hangs_sec: float, own: OwnErrors) -> "Replay":
    from reclaim.run.replay import Replay  # noqa: PLC0415  # every cold start would pay for it

    return Replay(target, server, handler, hangs_sec, own)


def _units(settings: Settings, server: Server) -> dict[str, Unit]:
    """A unit for each target.

    Raises:
        SettingsError: naming every handler and every exception class that cannot be loaded.
    """
    count = sum(target.shards for target in settings.targets)
    pages_at_once = min(PAGES_AT_ONCE, max(1, PAGES_AT_ONCE_IN_ALL // max(count, 1)))
    units: dict[str, Unit] = {}
    problems: list[str] = []
    for target in (*settings.targets, *(pattern.template for pattern in settings.patterns)):
        try:
            units[target.name] = _unit(settings, server, target, pages_at_once)
        except SettingsError as exc:
            problems += exc.problems
    if problems:
        raise SettingsError(list(dict.fromkeys(problems)))
    return {target.name: units[target.name] for target in settings.targets}


def _unit(settings: Settings, server: Server, target: Target, pages_at_once: int) -> Unit:
    """Everything that works on one target.

    Raises:
        SettingsError: naming the handler or the exception class that cannot be loaded.
    """
    handler, own = handlers.make(server, target), handlers.own_errors(target)
    history = History(server, target)
    hangs_sec = settings.run_budget_sec / 2
    runners = tuple(
        Runner(part, server, made, history.append, hangs_sec, pages_at_once, own=own)
        for part, made in _handlers(server, target, handler)
    )
    replay, letters = partial(_replay, target, server, handler, hangs_sec, own), DeadLetters(server, target)
    return Unit(target, runners, replay, runners[0].circuit, letters, history)


def _discovery(settings: Settings, server: Server) -> "Discovery | None":
    if not settings.patterns:
        return None
    from reclaim.run.discovery import Discovery  # noqa: PLC0415  # every cold start would pay for it

    return Discovery(settings, server)


def _handlers(server: Server, target: Target, handler: Handler) -> Iterator[tuple[Target, Handler]]:
    """Each part of the target with its handler: a function, and what it works with, are the same for all of them."""
    for part in target.parts:
        needs_own = not part.shard.is_whole and target.handler in IN_REDIS  # it acknowledges as the shard's consumer
        yield part, handlers.make(server, part) if needs_own else handler
