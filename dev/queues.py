"""Storage queues for the stand-in host: it reads and writes them as the Azure Functions host does.

The rules and the names of the settings are those of host.json:
https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.functions.queue import QueueMessage
from azure.storage.queue import TextBase64DecodePolicy, TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

FIRST_POLL_SEC = 0.1
VISIBLE_AFTER_SEC = 600  # a message whose host has died comes back after this long
MOST_DEQUEUES = 5
# The account that Azurite has, published by Microsoft: https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

Call = Callable[[QueueMessage], Awaitable[Any]]


def azurite_connection(port: int) -> str:
    """The connection string of an Azurite whose queues are on this port of loopback."""
    account = "devstoreaccount1"
    return (
        f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={_AZURITE_KEY};"
        f"QueueEndpoint=http://127.0.0.1:{port}/{account};"
    )


def queue(name: str, connection: str) -> QueueClient:
    """The queue in the account that the app setting `connection` names."""
    account = os.environ.get(connection) or "UseDevelopmentStorage=true"
    text = azurite_connection(10001) if account == "UseDevelopmentStorage=true" else account
    return QueueClient.from_connection_string(
        text,
        name,
        message_encode_policy=TextBase64EncodePolicy(),
        message_decode_policy=TextBase64DecodePolicy(),
        retry_total=0,
    )


def is_cancelled() -> bool:
    """Whether it is we who are cancelled: else a function has leaked a CancelledError."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def create(client: QueueClient) -> None:
    """Make the queue if it is not there."""
    try:
        await client.create_queue()
    except ResourceExistsError:
        return


@dataclass(frozen=True, slots=True)
class Pace:
    """How a host takes messages.

    Attributes:
        batch_size: how many it takes at once.
        new_batch_threshold: it takes more when no more than so many are in work.
        longest_poll_sec: the longest wait between two looks at an empty queue.
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    longest_poll_sec: float = 60.0

    @classmethod
    def of(cls, host_json: Mapping[str, Any], settings: Mapping[str, str]) -> Self:
        """What host.json says, or an app setting instead of it.

        https://learn.microsoft.com/azure/azure-functions/functions-host-json#override-hostjson-values
        """
        said = dict(host_json.get("extensions", {}).get("queues", {}))
        for name in ("batchSize", "newBatchThreshold"):
            if text := settings.get(f"AzureFunctionsJobHost__extensions__queues__{name}"):
                said[name] = int(text)
        size = said.get("batchSize", 16)
        hours, minutes, seconds = map(float, said.get("maxPollingInterval", "00:01:00").split(":"))
        return cls(size, said.get("newBatchThreshold", size // 2), 3600 * hours + 60 * minutes + seconds)


class Output:
    """An output binding of type queue: what the function sets is enqueued once it has ended well (func.Out)."""

    def __init__(self, name: str, connection: str) -> None:
        self._name, self._connection = name, connection
        self._messages: list[str] = []

    def set(self, messages: list[str]) -> None:
        """Take what the function wants to be enqueued."""
        self._messages = list(messages)

    async def write(self) -> None:
        """Enqueue it."""
        if not self._messages:
            return
        async with queue(self._name, self._connection) as client:
            await create(client)
            for message in self._messages:
                await client.send_message(message)


class QueueTrigger:
    """A function that is called with each message of a queue."""

    def __init__(
        self, name: str, queue_name: str, connection: str, call: Call, pace: Pace, say: Callable[[str], None]
    ) -> None:
        self.name = name
        self.queue_name = queue_name
        self._connection = connection
        self._call = call
        self._pace = pace
        self._say = say
        self._in_work: set[asyncio.Task[None]] = set()

    async def keep(self) -> None:
        """Take messages until cancelled; a queue that cannot be reached is looked at again."""
        wait_sec = FIRST_POLL_SEC
        try:
            async with queue(self.queue_name, self._connection) as client:
                while True:
                    taken = await self._take(client)
                    wait_sec = FIRST_POLL_SEC if taken else min(2 * wait_sec, self._pace.longest_poll_sec)
                    await asyncio.sleep(0 if taken else wait_sec)
        finally:
            for task in list(self._in_work):
                task.cancel()

    async def _take(self, client: QueueClient) -> int:
        """Begin a batch, once few enough messages are in work; how many there were."""
        while len(self._in_work) > self._pace.new_batch_threshold:
            await asyncio.wait(self._in_work, return_when=asyncio.FIRST_COMPLETED)
        try:
            return await self._begin_batch(client)
        except AzureError as exc:
            self._say(f"{self.name}: the queue cannot be read: {type(exc).__name__}")
            return 0

    async def _begin_batch(self, client: QueueClient) -> int:
        count = 0
        pages = client.receive_messages(
            messages_per_page=self._pace.batch_size,
            max_messages=self._pace.batch_size,
            visibility_timeout=VISIBLE_AFTER_SEC,
        )
        try:
            async for message in pages:
                count += 1
                task = asyncio.create_task(self._invoke(client, message))
                self._in_work.add(task)
                task.add_done_callback(self._in_work.discard)
        except ResourceNotFoundError:
            await create(client)
        return count

    async def _invoke(self, client: QueueClient, message: Any) -> None:
        given = QueueMessage(  # type: ignore[no-untyped-call]  # azure-functions gives it no types
            id=message.id,
            body=message.content.encode(),
            dequeue_count=message.dequeue_count,
            insertion_time=message.inserted_on,
            pop_receipt=message.pop_receipt,
        )
        try:
            has_failed = await self._failed(given)
            await (self._give_back(client, message) if has_failed else client.delete_message(message))
        except AzureError as exc:  # the message comes back after VISIBLE_AFTER_SEC
            self._say(f"{self.name}: the queue cannot be written: {type(exc).__name__}")

    async def _failed(self, given: QueueMessage) -> bool:
        """Call the function; whether it failed. A cancellation that is not ours has leaked from the function."""
        try:
            await self._call(given)
        except (Exception, asyncio.CancelledError) as exc:  # whatever it raises, the message is tried again
            if is_cancelled():
                raise
            self._say(f"{self.name} failed: {type(exc).__name__}")
            return True
        self._say(f"{self.name} succeeded")
        return False

    async def _give_back(self, client: QueueClient, message: Any) -> None:
        """Let the message be taken again; after MOST_DEQUEUES it goes to the poison queue."""
        if message.dequeue_count < MOST_DEQUEUES:
            await client.update_message(message, visibility_timeout=0)
            return
        async with queue(f"{self.queue_name}-poison", self._connection) as poison:
            await create(poison)
            await poison.send_message(message.content)
        await client.delete_message(message)
