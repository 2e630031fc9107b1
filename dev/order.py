"""The order experiment over several processes: `python -m dev.order`; nothing of it runs on Azure.

A stream has a thousand entries of each of a hundred order keys. Every hundredth of a key throws when it is first tried.
Four hosts of the app work on it, each in a process of its own, with FAN_OUT=queue and SHARDS=4. They are killed at
random and started again. At the end every number of every key must be there, in order, and nothing may be left.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis

from dev.server import HOST, Server
from dev.storage import Storage
from reclaim.keys import Keys

STREAM, GROUP = "orders", "g"
AT_ONCE = 1_000
OURS = ("REDIS_", "STREAM_", "RECLAIM_", "HANDLER", "ORDER_KEY", "HASH_", "SHARDS", "LANES")
START_SEC = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried.

    Attributes:
        keys: order keys.
        each: entries of each key, numbered from 1 on.
        throw_every: which of them throw, when they are first tried.
        workers: hosts, each with a process of its own; the first one has the timer.
        kills: how often one of them is killed.
        between_sec: how long it takes to the next kill, on average.
        seed: chooses who is killed, and when.
        give_up_sec: by then everything is to be settled.
    """

    keys: int = 100
    each: int = 1_000
    throw_every: int = 100
    workers: int = 4
    kills: int = 12
    between_sec: float = 10.0
    seed: int = 0
    give_up_sec: float = 1_800.0


@dataclass(slots=True)
class Found:
    """What there is at the end.

    Attributes:
        wrong: what is not as it should be; empty if all is.
        seconds: how long it took.
        handled: how often an entry was noted: more than once, where a process died before it could acknowledge.
        kills: how often a process was killed.
    """

    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    handled: int = 0
    kills: int = 0


class Experiment:
    """The experiment on a server and a storage account of its own."""

    def __init__(self, plan: Plan, say: Callable[[str], None] = print) -> None:
        self._plan = plan
        self._say = say
        self._rng = random.Random(plan.seed)

    def run(self) -> Found:
        """Do it, and look at what there is at the end."""
        with ExitStack() as stack:
            server = stack.enter_context(Server())
            storage = stack.enter_context(Storage())
            logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            client: Any = stack.enter_context(Redis(HOST, server.port))
            self._fill(client)
            env = self._environment(server, storage)
            hosts = [stack.enter_context(running_host(env, logs, at)) for at in range(self._plan.workers)]
            began = time.monotonic()
            kills = self._kill_at_random(client, hosts, began)
            found = self._look(client)
            found.seconds, found.kills = time.monotonic() - began, kills
            if found.wrong:
                found.wrong += [f"{log.name}: {log.read_text(errors='replace')[-500:]}" for log in logs.iterdir()]
            return found

    def _fill(self, client: Any) -> None:
        """All entries, pending with a consumer that has gone; the keys take turns."""
        numbers = ((number, key) for number in range(1, self._plan.each + 1) for key in range(self._plan.keys))
        with client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
            for number, key in numbers:
                pipeline.execute_command("XADD", STREAM, "*", "key", f"k{key}", "n", number)
                if len(pipeline) >= AT_ONCE:
                    pipeline.execute()
            pipeline.execute()
        while client.execute_command("XREADGROUP", "GROUP", GROUP, "gone", "COUNT", AT_ONCE, "STREAMS", STREAM, ">"):
            pass

    def _environment(self, server: Server, storage: Storage) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return env | {
            "PYTHONUNBUFFERED": "1",
            "REDIS_HOST": server.address,
            "REDIS_TLS": "false",
            "STREAM_NAME": STREAM,
            "STREAM_CONSUMER_GROUP_NAME": GROUP,
            "HANDLER": "dev.order_handler:handle",
            "ORDER_KEY": "{key}",
            "THROW_EVERY": str(self._plan.throw_every),
            "MIN_IDLE_TIME_SEC": "1",
            "DELIVERY_BACKOFF_SEC": "0",
            "CIRCUIT_FAILURES": "2000",  # it would open: a thousand entries throw
            "SHARDS": str(self._plan.workers),
            "FAN_OUT": "queue",
            "RECLAIM_SCHEDULE": "* * * * * *",
            "AzureWebJobsStorage": storage.connection,
        }

    def _kill_at_random(self, client: Any, hosts: "list[Host]", began: float) -> int:
        """Kill hosts until it was often enough, and wait until nothing is pending; say how often it was."""
        kills, next_kill = 0, self._wait_sec()
        while (passed := time.monotonic() - began) < self._plan.give_up_sec:
            left = client.xpending(STREAM, GROUP)["pending"]
            if not left:
                break
            if kills < self._plan.kills and passed >= next_kill:
                victim = self._rng.choice(hosts)
                victim.kill()
                victim.start()
                kills, next_kill = kills + 1, time.monotonic() - began + self._wait_sec()
                self._say(f"{passed:6.1f} s  killed {victim.name}, {left:,} entries pending")
            time.sleep(0.1)
        return kills

    def _wait_sec(self) -> float:
        return self._rng.uniform(0.5, 1.5) * self._plan.between_sec

    def _look(self, client: Any) -> Found:
        """Compare the whole state with what it should be."""
        plan, found = self._plan, Found()
        wanted = list(range(1, plan.each + 1))
        for key in range(plan.keys):
            done = [int(one) for one in client.lrange(f"done:k{key}", 0, -1)]
            found.handled += len(done)
            if (what := _wrong_in(list(dict.fromkeys(done)), wanted)) is not None:
                found.wrong.append(f"k{key}: {what}")
        keys = Keys.of(STREAM.encode(), GROUP.encode())
        counts = {
            "pending": client.xpending(STREAM, GROUP)["pending"],
            "dead letters": client.xlen(keys.dead),
            "lost": client.xlen(keys.lost),
            "records of tries": client.hlen(keys.tries),
            "not in the stream": plan.keys * plan.each - client.xlen(STREAM),
            "not thrown": plan.keys * (plan.each // plan.throw_every) - sum(1 for _ in client.scan_iter("thrown:*")),
        }
        found.wrong += [f"{count} {what}" for what, count in counts.items() if count]
        return found


def _wrong_in(done: list[int], wanted: list[int]) -> str | None:
    """What is wrong with the numbers of a key, in the order in which they were first handled; None: nothing."""
    if sorted(done) != wanted:
        return f"{len(done)} of {len(wanted)} numbers"
    before = next((at for at in range(1, len(done)) if done[at] < done[at - 1]), None)
    return None if before is None else f"{done[before]} came after {done[before - 1]}"


class Host:
    """A stand-in host in a process of its own."""

    def __init__(self, name: str, env: dict[str, str], log: Path, *options: str) -> None:
        self.name = name
        self._env = env
        self._log = log
        self._words = [sys.executable, "-m", "dev.host", "--port", "0", *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            RuntimeError: it does not.
        """
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(self._words, env=self._env, stdout=out, stderr=out)
        until = time.monotonic() + START_SEC
        while b"/api/dashboard" not in self._log.read_bytes():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"{self.name} did not start: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


@contextmanager
def running_host(env: dict[str, str], logs: Path, at: int) -> Iterator[Host]:
    """The host of this number, which serves; the first one has the timer. It is gone at the end."""
    host = Host(f"host {at}", env, logs / f"host-{at}.log", *(["--no-timers"] if at else []))
    try:
        host.start()
        yield host
    finally:
        host.kill()


def main() -> int:
    """Run it as it is asked for."""
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m dev.order", description="The order experiment over processes.")
    parser.add_argument("--keys", type=int, default=plan.keys, help="order keys; default: %(default)s")
    parser.add_argument("--each", type=int, default=plan.each, help="entries of each; default: %(default)s")
    parser.add_argument("--workers", type=int, default=plan.workers, help="processes; default: %(default)s")
    parser.add_argument("--kills", type=int, default=plan.kills, help="how often one is killed; default: %(default)s")
    parser.add_argument("--between-sec", type=float, default=plan.between_sec, help="between two; default: %(default)s")
    parser.add_argument("--seed", type=int, default=plan.seed, help="who is killed, and when; default: %(default)s")
    asked = parser.parse_args()
    found = Experiment(Plan(**vars(asked))).run()
    for what in found.wrong:
        print(f"wrong: {what}")
    count = asked.keys * asked.each
    again = f"{found.handled - count:,} handled again"
    print(f"{count:,} entries, {again}, {found.kills} kills, {found.seconds:.0f} s")
    print("every number of every key is there, in order" if not found.wrong else "NOT as it should be")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
