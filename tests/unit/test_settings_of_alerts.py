"""The settings of the circuit and the alerts: what they default to, and what is said of bad ones."""

import pytest

from reclaim.errors import SettingsError
from reclaim.settings import Settings

ENV = {"REDIS_HOST": "h", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}


def test_the_defaults_are_the_articles_numbers_and_no_webhook() -> None:
    settings = Settings.from_env(ENV)
    (target,) = settings.targets
    assert (target.circuit_failures, target.circuit_window_sec, target.circuit_cooldown_sec) == (100, 30.0, 60.0)
    assert (target.alert_backlog_sec, settings.alert_repeat_sec) == (0.0, 900.0)
    assert (settings.alert_webhook_url, settings.alert_webhook_key, settings.dashboard_url) == (None, None, None)


def test_all_of_them_can_be_set_and_secrets_are_not_shown() -> None:
    url = "https://prod-1.example:443/workflows/1?sig=s3cret"
    alerting = {"ALERT_WEBHOOK_URL": url, "ALERT_WEBHOOK_KEY": " k3y\n", "ALERT_REPEAT_SEC": "60"}
    env = ENV | alerting | {"CIRCUIT_COOLDOWN_SEC": "0", "WEBSITE_HOSTNAME": "app.example"}
    settings = Settings.from_env(env)
    assert (settings.alert_webhook_url, settings.alert_webhook_key) == (url, "k3y")
    assert settings.dashboard_url == "https://app.example/api/dashboard"
    prefixed = Settings.from_env(env | {"RECLAIM_PREFIX": "shop"})
    assert prefixed.dashboard_url == "https://app.example/api/shop/dashboard"
    assert settings.targets[0].circuit_cooldown_sec == 0
    assert "s3cret" not in repr(settings)
    assert "k3y" not in repr(settings)


def test_targets_may_have_circuits_of_their_own() -> None:
    listed = (
        '[{"stream": "a", "group": "g", "circuit_failures": 5, "alert_backlog_sec": 60}, {"stream": "b", "group": "g"}]'
    )
    first, second = Settings.from_env({"REDIS_HOST": "h", "CIRCUIT_FAILURES": "7", "RECLAIM_TARGETS": listed}).targets
    assert (first.circuit_failures, first.alert_backlog_sec) == (5, 60.0)
    assert (second.circuit_failures, second.alert_backlog_sec) == (7, 0.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CIRCUIT_FAILURES", "0"),
        ("CIRCUIT_FAILURES", "2001"),
        ("CIRCUIT_WINDOW_SEC", "0"),
        ("CIRCUIT_COOLDOWN_SEC", "-1"),
        ("ALERT_BACKLOG_SEC", "soon"),
        ("ALERT_REPEAT_SEC", "0"),
        ("ALERT_WEBHOOK_URL", "s3cret.example/hook"),
        ("ALERT_WEBHOOK_URL", "ftp://s3cret.example"),
        ("ALERT_WEBHOOK_URL", "https://"),
        ("ALERT_WEBHOOK_URL", "https://s3cret:port/"),
        ("ALERT_WEBHOOK_URL", "https://[s3cret/"),
        ("ALERT_WEBHOOK_KEY", "s3cret\r\nx: y"),
        ("ALERT_WEBHOOK_KEY", "s3crét"),
    ],
)
def test_a_bad_value_is_named_and_a_secret_one_masked(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(ENV | {name: value})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{name} is ")
    assert "s3cr" not in problem
