"""Owns the triggers: what Azure Functions calls. All the work is in the package reclaim."""

import asyncio
import os
from weakref import WeakKeyDictionary

import azure.functions as func

from reclaim.app import App
from reclaim.errors import RunFailed
from reclaim.settings import DEFAULT_SCHEDULE

# An app setting that %…% names and that is missing breaks indexing, so it is named only where it is there.
SCHEDULE = "%RECLAIM_SCHEDULE%" if os.environ.get("RECLAIM_SCHEDULE") else DEFAULT_SCHEDULE

app = func.FunctionApp()

_apps: WeakKeyDictionary[asyncio.AbstractEventLoop, App] = WeakKeyDictionary()


@app.function_name("reclaim")
@app.timer_trigger(arg_name="timer", schedule=SCHEDULE, run_on_startup=False, use_monitor=False)
async def reclaim(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the host passes it by this name
    """One run of every target. By hand: POST /admin/functions/reclaim."""
    try:
        await _app().run()
    except asyncio.CancelledError as exc:  # one that leaks leaves the host's invocation hanging
        raise RunFailed("the run was cancelled; what it held is taken up by the next one") from exc


def _app() -> App:
    """The app of this event loop, made when it is first needed: a client works on the loop that it was made on."""
    loop = asyncio.get_running_loop()
    if loop not in _apps:
        _apps[loop] = App.from_env(os.environ)
    return _apps[loop]
