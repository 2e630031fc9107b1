"""Names that look like settings of ours and are none: told of, and refused where they contradict what is used."""

import pytest

from reclaim.errors import SettingsError
from reclaim.settings import Settings

LEAST = {"REDIS_HOST": "cache:6390", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}


def warnings(**env: str) -> list[tuple[str, str]]:
    return [(what, todo) for what, todo in Settings.from_env(LEAST | env).warnings]


def problems(**env: str) -> list[str]:
    """What is wrong with an environment."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | env)
    return caught.value.problems


@pytest.mark.parametrize(
    ("name", "value", "ours"),
    [
        ("REDIS_SSL", "true", "REDIS_TLS"),
        ("REDIS_DATABASE", "0", "REDIS_DB"),
        ("REDIS_USER", "default", "REDIS_USERNAME"),
        ("REDIS_PASS", "s3cret", "REDIS_PASSWORD"),
        ("REDIS_HOSTNAME", "elsewhere", "REDIS_HOST"),
        ("REDIS_CONNECTION_STRING", "elsewhere:6380,password=s3cret", "REDIS_URL"),
        ("REDIS_CONNECTION_STRING", "cache:6390,password=s3cret", "REDIS_URL"),
        ("RedisConnectionString", "s3cret", "REDIS_URL"),
        ("REDIS_CLUSTER_NODES", "a,b", "REDIS_CLUSTER"),
    ],
)
def test_what_looks_like_ours_is_told_of_with_what_is_meant(name: str, value: str, ours: str) -> None:
    """Its value is not shown."""
    assert warnings(**{name: value}) == [(f"{name} is no setting of ours", f"{ours} is, if that is meant")]


@pytest.mark.parametrize("name", ["REDIS_SENTINEL", "REDIS_SENTINELS", "REDIS_SENTINEL_MASTER", "REDIS_MASTER_NAME"])
def test_a_sentinel_is_told_of(name: str) -> None:
    """It is not asked."""
    assert warnings(**{name: "mymaster"}) == [
        (
            f"{name} is no setting of ours",
            "no Sentinel is asked: REDIS_HOST has to name the primary, or a name that follows it",
        )
    ]


@pytest.mark.G9
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("REDIS_DATABASE", "1", "another database than the one that is used, 0; allowed: REDIS_DB"),
        ("REDIS_SSL", "false", "that TLS is off, which is on; allowed: REDIS_TLS"),
        ("REDIS_USER", "app", "another user than the one that is used; allowed: REDIS_USERNAME"),
        ("REDIS_CLUSTER_ENABLED", "true", "that there is a cluster; allowed: REDIS_CLUSTER"),
        ("REDIS_URI", "rediss://:s3cret@cache/1", "another database than the one that is used, 0; allowed: REDIS_URL"),
        ("REDIS_URI", "rediss://cache:6380", "another port than the one that is used, 6390; allowed: REDIS_URL"),
    ],
)
def test_what_contradicts_what_is_used_is_refused(name: str, value: str, says: str) -> None:
    """Else we would work where nobody has sent us."""
    assert problems(**{name: value}) == [f"{name} is no setting of ours, and says {says} instead of it"]


@pytest.mark.G9
def test_a_port_of_its_own_is_refused_where_it_is_another_than_ours() -> None:
    """The port stands in REDIS_HOST."""
    assert warnings(REDIS_PORT="6390") == []
    (problem,) = problems(REDIS_PORT="6379")

    assert problem == (
        "REDIS_PORT is no setting of ours, and says another port than the one that is used, 6390; "
        "allowed: the port in REDIS_HOST, as in host:6380"
    )


def test_what_kubernetes_sets_beside_a_service_is_nobodys_wish() -> None:
    """Services called redis and redis-sentinel, in every pod beside them."""
    env = {
        "REDIS_PORT": "tcp://10.0.0.11:6379",
        "REDIS_SERVICE_HOST": "10.0.0.11",
        "REDIS_SERVICE_PORT": "6379",
        "REDIS_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_PORT_6379_TCP_PORT": "6379",
        "REDIS_SENTINEL_PORT": "tcp://10.0.0.12:26379",
        "REDIS_SENTINEL_SERVICE_HOST": "10.0.0.12",
    }

    assert warnings(**env) == []


def test_nothing_is_said_to_contradict_settings_that_are_bad_themselves() -> None:
    """Which database would be used is not known then."""
    assert problems(REDIS_DB="one", REDIS_DATABASE="1") == [
        "REDIS_DB is 'one'; allowed: a whole number from 0 to 2147483647"
    ]
