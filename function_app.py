"""Owns the triggers: what Azure Functions calls. All the work is in the package reclaim."""

import asyncio
import gc
import os

import azure.functions as func

from reclaim.app import app_of_loop
from reclaim.errors import RunFailed
from reclaim.http import routes as ops
from reclaim.settings import DEFAULT_SCHEDULE
from reclaim.trace import Operation

# A %…% whose app setting is missing or blank breaks indexing, so it is named only where it says something.
SCHEDULE = "%RECLAIM_SCHEDULE%" if os.environ.get("RECLAIM_SCHEDULE", "").strip() else DEFAULT_SCHEDULE

app = func.FunctionApp()
app.register_functions(ops.blueprint)


@app.function_name("reclaim")
@app.timer_trigger(arg_name="timer", schedule=SCHEDULE, run_on_startup=False, use_monitor=False)
async def reclaim(timer: func.TimerRequest, context: func.Context) -> None:  # noqa: ARG001  # the host passes it so
    """One run of every target. By hand: POST /admin/functions/reclaim."""
    try:
        await app_of_loop().run(operation=Operation.of(context.trace_context.trace_parent))
    except asyncio.CancelledError as exc:  # one that leaks leaves the host's invocation hanging
        raise RunFailed("the run was cancelled; what it held is taken up by the next one") from exc


# What has been imported stays: collections of garbage during runs need not look at it again.
gc.freeze()
