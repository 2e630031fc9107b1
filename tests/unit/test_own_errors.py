"""RETRY_ON and REJECT_ON: the classes that the settings name are found when the handler is loaded."""

import pytest

from reclaim.errors import SettingsError
from reclaim.handlers import own_errors
from reclaim.settings import Settings, Target
from reclaim.verdicts import OwnErrors

HERE = __name__


class Outer:
    """Holds a class of errors, as some clients do."""

    class Inner(Exception):
        """An error."""


def test_classes_are_found_by_their_dotted_names() -> None:
    """In a module, in a package, in another class; one without a dot is Python's own."""
    target = Target(
        "s", "g", retry_on=("ValueError", "redis.exceptions.RedisError", f"{HERE}.Outer.Inner"), reject_on=("KeyError",)
    )

    found = own_errors(target)

    assert [cls.__qualname__ for cls in found.retry] == ["ValueError", "RedisError", "Outer.Inner"]
    assert found.reject == (KeyError,)
    assert own_errors(Target("s", "g")) == OwnErrors()


@pytest.mark.G9
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere.Error", "No module named 'nowhere'"),
        ("redis.exceptions.NoSuchError", "NoSuchError"),
        ("NoSuchError", "NoSuchError"),
        ("redis.Redis", "redis.Redis is no exception class"),
        ("KeyboardInterrupt", "KeyboardInterrupt is no exception class"),
        ("os.path", "os.path is no exception class"),
    ],
)
@pytest.mark.parametrize("setting", ["RETRY_ON", "REJECT_ON"])
def test_a_name_that_is_no_exception_class_is_a_bad_setting(setting: str, name: str, why: str) -> None:
    """The error names the setting, the value, what is allowed and why; every bad name has its own line."""
    env = {"REDIS_HOST": "h", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g", setting: f"{name}, nowhere.Other"}
    (target,) = Settings.from_env(env).targets

    with pytest.raises(SettingsError) as caught:
        own_errors(target)

    first, second = caught.value.problems
    assert first.startswith(f"{setting} is '{name}'; allowed: dotted names with commas between them")
    assert why in first
    assert "nowhere.Other" in second


def test_a_class_is_an_outage_or_a_bad_entry_and_not_both() -> None:
    with pytest.raises(SettingsError, match="RETRY_ON and REJECT_ON both name ValueError; allowed: one of them"):
        own_errors(Target("s", "g", retry_on=("ValueError",), reject_on=("ValueError",)))


@pytest.mark.parametrize("text", ["a b", "a.", ".a", "a:b", "1a"])
def test_what_is_no_name_is_refused_with_the_other_settings(text: str) -> None:
    env = {"REDIS_HOST": "h", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g", "RETRY_ON": text}

    with pytest.raises(SettingsError, match="RETRY_ON is"):
        Settings.from_env(env)
