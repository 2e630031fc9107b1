"""Settings that would be taken for more than they do, and so are refused."""

import pytest

from reclaim.errors import SettingsError
from reclaim.settings import Settings

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

    assert problem.startswith("RECLAIM_TARGETS[0].MAX_DELIVERIES is '1'")


def test_two_deliveries_are_enough() -> None:
    """One of the consumer's, one of ours."""
    (target,) = Settings.from_env(LEAST | {"MAX_DELIVERIES": "2"}).targets

    assert target.max_deliveries == 2


@pytest.mark.parametrize(("name", "value"), [("REDIS_CLUSTER", "true"), ("REDIS_AUTH", "entra")])
def test_what_is_not_there_yet_is_refused_and_not_passed_over(name: str, value: str) -> None:
    """Nobody shall find out on Azure."""
    (problem,) = problems(**{name: value})

    assert problem.startswith(f"{name} is {value!r}")
    assert "not supported yet" in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [("REDIS_CLUSTER", "false"), ("REDIS_CLUSTER", ""), ("REDIS_AUTH", "password"), ("REDIS_AUTH", " ")],
)
def test_what_is_there_may_be_said(name: str, value: str) -> None:
    """The defaults, in words."""
    assert Settings.from_env(LEAST | {name: value}) == Settings.from_env(LEAST)
