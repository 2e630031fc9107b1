"""A program that makes runs to be killed: it has everything imported, and forks a child for each run it is asked for.

A line of JSON on its input asks for a run: the port, and what the target has that is not the default. Two lines on its
output answer: the child's process ID, and once the child is over, how it ended.
"""

import asyncio
import json
import os
import sys
from typing import Any

from reclaim import handlers
from reclaim.run.runner import Runner
from reclaim.settings import Settings, Target
from reclaim.state.connection import connect


async def run(port: int, changes: dict[str, Any], *, cluster: bool) -> None:
    """One run, or one of each shard at the same time, on connections of its own."""
    target = Target(**changes)
    server = connect(Settings(host="127.0.0.1", port=port, targets=(target,), tls=False, cluster=cluster))
    await asyncio.gather(*(Runner(part, server, handlers.make(server, part)).run(30) for part in target.parts))
    await server.aclose()


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            asyncio.run(run(asked["port"], asked["target"], cluster=asked["cluster"]))
            os._exit(0)
        print(pid, flush=True)  # noqa: T201  # its output is its answer
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  # as above


if __name__ == "__main__":
    main()
