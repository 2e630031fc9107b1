"""The settings: what they are by default, and what is said about bad ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reclaim.app import App
from reclaim.errors import SettingsError
from reclaim.handlers.loading import Function, load
from reclaim.settings import Settings, Target
from tests.unit import taking

LEAST = {"REDIS_HOST": "cache.example.net", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}


def problems(**env: str) -> list[str]:
    """What is wrong with an environment."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | env)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_three_settings_suffice() -> None:
    """All others have defaults."""
    assert Settings.from_env(LEAST) == Settings(
        host="cache.example.net",
        port=6380,
        username=None,
        password=None,
        tls=True,
        ca_file=None,
        schedule="*/20 * * * * *",
        run_budget_sec=240,
        targets=(
            Target(
                stream="s",
                group="g",
                consumer="monitoring_app",
                min_idle_ms=10_000,
                hash_key="tweet:{id}",
                hash_version_field=None,
                handler="hash",
                order_key=None,
                page_size=500,
                lanes=4,
                retry_attempts=4,
                retry_max_delay_sec=2,
                max_deliveries=5,
                consumer_ttl_hours=24,
                dead_letter_maxlen=100_000,
            ),
        ),
    )


def test_every_setting_is_taken_from_its_name(tmp_path: Path) -> None:
    """Each with a value other than its default."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("certificate")
    env = {
        "REDIS_HOST": "localhost:1234",
        "REDIS_USERNAME": "user",
        "REDIS_PASSWORD": " pass word ",
        "REDIS_TLS": "False",
        "REDIS_CA_FILE": str(ca_file),
        "RECLAIM_SCHEDULE": "0 0 3 * JAN Mon-Friday",
        "RUN_BUDGET_SEC": "12.5",
        "STREAM_NAME": "stream",
        "STREAM_CONSUMER_GROUP_NAME": "group",
        "MONITORING_CONSUMER_NAME": "me",
        "MIN_IDLE_TIME_SEC": "0.25",
        "HASH_KEY": "{user}:{id}",
        "HASH_VERSION_FIELD": "version",
        "HANDLER": "my.handlers:handle",
        "ORDER_KEY": "{user}",
        "PAGE_SIZE": "7",
        "LANES": "8",
        "RETRY_ATTEMPTS": "9",
        "RETRY_MAX_DELAY_SEC": "0",
        "MAX_DELIVERIES": "11",
        "CONSUMER_TTL_HOURS": "0",
        "DEAD_LETTER_MAXLEN": "13",
    }

    assert Settings.from_env(env) == Settings(
        host="localhost",
        port=1234,
        username="user",
        password=" pass word ",
        tls=False,
        ca_file=str(ca_file),
        schedule="0 0 3 * JAN Mon-Friday",
        run_budget_sec=12.5,
        targets=(
            Target(
                stream="stream",
                group="group",
                consumer="me",
                min_idle_ms=250,
                hash_key="{user}:{id}",
                hash_version_field="version",
                handler="my.handlers:handle",
                order_key="{user}",
                page_size=7,
                lanes=8,
                retry_attempts=9,
                retry_max_delay_sec=0,
                max_deliveries=11,
                consumer_ttl_hours=0,
                dead_letter_maxlen=13,
            ),
        ),
    )


@pytest.mark.G9
def test_all_problems_are_named_at_once() -> None:
    """Whoever deploys does not find them one after another; each says what is allowed."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(
            {"REDIS_TLS": "perhaps", "PAGE_SIZE": "many", "LANES": "0", "HASH_KEY": "tweets", "MIN_IDLE_TIME_SEC": "-1"}
        )

    told = caught.value.problems
    assert {problem.partition(" ")[0] for problem in told} == {
        "REDIS_HOST",
        "STREAM_NAME",
        "STREAM_CONSUMER_GROUP_NAME",
        "REDIS_TLS",
        "PAGE_SIZE",
        "LANES",
        "HASH_KEY",
        "MIN_IDLE_TIME_SEC",
    }
    assert len(told) == 8
    assert "REDIS_TLS is 'perhaps'; allowed: true or false" in told
    assert "STREAM_NAME is missing" in told
    assert all("allowed: " in problem or problem.endswith(" is missing") for problem in told)


@pytest.mark.G9
@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("REDIS_TLS", "2", "true or false"),
        ("REDIS_CA_FILE", "/no/such/file.pem", "a file that can be read"),
        ("RECLAIM_SCHEDULE", "*/5 * * * *", "six NCRONTAB fields"),
        ("RECLAIM_SCHEDULE", "every minute or so, I think", "six NCRONTAB fields"),
        ("RECLAIM_SCHEDULE", "0 0 24 * * *", "(hour '24' is not from 0 to 23)"),
        ("RECLAIM_SCHEDULE", "0 0 0 31 2 *", "(it never comes: "),
        ("RUN_BUDGET_SEC", "0", "1 to 3600"),
        ("RUN_BUDGET_SEC", "nan", "1 to 3600"),
        ("RUN_BUDGET_SEC", "inf", "1 to 3600"),
        ("MIN_IDLE_TIME_SEC", "0", "0.001 to"),
        ("HASH_KEY", "tweet:{}", "fields in braces"),
        ("HASH_KEY", "tweet:{id", "fields in braces"),
        ("HASH_KEY", "tweet:{id!r}", "fields in braces"),
        ("HASH_KEY", "tweet:{id:>8}", "fields in braces"),
        ("HASH_KEY", "tweet", "it names no field"),
        ("ORDER_KEY", "user", "it names no field"),
        ("HANDLER", "my_handlers", "module:function"),
        ("HANDLER", "my handlers:handle", "module:function"),
        ("PAGE_SIZE", "0", "1 to 1000"),
        ("PAGE_SIZE", "1001", "1 to 1000"),
        ("CIRCUIT_FAILURES", "2001", "1 to 2000"),
        ("PAGE_SIZE", "10.5", "a whole number"),
        ("LANES", "many", "a whole number"),
        ("RETRY_ATTEMPTS", "0", "1 to 100"),
        ("RETRY_MAX_DELAY_SEC", "-1", "0 to 60"),
        ("MAX_DELIVERIES", "1", "2 to"),
        ("CONSUMER_TTL_HOURS", "-0.1", "0 to"),
        ("DEAD_LETTER_MAXLEN", "none", "a whole number"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: str, allowed: str) -> None:
    """The setting, its value, and what would have been right."""
    (problem,) = problems(**{name: value})

    assert problem.startswith(f"{name} is {value!r}; allowed: ")
    assert allowed in problem


@pytest.mark.parametrize(
    ("tls", "host", "expected"),
    [
        ("true", "cache", ("cache", 6380)),
        ("false", "cache", ("cache", 6379)),
        ("true", "cache.redis.cache.windows.net:10000", ("cache.redis.cache.windows.net", 10000)),
        ("false", "10.1.2.3:1", ("10.1.2.3", 1)),
        ("true", "[2001:db8::1]", ("2001:db8::1", 6380)),
        ("true", "[::1]:7000", ("::1", 7000)),
    ],
)
def test_a_host_may_have_a_port_and_else_tls_decides(tls: str, host: str, expected: tuple[str, int]) -> None:
    """As Azure's portal shows it, or without the port."""
    settings = Settings.from_env(LEAST | {"REDIS_HOST": host, "REDIS_TLS": tls})

    assert (settings.host, settings.port) == expected


@pytest.mark.G9
def test_secrets_are_shown_nowhere() -> None:
    """Neither in what a Settings prints, nor where somebody puts a whole URL into REDIS_HOST."""
    assert "s3cret" not in repr(Settings.from_env(LEAST | {"REDIS_PASSWORD": "s3cret"}))
    told = problems(REDIS_HOST="rediss://me:s3cret@cache:6380", REDIS_PASSWORD="s3cret", LANES="x")
    assert len(told) == 2
    assert "s3cret" not in str(told)


@pytest.mark.parametrize("value", ["", "  "])
@pytest.mark.parametrize(
    "name", ["PAGE_SIZE", "REDIS_TLS", "HANDLER", "RECLAIM_SCHEDULE", "RECLAIM_TARGETS", "HASH_KEY"]
)
def test_an_empty_setting_is_as_good_as_none(name: str, value: str) -> None:
    """A portal keeps empty ones."""
    assert Settings.from_env(LEAST | {name: value}) == Settings.from_env(LEAST)


def test_the_most_that_one_command_may_look_at() -> None:
    """Each bound has been measured for its own command: XCLAIM takes longer than counting failures."""
    (target,) = Settings.from_env(LEAST | {"PAGE_SIZE": "1000", "CIRCUIT_FAILURES": "2000"}).targets

    assert (target.page_size, target.circuit_failures) == (1000, 2000)


def test_a_handler_has_more_lanes_unless_told_otherwise() -> None:
    """A handler waits for others most of the time."""
    assert Settings.from_env(LEAST | {"HANDLER": "a:b"}).targets[0].lanes == 32
    assert Settings.from_env(LEAST | {"HANDLER": "a:b", "LANES": "2"}).targets[0].lanes == 2


# --- several targets -------------------------------------------------------------------------------------------------


def targets(text: str, **env: str) -> tuple[Target, ...]:
    """The targets of a RECLAIM_TARGETS."""
    return Settings.from_env({"REDIS_HOST": "cache", "RECLAIM_TARGETS": text} | env).targets


def test_targets_have_their_own_settings_over_the_shared_ones() -> None:
    """What an object does not say the environment says, and what that does not say is the default."""
    one, two = targets(
        '[{"stream": "a", "group": "g"}, {"stream": "b", "group": "h", "page_size": 7, "hash_key": "b:{n}"}]',
        PAGE_SIZE="9",
        LANES="3",
    )

    assert (one.stream, one.group, one.page_size, one.lanes, one.hash_key) == ("a", "g", 9, 3, "tweet:{id}")
    assert (two.stream, two.group, two.page_size, two.lanes, two.hash_key) == ("b", "h", 7, 3, "b:{n}")


def test_one_stream_may_have_two_groups() -> None:
    """A target is a stream and a group."""
    assert len(targets('[{"stream": "a", "group": "g"}, {"stream": "a", "group": "h"}]')) == 2


def test_names_are_each_targets_own() -> None:
    """A target without a group does not get the group of the environment."""
    assert problems(RECLAIM_TARGETS='[{"stream": "a"}]') == ["RECLAIM_TARGETS[0].group is missing"]


def test_two_streams_whose_keys_would_be_the_same_are_refused() -> None:
    """The hash tag of the one is the name of the other, so that they would share a lease and a circuit."""
    assert problems(RECLAIM_TARGETS='[{"stream": "a", "group": "g"}, {"stream": "{a}", "group": "g"}]') == [
        "RECLAIM_TARGETS is 'a/g, {a}/g'; allowed: streams that differ by more than braces"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[", "RECLAIM_TARGETS is"),
        ("{}", "a JSON list"),
        ("[]", "at least one object"),
        ("[1]", "a JSON list"),
        ('[{"group": "g"}]', "RECLAIM_TARGETS[0].stream is missing"),
        (
            '[{"stream": "s", "group": "g"}, {"stream": "t"}]',
            "RECLAIM_TARGETS[1].group is missing",
        ),
        ('[{"stream": "s", "group": "g", "lanes": 0}]', "RECLAIM_TARGETS[0].lanes is '0'; allowed: a whole number"),
        ('[{"stream": "s", "group": "g", "colour": "red"}]', "RECLAIM_TARGETS[0]"),
        ('[{"stream": "s", "group": "g"}, {"stream": "s", "group": "g"}]', "each stream and group once"),
    ],
)
def test_a_bad_target_is_named_by_its_place(text: str, told: str) -> None:
    """Which object of the list it is, and what is wrong with it."""
    with pytest.raises(SettingsError) as caught:
        targets(text)

    (problem,) = caught.value.problems
    assert told in problem


# --- handlers --------------------------------------------------------------------------------------------------------


def test_http_needs_an_address() -> None:
    """And headers are names and values."""
    for given, problem in {
        "{}": "HTTP_URL is missing, and HANDLER is http; allowed: a web address",
        '{"a b": "c"}': "HTTP_HEADERS is '***'; allowed: a JSON object of header names and values",
    }.items():
        with pytest.raises(SettingsError, match=re.escape(problem)):
            Settings.from_env(LEAST | {"HANDLER": "http", "HTTP_HEADERS": given})


@pytest.mark.G9
@pytest.mark.parametrize(
    ("more", "other"),
    [
        ({"HTTP_HEADERS": '{"authorization": "Bearer s3cret"}'}, "HTTP_HEADERS"),
        ({"HTTP_AUDIENCE": "api://orders"}, "HTTP_AUDIENCE"),
    ],
)
def test_a_request_says_once_who_is_calling(more: dict[str, str], other: str) -> None:
    """The client would refuse to send it, or one of the two would not be sent."""
    assert problems(HANDLER="http", HTTP_URL="https://user:s3cret@host/", **more) == [
        f"HTTP_URL is with a user, and {other} says who is calling; allowed: one of the two"
    ]


@pytest.mark.G9
def test_forwarding_needs_another_stream() -> None:
    """Not its own, nor one of the keys that are kept beside it."""
    forward = {"HANDLER": "forward"}

    assert problems(**forward) == [
        "FORWARD_STREAM is missing, and HANDLER is forward; allowed: the stream to forward to"
    ]
    for own in ("s", "{s}:reclaim:g:dead"):
        assert problems(**forward, FORWARD_STREAM=own) == [
            f"FORWARD_STREAM is {own!r}, which is the target's own; allowed: another stream"
        ]
    assert problems(RECLAIM_TARGETS='[{"stream": "a", "group": "g", "forward_stream": "a"}]', **forward) == [
        "RECLAIM_TARGETS[0].forward_stream is 'a', which is the target's own; allowed: another stream"
    ]


@pytest.mark.G9
@pytest.mark.parametrize(
    ("to", "rings"),
    [
        ({"a": "b", "b": "c", "c": "d"}, []),
        ({"a": "b", "b": "a"}, ["a → b → a"]),
        ({"x": "c", "c": "a", "a": "b", "b": "c"}, ["a → b → c → a"]),
        ({"a": "b", "b": "a", "c": "d", "d": "c"}, ["a → b → a", "c → d → c"]),
    ],
)
def test_rings_of_forwarding_are_told(to: dict[str, str], rings: list[str]) -> None:
    """Each once; entries that nobody finishes there would go round for ever."""
    listed = [
        {"stream": one, "group": "g", "handler": "forward", "forward_stream": next_one} for one, next_one in to.items()
    ]
    warned = Settings.from_env(LEAST | {"RECLAIM_TARGETS": json.dumps(listed)}).warnings

    assert [what for what, _ in warned] == [f"entries are forwarded in a ring: {ring}" for ring in rings]


@pytest.mark.G9
def test_a_stream_that_nothing_is_forwarded_to_is_told() -> None:
    """HANDLER=forward may be forgotten: entries would become hashes."""
    (warned,) = Settings.from_env(LEAST | {"FORWARD_STREAM": "f"}).warnings

    assert warned.what == "FORWARD_STREAM is set, and no target has HANDLER=forward"


@pytest.mark.G9
def test_a_service_that_nothing_is_sent_to_is_told() -> None:
    """HANDLER=http may be forgotten too."""
    (warned,) = Settings.from_env(LEAST | {"HTTP_URL": "https://host/?code=s3cret"}).warnings

    assert warned.what == "HTTP_URL is set, and no target has HANDLER=http"


async def _app(handler: str) -> Any:
    return App.from_env(LEAST | {"HANDLER": handler})


@pytest.mark.G9
@pytest.mark.parametrize(
    ("handler", "told"),
    [
        ("no_such_module:handle", "No module named 'no_such_module'"),
        ("json:no_such_function", "no_such_function"),
        ("tests.unit.taking:generator", "generator has a yield in it"),
        ("tests.unit.taking:async_generator", "async_generator has a yield in it"),
        ("tests.unit.taking:sync_resource", "sync_resource has a yield in it"),
        ("tests.unit.taking:Entry", "Entry is a class"),
        ("tests.unit.taking:number", "int is not a function"),
        ("tests.unit.taking:resource_of", "resource_of(name) cannot be called without arguments"),
        ("tests.unit.taking:too_partly", "has incorrect arguments"),
        ("tests.unit.taking:two", "two(entry, context) cannot be called with one Entry"),
        ("tests.unit.taking:none", "none() cannot be called with one Entry"),
        ("tests.unit.taking:by_name", "by_name(*, entry) cannot be called with one Entry"),
        ("tests.unit.taking:bound_two", "handle_two(entry, context) cannot be called with one Entry"),
    ],
)
async def test_a_handler_that_cannot_be_used_is_a_bad_setting(handler: str, told: str) -> None:
    """It is said before anything is claimed."""
    with pytest.raises(SettingsError) as caught:
        await _app(handler)

    (problem,) = caught.value.problems
    assert problem.startswith(f"HANDLER is {handler!r}")
    assert told in problem


@pytest.mark.parametrize(
    "name",
    ["one", "with_default", "with_any", "wrapped", "partly", "instance", "bound", "sync", "resource", "Resource"],
)
async def test_whatever_can_be_called_with_one_entry_is_a_handler(name: str) -> None:
    app = await _app(f"tests.unit.taking:{name}")

    assert list(app.units) == ["s/g"]


@pytest.mark.parametrize("name", ["resource", "Resource", "partly_resource", "called_resource"])
async def test_an_async_context_manager_is_entered_whatever_makes_it(name: str) -> None:
    """Called with an entry instead, it would do nothing, and each entry would count as done."""
    make = load(f"tests.unit.taking:{name}")

    assert not isinstance(make, Function)
    async with make() as function:
        assert function.call is taking.sync
