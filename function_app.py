"""Owns the triggers: what Azure Functions calls. All the work is in the package reclaim."""

import asyncio
import gc
import logging
import os
import typing

import azure.functions as func

from reclaim.app import app_of_loop, tick
from reclaim.errors import RunFailed
from reclaim.fan_out import CONNECTION, QUEUE, fans_out
from reclaim.http import routes as ops
from reclaim.settings import DEFAULT_SCHEDULE
from reclaim.trace import Operation

# A %…% whose app setting is missing or blank breaks indexing, so it is named only where it says something.
SCHEDULE = "%RECLAIM_SCHEDULE%" if os.environ.get("RECLAIM_SCHEDULE", "").strip() else DEFAULT_SCHEDULE

app = func.FunctionApp()
app.register_functions(ops.blueprint)
Messages = typing.List[str]  # noqa: UP006  # the platform's worker takes no list[str] here
timer = app.timer_trigger(arg_name="timer", schedule=SCHEDULE, run_on_startup=False, use_monitor=False)

if fans_out(os.environ):

    @app.function_name("reclaim")
    @timer
    @app.queue_output(arg_name="messages", queue_name=QUEUE, connection=CONNECTION)
    async def reclaim(timer: func.TimerRequest, messages: func.Out[Messages], context: func.Context) -> None:  # noqa: ARG001  # the host passes it so
        """Enqueue a message for each target that has work. By hand: POST /admin/functions/reclaim."""
        try:
            enqueued = await app_of_loop().fan_out(Operation.of(context.trace_context.trace_parent))
        except asyncio.CancelledError as exc:  # one that leaks leaves the host's invocation hanging
            raise RunFailed("the tick was cancelled; the next one looks again") from exc
        if enqueued:
            messages.set(enqueued)

    @app.function_name("reclaim_target")
    @app.queue_trigger(arg_name="message", queue_name=QUEUE, connection=CONNECTION)
    async def reclaim_target(message: func.QueueMessage, context: func.Context) -> None:
        """Run the target that a message names. It never fails: a message that is tried again would change nothing."""
        try:
            await app_of_loop().take_up(message.get_body(), Operation.of(context.trace_context.trace_parent))
        except (Exception, asyncio.CancelledError):
            logging.getLogger("reclaim").exception("a message of the queue %s was not taken up", QUEUE)

else:

    @app.function_name("reclaim")
    @timer
    async def reclaim(timer: func.TimerRequest, context: func.Context) -> None:  # noqa: ARG001  # the host passes it so
        """One run of every target. By hand: POST /admin/functions/reclaim."""
        await tick(context.trace_context.trace_parent)


# What has been imported stays: collections of garbage during runs need not look at it again. Nor need they look at each
# page: by default there would be two for every page of 500 entries, and they took a tenth of a run's time.
gc.freeze()
gc.set_threshold(5_000)
