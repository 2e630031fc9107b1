"""What the stand-in host does with a queue's message when its function, or the queue itself, fails."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError

from dev.queues import MOST_DEQUEUES, Call, Pace, QueueTrigger

MESSAGE = SimpleNamespace(id="1", content="s/g", dequeue_count=1, inserted_on=datetime.now(UTC), pop_receipt="r")
assert MESSAGE.dequeue_count < MOST_DEQUEUES


class Queue:
    """A queue of one message that writes down what is done with it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.done: list[str] = []
        self._error = error

    async def update_message(self, _: Any, visibility_timeout: int) -> None:
        self._note(f"visible in {visibility_timeout}")

    async def delete_message(self, _: Any) -> None:
        self._note("deleted")

    def _note(self, what: str) -> None:
        if self._error is not None:
            raise self._error
        self.done.append(what)


def a_trigger(call: Call, said: list[str]) -> QueueTrigger:
    return QueueTrigger("work", "q", "Storage", call, Pace(), said.append)


@pytest.mark.parametrize("error", [ValueError("bad"), asyncio.CancelledError()], ids=["error", "leaked cancellation"])
async def test_the_message_of_a_function_that_fails_is_given_back_at_once(error: BaseException) -> None:
    """Also where a cancellation has leaked from the function: nobody has cancelled it."""

    async def fail(_: Any) -> None:
        raise error

    said: list[str] = []
    queue = Queue()
    await a_trigger(fail, said)._invoke(queue, MESSAGE)

    assert said == [f"work failed: {type(error).__name__}"]
    assert queue.done == ["visible in 0"]


async def test_a_function_that_the_host_ends_has_not_failed() -> None:
    begun = asyncio.Event()

    async def hang(_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    said: list[str] = []
    queue = Queue()
    task = asyncio.create_task(a_trigger(hang, said)._invoke(queue, MESSAGE))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (said, queue.done) == ([], [])


async def test_a_queue_that_cannot_be_written_is_said() -> None:
    """The task that handles the message has nobody who asks how it ended."""

    async def work(_: Any) -> None: ...

    said: list[str] = []
    await a_trigger(work, said)._invoke(Queue(ServiceRequestError("no route")), MESSAGE)

    assert said == ["work succeeded", "work: the queue cannot be written: ServiceRequestError"]


def test_an_app_setting_stands_above_host_json() -> None:
    """As on Azure: an instance whose handler computes takes one message at once."""
    host_json = {"extensions": {"queues": {"batchSize": 4, "newBatchThreshold": 2, "maxPollingInterval": "00:00:02"}}}
    prefix = "AzureFunctionsJobHost__extensions__queues__"

    assert Pace.of(host_json, {}) == Pace(4, 2, 2.0)
    assert Pace.of(host_json, {f"{prefix}batchSize": "1", f"{prefix}newBatchThreshold": "0"}) == Pace(1, 0, 2.0)
