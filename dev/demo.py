"""`make run`: 20,000 tweets, two flaky processors that die, and the function app's own timer making good for them.

It starts a server of its own, or uses REDIS_HOST (with REDIS_TLS, REDIS_PASSWORD and the others). There it touches
nothing that it has not made: it refuses to begin where its stream or one of its hashes is already. It exits with 1 if
anything is still pending at the end, or if one hash differs from the tweet that was produced.
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from azure.functions.timer import TimerRequest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import function_app
from dev.server import Server
from dev.tweets import Flat, produce, tweets
from reclaim.errors import ReclaimError
from reclaim.settings import Settings, Target

COUNT = 20_000
SEED = 4
PROCESSORS = 2
TICK_SEC = 1.0
_CONTEXT = SimpleNamespace(trace_context=SimpleNamespace(trace_parent=None))  # a call that belongs to no trace
MAX_TICKS = 60
BATCH_SIZE = 1000

# What the demo works on where the environment does not say otherwise, and what would let it work on something else.
DEFAULTS = {
    "STREAM_NAME": "tweets_stream",
    "STREAM_CONSUMER_GROUP_NAME": "redisearch_app_group",
    "MIN_IDLE_TIME_SEC": "1",
}
NOT_FOR_THE_DEMO = ("HANDLER", "HASH_KEY", "HASH_VERSION_FIELD", "ORDER_KEY", "RECLAIM_TARGETS")

Account = dict[str, Any]  # a run's report, as its log line has it
Pending = dict[str, int]  # by consumer


class DemoError(Exception):
    """The demo cannot begin, or did not end as it should."""


class Demo:
    """The demo on one server; Redis is seen through a client of its own, so that the app does not vouch for itself."""

    def __init__(self, settings: Settings, client: Redis, console: Console) -> None:
        self._settings = settings
        self._target: Target = settings.targets[0]
        self._client = client
        self._console = console

    async def run(self) -> None:
        """All of it.

        Raises:
            DemoError: something is still pending, or a hash is not what it should be.
        """
        await self._refuse_what_is_there()
        ids = await self._produce()
        await self._let_processors_die(ids)
        before = await self._pending()
        accounts = await self._reclaim(sum(before.values()))
        after = await self._pending()
        self._console.print(_by_consumer(before, after), _in_all(accounts))
        wrong = await self._count_wrong_hashes()
        if wrong or after:
            raise DemoError(f"{wrong:,} hashes are not as produced, {sum(after.values()):,} entries are pending")
        self._console.print(f"all {COUNT:,} hashes are as produced, byte for byte; nothing is pending")

    async def _refuse_what_is_there(self) -> None:
        """Nothing is overwritten that somebody else may need."""
        keys: list[bytes | str] = [_key(tweet) for tweet in tweets(COUNT, SEED)]
        if await self._client.exists(self._target.stream):
            raise DemoError(f"the stream {self._target.stream!r} exists already: set STREAM_NAME to one that does not")
        if await self._client.exists(*keys):
            raise DemoError("some of the hashes tweet:<id> that the demo writes exist already: use another server")

    async def _produce(self) -> list[bytes]:
        await self._client.xgroup_create(self._target.stream, self._target.group, id="0", mkstream=True)
        with self._stage("tweets produced", COUNT) as tell:
            ids = await produce(self._client, self._target.stream, COUNT, SEED)
            tell(len(ids))
        return ids

    async def _let_processors_die(self, ids: list[bytes]) -> None:
        """One processor is killed half-way, the others when all has been read."""
        position = {entry_id: number for number, entry_id in enumerate(ids, 1)}
        processors = [await self._processor(number) for number in range(1, PROCESSORS + 1)]
        try:
            with self._stage(f"read by {PROCESSORS} processors", COUNT) as tell:
                while (read := position.get(await self._last_read(), 0)) < COUNT:
                    tell(read)
                    if read >= COUNT // 2 and len(processors) == PROCESSORS:
                        await _kill(processors.pop(0))
                    if any(processor.returncode is not None for processor in processors):
                        raise DemoError("a processor ended by itself")
                    await asyncio.sleep(0.01)
                tell(COUNT)
        finally:
            for processor in processors:
                await _kill(processor)

    async def _processor(self, number: int) -> asyncio.subprocess.Process:
        options = {
            "host": self._settings.host,
            "port": self._settings.port,
            "stream": self._target.stream,
            "group": self._target.group,
            "consumer": f"processor-{number}",
            "seed": number,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        words += ["--tls"] * self._settings.tls
        words += [f"--ca-file={self._settings.ca_file}"] * bool(self._settings.ca_file)
        root = Path(__file__).parents[1]
        return await asyncio.create_subprocess_exec(sys.executable, "-m", "dev.processors", *words, cwd=root)

    async def _last_read(self) -> bytes:
        (group,) = await self._client.xinfo_groups(self._target.stream)
        last_id: bytes = group["last-delivered-id"]
        return last_id

    async def _reclaim(self, total: int) -> list[Account]:
        """Call the app's own timer function, once a tick, until nothing is pending."""
        (timer,) = (
            function.get_user_function()
            for function in function_app.app.get_functions()
            if function.get_function_name() == "reclaim"
        )
        accounts: list[Account] = []
        with _reports_to(accounts), self._stage("abandoned, now reclaimed", total) as tell:
            for _ in range(MAX_TICKS):
                await asyncio.sleep(TICK_SEC)
                await timer(TimerRequest(past_due=False), context=_CONTEXT)
                self._console.print(_line(accounts[-1]), soft_wrap=True)
                left = sum((await self._pending()).values())
                tell(total - left)
                if not left:
                    break
        return accounts

    async def _pending(self) -> Pending:
        summary = await self._client.xpending(self._target.stream, self._target.group)
        return {consumer["name"].decode(): consumer["pending"] for consumer in summary["consumers"]}

    async def _count_wrong_hashes(self) -> int:
        wrong = 0
        produced = tweets(COUNT, SEED)
        while batch := list(islice(produced, BATCH_SIZE)):
            pipeline = self._client.pipeline(transaction=False)
            for tweet in batch:
                pipeline.hgetall(_key(tweet))
            found = await pipeline.execute()
            expected = [dict(zip(tweet[::2], tweet[1::2], strict=True)) for tweet in batch]
            wrong += sum(one != other for one, other in zip(found, expected, strict=True))
        return wrong

    @contextmanager
    def _stage(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar where there is a terminal, a line at the end where there is none; gives how to move it."""
        columns = (TextColumn("{task.description:>24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        is_terminal = self._console.is_terminal
        started = time.monotonic()
        with Progress(*columns, console=self._console, disable=not is_terminal) as progress:
            task = progress.add_task(what, total=total)
            yield lambda done: progress.update(task, completed=done)
        if not is_terminal:
            done = round(progress.tasks[task].completed)
            self._console.print(f"{what}: {done:,} of {total:,}, {time.monotonic() - started:.1f} s")


class _Reports(logging.Handler):
    """Keeps the structured line that the app logs for each run."""

    def __init__(self, accounts: list[Account]) -> None:
        super().__init__()
        self._accounts = accounts

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "reclaim run %s" and isinstance(record.args, tuple):
            self._accounts.append(json.loads(str(record.args[0])))


@contextmanager
def _reports_to(accounts: list[Account]) -> Iterator[None]:
    logger, handler = logging.getLogger("reclaim"), _Reports(accounts)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _key(tweet: Flat) -> bytes:
    return b"tweet:" + tweet[1]


async def _kill(processor: asyncio.subprocess.Process) -> None:
    if processor.returncode is None:
        processor.kill()
        await processor.wait()


def _line(account: Account) -> str:
    counts = ", ".join(f"{account[name]:,} {name}" for name in ("claimed", "stored", "acknowledged"))
    outcome = f"{account['outcome']} {account['reason']}".rstrip()
    return f"run {account['run_id']}: {outcome}, {counts}, {account['seconds']:.3f} s"


def _by_consumer(before: Pending, after: Pending) -> Table:
    table = Table("consumer", title="pending", title_justify="left")
    for moment in ("before", "after"):
        table.add_column(moment, justify="right")
    for consumer in sorted(before | after):
        table.add_row(consumer, f"{before.get(consumer, 0):,}", f"{after.get(consumer, 0):,}")
    table.add_section()
    table.add_row("all", f"{sum(before.values()):,}", f"{sum(after.values()):,}")
    return table


def _in_all(accounts: list[Account]) -> Table:
    """The runs' own figures, added up; the rate counts only the runs that had something to do."""
    columns = ("claimed", "stored", "acknowledged", "parked", "failed")
    counts = {name: sum(account[name] for account in accounts) for name in columns}
    seconds = sum(account["seconds"] for account in accounts if account["claimed"])
    table = Table(title=f"runs: {len(accounts)}", title_justify="left")
    for name in (*columns, "seconds", "entries/s"):
        table.add_column(name, justify="right")
    rate = counts["acknowledged"] / seconds if seconds else 0
    table.add_row(*(f"{count:,}" for count in counts.values()), f"{seconds:.3f}", f"{rate:,.0f}")
    return table


async def _run(console: Console) -> None:
    settings = Settings.from_env(os.environ)
    if settings.db or settings.socket_path:
        raise DemoError("the demo works in database 0 of a server that has a host and a port")
    client = Redis(
        host=settings.host,
        port=settings.port,
        username=settings.username,
        password=settings.password,
        ssl=settings.tls,
        ssl_ca_certs=settings.ca_file,
        protocol=2,
    )
    async with client:
        await Demo(settings, client, console).run()


def main() -> int:
    """Run the demo; 0 if all went well."""
    console = Console(highlight=False)
    logging.basicConfig(handlers=[logging.NullHandler()])  # the console tells; azure.functions would log to it too
    with ExitStack() as stack:
        if not os.environ.get("REDIS_HOST"):
            server = stack.enter_context(Server())
            os.environ |= {"REDIS_HOST": server.address, "REDIS_TLS": "false"}
        os.environ |= {name: value for name, value in DEFAULTS.items() if not os.environ.get(name)}
        for name in NOT_FOR_THE_DEMO:
            os.environ.pop(name, None)
        console.print(f"server at {os.environ['REDIS_HOST']}", markup=False)
        try:
            asyncio.run(_run(console))
        except (DemoError, ReclaimError, RedisError) as exc:
            console.print(f"failed: {exc}", markup=False, soft_wrap=True, style="red")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
