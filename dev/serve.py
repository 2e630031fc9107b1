"""`make serve`: the function app at work on http://127.0.0.1:7071, with tweets that trickle in and flaky processors.

It starts a server of its own, unless REDIS_HOST names one: then nothing is produced and nothing is processed there. The
app runs in Azure Functions Core Tools where `func` is on PATH (timers want Azurite beside it), else in the stand-in
host. With FAN_OUT=queue it also starts a storage queue (Azurite), unless AzureWebJobsStorage names one.
"""

import argparse
import asyncio
import logging
import os
import random
import shlex
import shutil
import socket
import sys
from contextlib import ExitStack
from itertools import count, islice
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from dev.host import HOST, PORT, ROOT, Keys, load, say_now, until_signal
from dev.server import Server
from dev.storage import Storage, is_installed
from dev.tweets import tweets
from reclaim.fan_out import CONNECTION, fans_out

PROCESSORS = 3
TWEETS_EACH_SEC = 8
BAD_ONE_IN = 200  # a tweet without an id: a dead letter, and a processor that dies of it
MAXLEN = 20_000
MOST_PORTS = 65_535
NO_QUEUE = "FAN_OUT=queue needs a storage queue: make azurite installs one, with npm; or AzureWebJobsStorage names one"

CLI = ".venv/bin/python -m reclaim"

DEFAULTS = {
    "STREAM_NAME": "tweets_stream",
    "STREAM_CONSUMER_GROUP_NAME": "redisearch_app_group",
    "RECLAIM_SCHEDULE": "*/10 * * * * *",
}


async def trickle(client: Redis, stream: str, seed: int) -> None:
    """Append tweets for ever, a few each second; now and then one that nobody can store."""
    rng = random.Random(seed)
    while True:
        for tweet in islice(tweets(10_000, rng.randrange(2**31)), 10_000):
            fields = tweet[2:] if not rng.randrange(BAD_ONE_IN) else tweet
            try:
                add = ("XADD", stream, "MAXLEN", "~", MAXLEN, "*", *fields)
                await client.execute_command(*add)  # type: ignore[no-untyped-call]  # redis-py gives it no types
            except RedisError as exc:
                say_now(f"no tweet: {exc}")
                await asyncio.sleep(1)
            await asyncio.sleep(rng.expovariate(TWEETS_EACH_SEC))


async def keep_processor(number: int, server: Server, stream: str, group: str) -> None:
    """Run a flaky processor, and another one with the same name a while after it has died."""
    words = [f"--host={HOST}", f"--port={server.port}", f"--stream={stream}", f"--group={group}"]
    for life in count(1):
        processor = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "dev.processors",
            *words,
            f"--consumer=processor-{number}",
            f"--seed={life}",
            cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL,  # it shares nothing that somebody may wait for after our end
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await processor.wait()
            say_now(f"processor-{number} has died; it is started again in 5 s")
            await asyncio.sleep(5)
        finally:
            if processor.returncode is None:
                processor.kill()
                await processor.wait()


async def traffic(server: Server, stream: str, group: str) -> None:
    """The producer and the processors, until cancelled."""
    # Without a timeout of redis-py's: it waits with asyncio.wait_for, which in Python 3.11 may swallow a cancellation.
    async with Redis(host=HOST, port=server.port, protocol=2, socket_timeout=None) as client:
        try:
            await client.xgroup_create(stream, group, id="0", mkstream=True)
        except ResponseError as exc:
            say_now(f"the group: {exc}")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(trickle(client, stream, seed=4))
            for number in range(1, PROCESSORS + 1):
                tasks.create_task(keep_processor(number, server, stream, group))


async def core_tools(program: str, port: int) -> None:
    """The app in Core Tools, until it ends or we are cancelled."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = {"FUNCTIONS_WORKER_RUNTIME": "python", "AzureWebJobsStorage": "UseDevelopmentStorage=true", **os.environ}
    say_now(f"{program} runs the app; its timer wants Azurite")
    process = await asyncio.create_subprocess_exec(
        program, "start", "--port", str(port), cwd=ROOT, env={**env, "PATH": path}
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def serve(server: Server | None, port: int) -> None:
    """The app, and traffic where the server is ours, until cancelled."""
    program = shutil.which("func")
    async with asyncio.TaskGroup() as tasks:
        around = []
        if server is not None:
            stream, group = (os.environ[name] for name in ("STREAM_NAME", "STREAM_CONSUMER_GROUP_NAME"))
            around.append(tasks.create_task(traffic(server, stream, group)))
        if program is None:
            host = load(Keys.from_env(os.environ))
            await host.serve(port, ready=host.greet)
        else:
            await core_tools(program, port)
        for task in around:
            task.cancel()


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(prog="python -m dev.serve", description="Run the app with live traffic.")
    parser.add_argument("--port", type=a_port, default=PORT, help="0 for a free one; default: %(default)s")
    arguments = parser.parse_args()
    check_free(arguments.port)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    with ExitStack() as stack:
        server = None
        if not os.environ.get("REDIS_HOST"):
            server = stack.enter_context(Server())
            os.environ |= {"REDIS_HOST": server.address, "REDIS_TLS": "false"}
            os.environ |= {name: value for name, value in DEFAULTS.items() if not os.environ.get(name)}
            exported = {name: os.environ[name] for name in ("REDIS_HOST", "REDIS_TLS", *DEFAULTS)}
            words = " ".join(f"{name}={shlex.quote(value)}" for name, value in exported.items())
            say_now(f"for the command line, in another terminal:\n  export {words}\n  {CLI} status")
        if fans_out(os.environ) and not os.environ.get(CONNECTION):
            if not is_installed():
                raise SystemExit(NO_QUEUE)
            os.environ[CONNECTION] = stack.enter_context(Storage()).connection
        until_signal(serve(server, arguments.port))


def a_port(text: str) -> int:
    """The port that a person said."""
    if not text.isdecimal() or int(text) > MOST_PORTS:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; allowed: 0 to {MOST_PORTS}, as in make serve PORT=8080")
    return int(text)


def check_free(port: int) -> None:
    """End with one line if something listens at the port already; a free one is what 0 asks for."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as exc:
            raise SystemExit(
                f"port {port} cannot be used ({exc.strerror}): say another one, as in make serve PORT=8080"
            ) from exc


if __name__ == "__main__":
    main()
