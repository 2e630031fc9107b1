"""The stand-in host: what it does with functions, as the Azure Functions host does it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import azure.functions as func
import httpx2
import pytest

from dev.host import Host, HostError, Keys

KEYS = Keys("function-key", "master-key")


@asynccontextmanager
async def serving(
    app: func.FunctionApp, say: Callable[[str], None] = lambda _: None, *, timers: bool = False
) -> AsyncIterator[httpx2.AsyncClient]:
    """The functions in a host on a free port, and a client for it."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    host = Host(app.get_functions(), KEYS, say)
    task = asyncio.create_task(host.serve(0, timers=timers, ready=port.set_result))
    try:
        await asyncio.wait([port, task], return_when=asyncio.FIRST_COMPLETED)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port.result()}", timeout=20) as client:
            yield client
    finally:
        task.cancel()
        await asyncio.wait([task])


def an_app(level: func.AuthLevel, serve: Callable[[func.HttpRequest], Any]) -> func.FunctionApp:
    """An app with one route of this level."""
    app = func.FunctionApp()

    @app.route(route="things/{thing}", methods=["GET", "POST"], auth_level=level)
    async def things(req: func.HttpRequest) -> func.HttpResponse:
        answer: func.HttpResponse = await serve(req)
        return answer

    return app


async def test_a_key_that_is_no_text_is_a_wrong_key() -> None:
    """The bytes of a header may be anything."""

    async def serve(_: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse("in")

    async with serving(an_app(func.AuthLevel.FUNCTION, serve)) as client:
        answers = [
            await client.get("/api/things/1", headers={b"x-functions-key": key}) for key in (b"\xff\xfe", b"\xc3")
        ]

    assert [answer.status_code for answer in answers] == [401, 401]


async def test_a_function_gets_a_real_request_and_its_answer_is_passed_on() -> None:
    """Method, address, query, headers, route and body."""

    async def serve(req: func.HttpRequest) -> func.HttpResponse:
        assert isinstance(req, func.HttpRequest)
        told = f"{req.method} {req.route_params['thing']} {req.params} {req.headers['X-A']} {req.get_body()!r}"
        return func.HttpResponse(told, status_code=202, headers={"X-B": "2"}, mimetype="text/plain")

    async with serving(an_app(func.AuthLevel.ANONYMOUS, serve)) as client:
        answer = await client.post("/api/things/7?a=1&a=2&b=%20", headers={"x-a": "1"}, content=b"\0body")

    assert answer.status_code == 202
    assert answer.headers["x-b"] == "2"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "POST 7 {'a': '1,2', 'b': ' '} 1 b'\\x00body'"


@pytest.mark.parametrize(
    ("level", "key", "status"),
    [
        (func.AuthLevel.ANONYMOUS, None, 200),
        (func.AuthLevel.FUNCTION, None, 401),
        (func.AuthLevel.FUNCTION, "function-ke", 401),
        (func.AuthLevel.FUNCTION, "ü", 401),
        (func.AuthLevel.FUNCTION, KEYS.function, 200),
        (func.AuthLevel.FUNCTION, KEYS.master, 200),
        (func.AuthLevel.ADMIN, KEYS.function, 401),
        (func.AuthLevel.ADMIN, KEYS.master, 200),
    ],
)
@pytest.mark.parametrize("where", ["header", "address"])
async def test_keys_open_what_is_theirs(level: func.AuthLevel, key: str | None, status: int, where: str) -> None:
    """In a header or as ``?code=``; without the right one the function is not called."""
    calls: list[str] = []

    async def serve(req: func.HttpRequest) -> func.HttpResponse:
        calls.append(req.url)
        return func.HttpResponse("done")

    given: dict[str, Any] = {}
    if key is not None:
        given = {"headers": {"x-functions-key": key.encode()}} if where == "header" else {"params": {"code": key}}
    async with serving(an_app(level, serve)) as client:
        answer = await client.get("/api/things/7", **given)

    assert answer.status_code == status
    assert len(calls) == (status == 200)


@pytest.mark.parametrize("error", [ValueError("bad"), asyncio.CancelledError()], ids=["error", "leaked cancellation"])
async def test_a_function_that_raises_is_a_500(error: BaseException) -> None:
    """Without a body; the host goes on."""

    async def serve(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001  # the host passes it so
        raise error

    said: list[str] = []
    async with serving(an_app(func.AuthLevel.ANONYMOUS, serve), said.append) as client:
        answers = [await client.get("/api/things/7") for _ in range(2)]

    assert [(answer.status_code, answer.content) for answer in answers] == [(500, b"")] * 2
    assert said == [f"things failed: {type(error).__name__}"] * 2


def a_timer_app(tick: Callable[[func.TimerRequest], Any], schedule: str = "* * * * * *") -> func.FunctionApp:
    """An app with a timer."""
    app = func.FunctionApp()

    @app.function_name("tick")
    @app.timer_trigger(arg_name="timer", schedule=schedule)
    async def timer_function(timer: func.TimerRequest) -> Any:
        return await tick(timer)

    return app


async def test_a_timer_ticks_by_its_schedule_and_never_overlaps_itself() -> None:
    """A tick that is missed meanwhile is made up for once; what it raises ends nothing."""
    running, most, ticks = 0, 0, 0
    done = asyncio.Event()

    async def tick(timer: func.TimerRequest) -> None:
        nonlocal running, most, ticks
        assert isinstance(timer, func.TimerRequest)
        ticks += 1
        running += 1
        most = max(most, running)
        await asyncio.sleep(1.2 if ticks == 1 else 0)
        running -= 1
        if ticks == 3:
            done.set()
        raise ValueError("it is bad")

    said: list[str] = []
    async with serving(a_timer_app(tick), said.append, timers=True):
        await asyncio.wait_for(done.wait(), 20)

    assert most == 1
    assert all(line.startswith("tick (timer) failed") for line in said)


async def test_a_timer_is_started_by_hand_with_the_master_key() -> None:
    """202 at once, and the function runs; nothing happens without the key, or for a name that is not there."""
    ran = asyncio.Event()

    async def tick(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the host passes it so
        ran.set()

    async with serving(a_timer_app(tick, "0 0 0 1 1 *")) as client:
        master = {"x-functions-key": KEYS.master}
        refused = [
            await client.post("/admin/functions/tick", json={}),
            await client.post("/admin/functions/tick", json={}, headers={"x-functions-key": KEYS.function}),
            await client.post("/admin/functions/tock", json={}, headers=master),
            await client.post("/admin/functions/tick", content=b"{", headers=master),
        ]
        assert not ran.is_set()
        answer = await client.post("/admin/functions/tick", json={"input": ""}, headers=master)
        await asyncio.wait_for(ran.wait(), 20)

    assert [one.status_code for one in refused] == [401, 401, 404, 400]
    assert answer.status_code == 202


async def test_a_timer_that_returns_a_value_fails() -> None:
    """As in the host, where there is no binding for it."""

    async def tick(timer: func.TimerRequest) -> int:  # noqa: ARG001  # the host passes it so
        return 1

    said: asyncio.Queue[str] = asyncio.Queue()
    async with serving(a_timer_app(tick), said.put_nowait) as client:
        await client.post("/admin/functions/tick", headers={"x-functions-key": KEYS.master})
        line = await asyncio.wait_for(said.get(), 20)

    assert line.startswith("tick (by hand) failed")


def test_a_schedule_may_be_an_app_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one whose setting is missing cannot be indexed."""

    async def tick(timer: func.TimerRequest) -> None: ...

    monkeypatch.setenv("TICKS", "*/5 * * * * *")
    host = Host(a_timer_app(tick, "%TICKS%").get_functions(), KEYS)
    assert host.timers["tick"].schedule == "*/5 * * * * *"

    monkeypatch.delenv("TICKS")
    with pytest.raises(HostError, match="TICKS"):
        Host(a_timer_app(tick, "%TICKS%").get_functions(), KEYS)


def test_what_the_host_does_not_know_it_does_not_pretend_to_run() -> None:
    """A blob, say."""
    app = func.FunctionApp()

    @app.blob_trigger(arg_name="blob", path="p", connection="C")
    def blob_function(blob: func.InputStream) -> None: ...

    with pytest.raises(HostError, match="blobTrigger"):
        Host(app.get_functions(), KEYS)
