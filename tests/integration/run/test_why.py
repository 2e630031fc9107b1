"""Why entries failed can be found out: in the log, in the dead letters and in the report."""

import logging

import pytest

from reclaim.entry import Entry
from reclaim.errors import RetryEntry
from tests.faults import Recorder, by_function, of_user
from tests.support import Client, Endpoint, Held, a_runner, a_target, age_all, as_dict, given, run, tweet

pytestmark = pytest.mark.G4

PRICES: dict[str, int] = {}


async def price(entry: Entry) -> None:
    """Fail in three ways: one below another function, one with a number in its message, one that is no failure."""
    number = int(entry.get("id") or b"0")
    if number == 1:
        look_up("sku")
    if number == 2:
        raise RetryEntry("the shop is closed until 08:00")
    raise ValueError(f"no price (order {number})")


def look_up(name: str) -> int:
    return PRICES[name]


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Each line with a traceback, and the last line of that."""
    lines = [(one.getMessage().partition(" [")[0], one.exc_info[1]) for one in caplog.records if one.exc_info]
    return [(line, "" if error is None else type(error).__name__) for line, error in lines]


async def test_each_distinct_error_of_a_run_is_logged_once_with_its_traceback_and_its_entry(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    target = a_target()
    given(client, target, *(of_user(number, f"{number}") for number in range(1, 9)))

    async with a_runner(embedded, target, by_function(price)) as runner:
        first = await runner.run(30.0)
        age_all(client, target)
        second = await runner.run(30.0)

    reasons = {
        "KeyError: 'sku'": 1,
        "RetryEntry: the shop is closed until 08:00": 1,
        "ValueError: no price (order #)": 6,
    }
    assert first.reasons == second.reasons == reasons
    assert logged(caplog) == 2 * [
        ("reclaim s/g: entry 1-0: KeyError: 'sku'", "KeyError"),
        ("reclaim s/g: entry 3-0: ValueError: no price (order 3)", "ValueError"),
        ("reclaim s/g: entry 2-0: RetryEntry: the shop is closed until 08:00", "RetryEntry"),
    ]


async def test_an_error_of_redis_is_told_without_a_traceback_of_its_client(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    target = a_target()
    client.execute_command("SET", "tweet:1", "a string")
    given(client, target, Held(tweet(1)), Held([b"text", b"no id"]))

    with caplog.at_level(logging.INFO):
        report = await run(embedded, target)

    assert (report.parked, logged(caplog)) == (2, [])
    assert all(b"traceback" not in as_dict(flat) for _, flat in dead(client))


async def test_a_dead_letter_holds_the_end_of_the_traceback_from_the_users_code_on(
    embedded: Endpoint, client: Client
) -> None:
    target = a_target(max_deliveries=2)
    given(client, target, of_user(1, "1"))

    await run(embedded, target, by_function(price))

    ((_, flat),) = dead(client)
    frames = as_dict(flat)[b"traceback"].decode().split("\n")
    assert [line.strip() for line in frames if not line.lstrip().startswith(("File", "^", "~"))] == [
        'look_up("sku")',
        "return PRICES[name]",
    ]
    assert frames[0].startswith(f'  File "{__file__}", line ')


async def test_what_died_is_counted_apart_from_what_only_failed(embedded: Endpoint, client: Client) -> None:
    target = a_target(max_deliveries=3)
    given(client, target, of_user(1, "1", consumer="monitoring_app", deliveries=2), of_user(2, "2"), of_user(3, "3"))
    trouble = {"_1": ValueError("dies"), "_2": ValueError("fails"), "_3": RetryEntry("later")}

    report = await run(embedded, target, by_function(Recorder(**trouble)))

    assert (report.parked, report.failed, report.retried) == (1, 1, 1)
    assert report.parked_reasons == {"ValueError: dies": 1}
    assert report.reasons == {"ValueError: dies": 1, "ValueError: fails": 1, "RetryEntry: later": 1}


async def test_an_error_that_says_nothing_is_told_by_its_class(embedded: Endpoint, client: Client) -> None:
    target = a_target(max_deliveries=2)
    given(client, target, of_user(1, "1"), of_user(2, "2"))

    report = await run(embedded, target, by_function(Recorder(_1=TimeoutError(), _2=ValueError("no answer: "))))

    assert report.reasons == {"TimeoutError": 1, "ValueError: no answer": 1}
    assert [as_dict(flat)[b"error"] for _, flat in dead(client)] == [b"ValueError: no answer"]


def dead(client: Client) -> list[tuple[bytes, list[bytes]]]:
    found: list[tuple[bytes, list[bytes]]] = client.execute_command("XRANGE", a_target().keys.dead, "-", "+")
    return found
