"""A stand-in for the Azure Functions host: it runs function_app.py on http://127.0.0.1:7071.

It is no Azure: no scaling, no lock between instances, no bindings but timers, HTTP and storage queues (of Azurite), no
time limits. What it does, it does as the host does: it reads the functions that the app has indexed, passes them real
azure.functions objects, asks for keys, keeps a timer from overlapping itself, tries a message again whose function
raised, and answers 500 for a route that raises.

`python -m dev.host` runs the app with the settings of the environment; `make serve` adds a server and tweets.
"""

import argparse
import asyncio
import importlib
import inspect
import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from aiohttp import web
from azure.functions.timer import TimerRequest

from dev.queues import Output, Pace, QueueTrigger, is_cancelled
from reclaim.schedule import Schedule

HOST = "127.0.0.1"
PORT = 7071
MAX_BODY = 100 * 2**20  # as the host's
ROOT = Path(__file__).parents[1]

Say = Callable[[str], None]


class HostError(Exception):
    """A function that this host cannot run."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What a caller has to show: `function` for routes of the level ``function``, `master` for every route."""

    function: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    master: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Keys":
        """Those of DEV_FUNCTION_KEY and DEV_MASTER_KEY, made up where they are not set.

        Not from the command line: every user of the machine can read that.
        """
        made = cls()
        return cls(env.get("DEV_FUNCTION_KEY") or made.function, env.get("DEV_MASTER_KEY") or made.master)

    def open(self, level: str, request: web.Request) -> bool:
        """Whether the request may use a route of this level; keys come in a header or in ``?code=``."""
        allowed = {"anonymous": None, "function": (self.function, self.master), "admin": (self.master,)}[level]
        shown = request.headers.get("x-functions-key", request.query.get("code", ""))
        given = shown.encode(errors="surrogateescape")  # aiohttp's way with bytes that are not UTF-8
        return allowed is None or any(secrets.compare_digest(given, key.encode()) for key in allowed)


class Timer:
    """A timer function and its schedule: a tick while it still runs is not made up for more than once."""

    def __init__(
        self,
        name: str,
        schedule: str,
        function: Callable[..., Any],
        argument: str,
        say: Say,
        outputs: Mapping[str, tuple[str, str]],
    ) -> None:
        """Make it.

        Args:
            name: the function's name.
            schedule: when it ticks.
            function: what is called.
            argument: the name of the parameter that takes the timer.
            say: is told what came of each call.
            outputs: by the parameter's name, the queue and the connection of each output binding.
        """
        self.name = name
        self._outputs = outputs
        self.schedule = _resolved(schedule)
        self._ticks = Schedule.of(self.schedule)
        self._function = function
        self._argument = argument
        self._say = say

    async def invoke(self, reason: str) -> None:
        """Call the function once; what it raises is told, as the host logs it."""
        request = TimerRequest(past_due=False)
        began = time.monotonic()
        try:
            outputs = {name: Output(*where) for name, where in self._outputs.items()}
            result = await _called(self._function, **{self._argument: request}, **outputs)
            if result is not None:
                raise HostError(f"{self.name} returned {result!r}, but has no output binding")
            for output in outputs.values():
                await output.write()
        except (Exception, asyncio.CancelledError) as exc:
            if is_cancelled():
                raise
            traceback.print_exc(limit=-3, chain=False)
            self._say(f"{self.name} ({reason}) failed after {time.monotonic() - began:.3f} s: {type(exc).__name__}")
        else:
            self._say(f"{self.name} ({reason}) succeeded, {time.monotonic() - began:.3f} s")

    async def keep(self) -> None:
        """Call it at every tick, until cancelled."""
        due = self._ticks.next_after(datetime.now(UTC))
        while True:
            await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
            await self.invoke("timer")
            due = max(self._ticks.next_after(due), datetime.now(UTC))  # ticks missed meanwhile are made up for by one


def say_now(line: str) -> None:
    """Print a line at once, even into a pipe."""
    print(line, flush=True)


class Host:
    """Serves the functions of one function app."""

    def __init__(self, functions: Iterable[Any], keys: Keys, say: Say = say_now) -> None:
        """Read the functions.

        Args:
            functions: what ``FunctionApp.get_functions()`` gives.
            keys: what callers have to show.
            say: is told each line of the host's log.

        Raises:
            HostError: one has a trigger that this host does not know.
        """
        self.keys = keys
        self._say = say
        self.timers: dict[str, Timer] = {}
        self.queues: list[QueueTrigger] = []
        self.routes: list[str] = []
        self._running: set[asyncio.Task[None]] = set()
        self._web = web.Application(client_max_size=MAX_BODY)
        self._web.router.add_post("/admin/functions/{name}", self._admin)
        host_json = json.loads((ROOT / "host.json").read_text())
        self._pace = Pace.of(host_json, os.environ)
        self._prefix = host_json.get("extensions", {}).get("http", {}).get("routePrefix", "api")
        for function in functions:
            self._add(function)

    def _add(self, function: Any) -> None:
        name, trigger = function.get_function_name(), function.get_trigger().get_dict_repr()
        user_function = function.get_user_function()
        match trigger["type"]:
            case "timerTrigger":
                argument, outputs = trigger["name"], _outputs(function)
                self.timers[name] = Timer(name, trigger["schedule"], user_function, argument, self._say, outputs)
            case "queueTrigger":
                self._add_queue(name, trigger, user_function)
            case "httpTrigger":
                self._add_route(name, trigger, user_function)
            case other:
                raise HostError(f"{name} has a {other}; this host knows timers, queues and HTTP")

    def _add_queue(self, name: str, trigger: dict[str, Any], function: Callable[..., Any]) -> None:
        async def call(message: func.QueueMessage) -> None:
            await _called(function, **{trigger["name"]: message})

        where = trigger["queueName"], trigger["connection"]
        self.queues.append(QueueTrigger(name, *where, call, self._pace, self._say))

    def _add_route(self, name: str, trigger: dict[str, Any], function: Callable[..., Any]) -> None:
        path = f"/{self._prefix}/{trigger.get('route') or name}"
        level = trigger["authLevel"].value
        argument = trigger["name"]

        async def serve(request: web.Request) -> web.Response:
            if not self.keys.open(level, request):
                return web.Response(status=401)
            return await self._serve(name, request, lambda http: _called(function, **{argument: http}))

        for method in trigger.get("methods") or ("GET", "POST"):
            verb = getattr(method, "value", method)
            for spelt in (path, f"{path}/"):  # the host's router takes both for the same
                self._web.router.add_route(verb, spelt, serve)
            self.routes.append(f"{verb:6} {path} ({level})")

    async def _serve(
        self, name: str, request: web.Request, call: Callable[[func.HttpRequest], Awaitable[Any]]
    ) -> web.Response:
        http = func.HttpRequest(
            request.method,
            str(request.url),
            headers=dict(request.headers),
            params={name: ",".join(request.query.getall(name)) for name in request.query},
            route_params=dict(request.match_info),
            body=await request.read(),
        )
        try:
            answer = await call(http)
        except (Exception, asyncio.CancelledError) as exc:
            if is_cancelled():
                raise
            traceback.print_exc(limit=-3, chain=False)
            self._say(f"{name} failed: {type(exc).__name__}")
            return web.Response(status=500)
        headers = {**answer.headers}
        charset = f"; charset={answer.charset}" if answer.mimetype.startswith("text/") else ""  # as the worker does
        headers.setdefault("Content-Type", f"{answer.mimetype}{charset}")
        return web.Response(status=answer.status_code, headers=headers, body=answer.get_body())

    async def _admin(self, request: web.Request) -> web.Response:
        """Start a timer function by hand: 202 at once, whatever comes of it."""
        if not self.keys.open("admin", request):
            return web.Response(status=401)
        timer = self.timers.get(request.match_info["name"])
        if timer is None:
            return web.Response(status=404)
        try:
            json.loads(await request.read() or b"null")
        except ValueError:
            return web.Response(status=400)
        task = asyncio.create_task(timer.invoke("by hand"))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return web.Response(status=202)

    async def serve(self, port: int, *, timers: bool = True, ready: Callable[[int], None] = lambda _: None) -> None:
        """Serve until cancelled.

        Args:
            port: of loopback; 0 for a free one.
            timers: whether they tick.
            ready: is told the port, once it is open.
        """
        # A request whose caller has gone away is carried on, as the host does.
        runner = web.AppRunner(self._web, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, port)
            await site.start()
            ready(runner.addresses[0][1])
            async with asyncio.TaskGroup() as group:
                for timer in self.timers.values() if timers else ():
                    group.create_task(timer.keep())
                for queue in self.queues:
                    group.create_task(queue.keep())
                await asyncio.Event().wait()
        finally:
            for task in list(self._running):
                task.cancel()
            await runner.cleanup()

    def greet(self, port: int) -> None:
        """Say what there is, and with which keys."""
        self._say(
            "\n".join(
                [
                    "this is a stand-in for the Azure Functions host, for this machine only; it runs",
                    *(f"  {timer.name}, timer, {timer.schedule}" for timer in self.timers.values()),
                    *(f"  {queue.name}, queue {queue.queue_name}" for queue in self.queues),
                    *(f"  {route}" for route in self.routes),
                    f"function key {self.keys.function}",
                    f"master key   {self.keys.master}",
                    f"http://{HOST}:{port}/{self._prefix}/dashboard",
                ]
            )
        )


def load(keys: Keys, say: Say = say_now) -> Host:
    """The host for this repository's function_app.py; the environment is the app's settings from here on."""
    app = importlib.import_module("function_app").app
    return Host(app.get_functions(), keys, say)


def until_signal(work: Awaitable[None]) -> None:
    """Run it until it ends, or until SIGINT or SIGTERM."""

    async def run() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    asyncio.run(run())


def _resolved(schedule: str) -> str:
    """The schedule itself, or that of the app setting named by ``%NAME%``."""
    if not (schedule.startswith("%") and schedule.endswith("%")):
        return schedule
    name = schedule.strip("%")
    if name not in os.environ:
        raise HostError(f"the schedule names the app setting {name}, which is missing")
    return os.environ[name]


def _outputs(function: Any) -> dict[str, tuple[str, str]]:
    """The queue and the connection of each output binding, by the parameter's name."""
    bindings = (one.get_dict_repr() for one in function.get_bindings())
    return {one["name"]: (one["queueName"], one["connection"]) for one in bindings if one["type"] == "queue"}


async def _called(function: Callable[..., Any], **arguments: Any) -> Any:
    """What an async function returns; one that is not async is called in a thread."""
    if "context" in inspect.signature(function).parameters:
        arguments["context"] = _context(function.__name__)
    if asyncio.iscoroutinefunction(function):
        return await function(**arguments)
    return await asyncio.to_thread(function, **arguments)


def _context(name: str) -> SimpleNamespace:
    """What a function may ask for about its invocation: the attributes of azure.functions.Context."""
    trace_parent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    return SimpleNamespace(
        invocation_id=str(uuid.uuid4()),
        function_name=name,
        function_directory=str(ROOT),
        trace_context=SimpleNamespace(trace_parent=trace_parent, trace_state="", attributes={}),
        retry_context=None,
        thread_local_storage=threading.local(),
    )


def main() -> None:
    """Run function_app.py with the settings of the environment, until a signal."""
    parser = argparse.ArgumentParser(prog="python -m dev.host", description="Run function_app.py without Azure.")
    parser.add_argument("--port", type=int, default=PORT, help="0 for a free one; default: %(default)s")
    parser.add_argument("--no-timers", action="store_true", help="run a timer only when asked to by POST /admin/…")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    host = load(Keys.from_env(os.environ))
    until_signal(host.serve(arguments.port, timers=not arguments.no_timers, ready=host.greet))


if __name__ == "__main__":
    main()
