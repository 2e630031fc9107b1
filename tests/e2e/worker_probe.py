"""Runs function_app.py in the platform's own worker for Python 3.13 and newer, in process, and prints what came of it.

It is a program of its own, because the worker wants a Python that the tests may not run on. It takes no test packages.
On Azure the worker's messages are protobuf's; it asks for no more than classes that keep what they are given.
"""

import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_DIRECTIONS = {"in": 0, "out": 1, "inout": 2}  # of a binding, as protobuf numbers them


class _Named(type):
    """A class whose unknown names are constants called so."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _DIRECTIONS.get(name, name)


class Message(metaclass=_Named):
    """A message that keeps what it is given."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name[:1].isupper():
            raise AttributeError(name)
        return None

    def HasField(self, name: str) -> bool:  # noqa: N802  # protobuf's name
        """Whether a field was given."""
        return name in self.__dict__

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802  # as above
        """Which one of the fields was given: here the last one."""
        return next(reversed(self.__dict__), None)


class Protos:
    """The namespace of the messages."""

    def __getattr__(self, name: str) -> Any:
        return Message


PROTOS = Protos()


def asked(**request: Any) -> Any:
    """What a coroutine of the worker takes."""
    return SimpleNamespace(request=Message(**request), properties={"host": "127.0.0.1", "protos": PROTOS})


async def main() -> dict[str, Any]:
    """Index, and invoke the timer and a route."""
    from azure_functions_runtime import handle_event as worker  # noqa: PLC0415  # of the worker's Python alone

    init = Message(capabilities={}, function_app_directory=str(Path.cwd()))
    answer = await worker.worker_init_request(asked(worker_init_request=init))
    found = await worker.functions_metadata_request(asked())
    functions = {one.name: one for one in found.function_metadata_results or ()}
    told: dict[str, Any] = {"init": answer.result.status, "functions": sorted(functions)}
    if "reclaim" not in functions:
        told["error"] = str(vars(answer.result.exception))
        return told
    timer = Message(name="timer", data=Message(json=json.dumps({"IsPastDue": False})))
    told["timer"] = await invoke(worker, functions["reclaim"], timer)
    http = Message(method="GET", url="http://127.0.0.1/api/status", headers={}, params={}, query={}, identities=[])
    http.body = Message(string="")
    told["status"] = await invoke(worker, functions["get_status"], Message(name="req", data=Message(http=http)))
    return told


async def invoke(worker: Any, function: Any, data: Any) -> dict[str, Any]:
    """One invocation: what its response says."""
    trace = Message(trace_parent=f"00-{'1' * 32}-{'2' * 16}-01", trace_state="", attributes={})
    request = Message(
        invocation_id="1",
        function_id=function.function_id,
        input_data=[data],
        trigger_metadata={},
        trace_context=trace,
        retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
    )
    answer = await worker.invocation_request(asked(invocation_request=request))
    result = answer.result
    http = answer.return_value.http if answer.return_value is not None else None
    error = "" if result.exception is None else str(vars(result.exception))
    outputs = {one.name: one.data.json for one in answer.output_data or ()}
    status = None if http is None else str(http.status_code)
    return {"status": result.status, "error": error[:2000], "http": status, "outputs": outputs}


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    sys.stdout.write(f"{json.dumps(asyncio.run(main()))}\n")
