"""The timer function, as the host has it: through the objects of azure-functions."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.functions.timer import TimerRequest

from dev.proxy import Fault, Proxy
from reclaim.app import App
from reclaim.errors import RunFailed, SettingsError
from reclaim.settings import Target
from tests.support import Client, Endpoint, State, a_target, env_for, functions, given, held, state, stored

ROOT = Path(__file__).parents[2]

Timer = Callable[[TimerRequest], Coroutine[Any, Any, object]]


def the_timer() -> Timer:
    """What the host calls at a tick."""
    context = SimpleNamespace(trace_context=SimpleNamespace(trace_parent=None))
    return partial(functions()["reclaim"].get_user_function(), context=context)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[App]:
    """Every App that the function app makes, so that tests can count and close them; the host never does."""
    apps: list[App] = []
    from_env = App.from_env

    def from_env_and_keep(env: Mapping[str, str]) -> App:
        apps.append(from_env(env))
        return apps[-1]

    monkeypatch.setattr(App, "from_env", from_env_and_keep)
    return apps


async def close(apps: list[App]) -> None:
    """Close them, in the loop that used them."""
    for app in apps:
        await app.aclose()


def configure(monkeypatch: pytest.MonkeyPatch, place: Any, target: Target, **settings: str) -> None:
    """Let the settings of this process be for a place and a target."""
    for name, value in env_for(place, target, **settings).items():
        monkeypatch.setenv(name, value)


async def test_a_tick_reclaims_what_is_abandoned_and_returns_nothing(
    server: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, made: list[App]
) -> None:
    """A timer without an output binding must return None; each run is one structured line."""
    target, entries = a_target(page_size=2), held(range(5))
    given(client, target, *entries)
    configure(monkeypatch, server, target)
    caplog.set_level("INFO", "reclaim")

    returned = await the_timer()(TimerRequest(past_due=False))
    await close(made)

    assert returned is None
    assert state(client, target) == State(hashes=stored(*entries), length=5)
    lines = [record.getMessage() for record in caplog.records if record.name == "reclaim"]
    (line,) = (line for line in lines if "consumers that are alive: worker" not in line)
    report = json.loads(line.removeprefix("reclaim run "))
    assert (report["target"], report["outcome"], report["acknowledged"]) == ("s/g", "completed", 5)


def test_two_ticks_in_each_of_two_loops(
    server: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch, made: list[App]
) -> None:
    """One client for each event loop, made at the first tick and used again at the second."""
    target = a_target()
    configure(monkeypatch, server, target)
    timer = the_timer()
    apps_so_far = []

    async def two_ticks(first: int) -> None:
        for number in (first, first + 1):
            given(client, target, *held(range(number * 10, number * 10 + 10)))
            await timer(TimerRequest(past_due=False))
            apps_so_far.append(len(made))
        await close(made[-1:])

    asyncio.run(two_ticks(0))
    asyncio.run(two_ticks(2))

    assert state(client, target) == State(hashes=stored(*held(range(40))), length=40)
    assert apps_so_far == [1, 1, 2, 2]


def test_a_second_loop_works_though_the_first_was_never_closed(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch, made: list[App]
) -> None:
    """A client that belongs to another loop is not used."""
    target = a_target()
    configure(monkeypatch, embedded, target)
    loops = [asyncio.new_event_loop(), asyncio.new_event_loop()]

    for loop in loops:
        given(client, target, *held(range(10)))
        loop.run_until_complete(the_timer()(TimerRequest(past_due=False)))

    assert state(client, target) == State(hashes=stored(*held(range(10))), length=20)
    for loop, app in zip(loops, made, strict=True):
        loop.run_until_complete(app.aclose())
        loop.close()


async def test_one_client_serves_tick_after_tick(
    client: Client, embedded_proxy: Proxy, monkeypatch: pytest.MonkeyPatch, made: list[App]
) -> None:
    """No connection is made anew at a tick that finds nothing."""
    target = a_target()
    given(client, target)
    configure(monkeypatch, embedded_proxy, target)

    for _ in range(5):
        await the_timer()(TimerRequest(past_due=False))
    await close(made)

    greetings = [command for command in embedded_proxy.commands if command[:3] == [b"CLIENT", b"SETINFO", b"LIB-NAME"]]
    assert len(greetings) == 1


async def test_a_cancelled_tick_does_not_leak_cancellederror(
    client: Client, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, made: list[App]
) -> None:
    """A CancelledError would leave the host's invocation hanging: it ends as a failure, and gives back what it held."""
    target, entries = a_target(lanes=1), held(range(5))
    given(client, target, *entries)
    configure(monkeypatch, proxy, target, LANES="1")
    hanging = proxy.when("HSET", Fault.HANG)
    tick = asyncio.ensure_future(the_timer()(TimerRequest(past_due=False)))
    await asyncio.to_thread(hanging.reached.wait, 10)

    tick.cancel()
    with pytest.raises(RunFailed):
        await tick

    assert state(client, target) == State(
        pending={b"%d-0" % number: (b"monitoring_app", 1, "idle") for number in range(1, 6)}, length=5
    )
    await the_timer()(TimerRequest(past_due=False))
    await close(made)
    assert state(client, target) == State(hashes=stored(*entries), length=5)


async def test_a_failed_run_fails_the_invocation(
    monkeypatch: pytest.MonkeyPatch, embedded_proxy: Proxy, made: list[App]
) -> None:
    """Only so the host counts it as failed."""
    embedded_proxy.refuse()
    configure(monkeypatch, embedded_proxy, a_target(), RETRY_ATTEMPTS="1")

    with pytest.raises(RunFailed, match=f"127.0.0.1:{embedded_proxy.port}"):
        await the_timer()(TimerRequest(past_due=False))
    await close(made)


async def test_a_missing_group_fails_the_invocation(
    embedded: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, made: list[App]
) -> None:
    """It is reported, and tried again at the next tick."""
    configure(monkeypatch, embedded, a_target(stream="not-there"))

    with pytest.raises(RunFailed, match="not-there/g: group missing: the stream 'not-there' does not exist"):
        await the_timer()(TimerRequest(past_due=False))
    await close(made)

    assert [record.levelname for record in caplog.records if "group_missing" in record.getMessage()] == ["WARNING"]


async def test_bad_settings_fail_the_invocation_and_are_read_again_at_the_next(
    embedded: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch, made: list[App]
) -> None:
    """All of them are named; nothing of the failure is kept."""
    target, entries = a_target(), held(range(3))
    given(client, target, *entries)
    configure(monkeypatch, embedded, target, LANES="many", REDIS_TLS="perhaps")
    with pytest.raises(SettingsError, match=r"(?s)(LANES.*REDIS_TLS|REDIS_TLS.*LANES)"):
        await the_timer()(TimerRequest(past_due=False))
    configure(monkeypatch, embedded, target, LANES="2")

    await the_timer()(TimerRequest(past_due=False))
    await close(made)

    assert state(client, target) == State(hashes=stored(*entries), length=3)


_INDEX = """
import json, function_app
print(json.dumps([json.loads(one.get_function_json()) | {"name": one.get_function_name()}
                  for one in function_app.app.get_functions()]))
"""


@pytest.mark.parametrize(
    ("setting", "schedule"),
    [(None, "*/20 * * * * *"), ("", "*/20 * * * * *"), ("0 */5 * * * *", "%RECLAIM_SCHEDULE%")],
    ids=["missing", "empty", "set"],
)
def test_the_host_finds_the_timer_with_and_without_a_schedule(setting: str | None, schedule: str) -> None:
    """A %name% without its app setting would break indexing; a literal could not be changed without deploying."""
    env = {name: value for name, value in os.environ.items() if name != "RECLAIM_SCHEDULE"}
    env |= {} if setting is None else {"RECLAIM_SCHEDULE": setting}

    indexed = subprocess.run(
        [sys.executable, "-c", _INDEX], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )

    (timer,) = (one for one in json.loads(indexed.stdout) if one["name"] == "reclaim")
    assert timer["scriptFile"] == "function_app.py"
    assert timer["bindings"] == [
        {
            "direction": "IN",
            "type": "timerTrigger",
            "name": "timer",
            "schedule": schedule,
            "runOnStartup": False,
            "useMonitor": False,
        }
    ]


def test_the_timer_is_a_coroutine_function_without_retry() -> None:
    """The worker must not run it in a thread; and the host's retry would sleep inside the timer's lock."""
    assert asyncio.iscoroutinefunction(the_timer())
    assert "retry" not in functions()["reclaim"].get_function_json()
