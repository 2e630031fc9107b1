"""The prefix of reclaim's functions and routes."""

import pytest

from reclaim.errors import SettingsError
from reclaim.prefix import prefix_of
from reclaim.settings import Settings

ENV = {"REDIS_HOST": "h", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}


@pytest.mark.parametrize("value", ["reclaim", " Shop_2-b ", "a", "a" * 30])
def test_a_prefix_is_taken_at_import_as_the_settings_take_it(value: str) -> None:
    env = ENV | {"RECLAIM_PREFIX": value}

    assert prefix_of(env) == Settings.from_env(env).prefix == value.strip()


@pytest.mark.parametrize("value", ["my app", "/shop", "shop/", "1st", "-", "ä", "a" * 31, "{x}"])
def test_a_bad_prefix_keeps_no_app_from_being_indexed_and_is_refused_with_the_settings(value: str) -> None:
    env = ENV | {"RECLAIM_PREFIX": value}

    assert prefix_of(env) == ""
    with pytest.raises(SettingsError, match=r"RECLAIM_PREFIX is .*; allowed: at most 30 letters"):
        Settings.from_env(env)


@pytest.mark.parametrize("env", [{}, {"RECLAIM_PREFIX": ""}, {"RECLAIM_PREFIX": "  "}])
def test_without_one_there_is_none(env: dict[str, str]) -> None:
    assert (prefix_of(env), Settings.from_env(ENV | env).prefix) == ("", None)
