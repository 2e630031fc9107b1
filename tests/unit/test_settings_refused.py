"""Settings that would be taken for more than they do, and so are refused."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from reclaim.errors import SettingsError
from reclaim.settings import OF_TARGET, TABLE, Settings

ROOT = Path(__file__).parents[2]
MAY_HOLD_A_SECRET = {"REDIS_HOST", "REDIS_AUTH", "REDIS_ENTRA_CLIENT_ID", "HTTP_AUDIENCE"}
LEAST = {"REDIS_HOST": "cache.example.net", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}


def problems(**env: str) -> list[str]:
    """What is wrong with an environment."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | env)
    return caught.value.problems


@pytest.mark.parametrize("value", ["1", "0", "-5"])
def test_one_delivery_is_too_few(value: str) -> None:
    """The first one is the consumer's own: every entry that it did not acknowledge would be dead at once."""
    (problem,) = problems(MAX_DELIVERIES=value)

    assert problem.startswith(f"MAX_DELIVERIES is {value!r}; allowed: a whole number from 2 ")


def test_one_delivery_is_too_few_for_a_target_of_the_list_too() -> None:
    """By its place."""
    (problem,) = problems(RECLAIM_TARGETS='[{"stream": "s", "group": "g", "max_deliveries": 1}]')

    assert problem.startswith("RECLAIM_TARGETS[0].max_deliveries is '1'")


def test_two_deliveries_are_enough() -> None:
    """One of the consumer's, one of ours."""
    (target,) = Settings.from_env(LEAST | {"MAX_DELIVERIES": "2"}).targets

    assert target.max_deliveries == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("REDIS_CLUSTER", "false"), ("REDIS_CLUSTER", ""), ("REDIS_AUTH", "password"), ("REDIS_AUTH", " ")],
)
def test_what_is_there_may_be_said(name: str, value: str) -> None:
    """The defaults, in words."""
    assert Settings.from_env(LEAST | {name: value}) == Settings.from_env(LEAST)


# --- a cluster -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"REDIS_DB": "3"}, "REDIS_DB is database 3, and REDIS_CLUSTER is true; allowed: database 0"),
        ({"REDIS_HOST": "", "REDIS_URL": "redis://h:1/3"}, "REDIS_URL is database 3, and REDIS_CLUSTER is true"),
        ({"REDIS_HOST": "/run/redis.sock"}, "REDIS_HOST is a Unix socket, and REDIS_CLUSTER is true"),
        (
            {"REDIS_HOST": "", "REDIS_URL": "unix:///run/r.sock"},
            "REDIS_URL is a Unix socket, and REDIS_CLUSTER is true",
        ),
    ],
)
def test_what_no_cluster_has_is_refused(env: dict[str, str], problem: str) -> None:
    """A cluster has one database, and its nodes are reached by TCP."""
    (told,) = problems(**env, REDIS_CLUSTER="true")

    assert told.startswith(problem)


def test_replicas_are_counted_or_left_to_the_cluster() -> None:
    """A number, or the word."""
    chosen = [Settings.from_env(LEAST | {"STORE_REPLICAS": text}).store_replicas for text in ("auto", "0", "2")]

    assert chosen == ["auto", 0, 2]
    assert problems(STORE_REPLICAS="all") == ["STORE_REPLICAS is 'all'; allowed: auto or a whole number from 0 to 5"]


# --- values of another type ------------------------------------------------------------------------------------------


def test_what_is_text_for_a_target_has_to_be_a_string() -> None:
    """The group null would be waited for, and the stream ["a"] too."""
    texts = [row for row in OF_TARGET if not row.kind.takes_json]
    assert {"stream", "group", "consumer", "hash_key", "handler"} < {row.key for row in texts}
    for row, value in product(texts, [None, 5, 1.5, True, ["a"], {"a": 1}, {}]):
        listed = [{"stream": "s", "group": "g"}, {"stream": "t", "group": "g", row.key: value}]

        told = problems(RECLAIM_TARGETS=json.dumps(listed))

        shown = "***" if row.kind.is_secret or row.key == "http_audience" else json.dumps(value)
        assert told == [f"RECLAIM_TARGETS[1].{row.key} is {shown}; allowed: a string"]


@pytest.mark.parametrize("value", [None, True, [7], {"a": 7}, float("nan")])
@pytest.mark.parametrize(("key", "kind"), [("page_size", "a whole number"), ("retry_max_delay_sec", "a number")])
def test_what_is_a_number_for_a_target_has_to_be_one(key: str, kind: str, value: object) -> None:
    """Whatever else JSON knows is named as JSON writes it."""
    (problem,) = problems(RECLAIM_TARGETS=json.dumps([{"stream": "s", "group": "g", key: value}]))

    assert problem.startswith(f"RECLAIM_TARGETS[0].{key} is '{json.dumps(value)}'; allowed: {kind} from ")


def test_a_number_for_a_target_may_be_a_string_or_not() -> None:
    """A list made by hand has the one, one made by a program the other."""
    listed = [
        {"stream": "s", "group": "g", "page_size": 7, "retry_max_delay_sec": 1.5},
        {"stream": "t", "group": "g", "page_size": "7", "retry_max_delay_sec": "1.5"},
    ]

    targets = Settings.from_env(LEAST | {"RECLAIM_TARGETS": json.dumps(listed)}).targets

    assert [(target.page_size, target.retry_max_delay_sec) for target in targets] == [(7, 1.5), (7, 1.5)]


# --- text that has no encoding ---------------------------------------------------------------------------------------


def test_text_that_cannot_be_encoded_is_one_bad_setting_and_a_secret_is_not_shown() -> None:
    """A byte of the environment that is not UTF-8 becomes half a surrogate pair, which nobody can be sent."""
    for row in TABLE:
        hidden = row.kind.is_secret or row.name in MAY_HOLD_A_SECRET
        shown = "***" if hidden else "s3cret\\udcff"

        beside = {"REDIS_HOST": ""} if row.name == "REDIS_URL" else {}
        told = problems(**beside | {row.name: "s3cret\udcff"})

        assert told == [f"{row.name} is '{shown}'; allowed: text that can be encoded in UTF-8"]


def test_a_connection_string_for_a_host_that_cannot_be_encoded_does_not_show_its_password() -> None:
    """It is somebody's REDIS_HOST."""
    (problem,) = problems(REDIS_HOST="cache:6380,password=s3cret\udcff,ssl=True")

    assert problem == "REDIS_HOST is 'cache:6380***'; allowed: text that can be encoded in UTF-8"


def test_half_a_surrogate_pair_of_json_is_a_bad_setting_of_its_target() -> None:
    """JSON can name it, in an environment that is all ASCII."""
    listed = r'[{"stream": "s", "group": "g\ud800", "consumer": "c\udfff"}, {"stream": "\ud83d\ude00", "group": "g"}]'

    assert problems(RECLAIM_TARGETS=listed) == [
        r"RECLAIM_TARGETS[0].group is 'g\ud800'; allowed: text that can be encoded in UTF-8",
        r"RECLAIM_TARGETS[0].consumer is 'c\udfff'; allowed: text that can be encoded in UTF-8",
    ]


def test_a_list_of_targets_that_cannot_be_encoded_is_not_taken_for_none() -> None:
    """It is bad, and so nobody need name a single stream instead."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"REDIS_HOST": "cache", "RECLAIM_TARGETS": "[\udcff"})

    assert caught.value.problems == ["RECLAIM_TARGETS is '***'; allowed: text that can be encoded in UTF-8"]


def test_bytes_of_the_environment_that_are_not_utf_8_end_with_2_and_no_traceback() -> None:
    """As a process finds them."""
    env = {name.encode(): value.encode() for name, value in LEAST.items()}

    ended = subprocess.run(
        [sys.executable, "-m", "reclaim", "run"],
        env=env | {b"STREAM_NAME": b"s\xff", b"REDIS_PASSWORD": b"s3cret\xff", b"PYTHONUTF8": b"1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2, ended.stderr
    assert r"STREAM_NAME is 's\udcff'; allowed: text that can be encoded in UTF-8" in ended.stderr
    assert "REDIS_PASSWORD is '***'; allowed: text that can be encoded in UTF-8" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "s3cret" not in ended.stderr


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('{"Content-Length": "0"}', "the client itself says how long a request is and when a connection ends"),
        ('{"transfer-encoding": "chunked"}', "the client itself says how long a request is and when a connection ends"),
        ('{"X-Key": "s3cret", "x-key": "s3cret2"}', "a header stands twice: upper and lower case are the same"),
        ('{"X-Key": "s3cret", "X-Key": "s3cret2"}', "a name stands twice in one object"),
        (DEEP, "its lists or objects are nested too deeply"),
    ],
    ids=["a length", "an encoding", "twice in two cases", "twice", "nested"],
)
def test_headers_that_contradict_each_other_or_the_request(value: str, says: str) -> None:
    """With a length of 0 a service would answer 200 to an empty request, and the entry be gone."""
    (problem,) = problems(HANDLER="http", HTTP_URL="http://127.0.0.1/", HTTP_HEADERS=value)

    assert problem.startswith("HTTP_HEADERS is '***'; allowed: a JSON object of header names and values")
    assert problem.endswith(f"({says})")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('[{"stream": "s", "group": "g", "stream": "t"}]', "a name stands twice in one object"),
        (DEEP, "its lists or objects are nested too deeply"),
    ],
    ids=["twice", "nested"],
)
def test_a_list_of_targets_that_says_two_things_or_cannot_be_read(value: str, says: str) -> None:
    """Of two streams the last one would be taken, and nobody would know."""
    assert problems(RECLAIM_TARGETS=value) == [
        f"RECLAIM_TARGETS is '***'; allowed: a JSON list of at least one object ({says})"
    ]
