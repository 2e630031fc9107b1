"""Where telemetry goes: what the portal's connection strings mean, and what is said about bad ones."""

import pytest

from reclaim.errors import SettingsError
from reclaim.observe.export import make
from reclaim.settings import Insights, Settings

LEAST = {"REDIS_HOST": "cache.example.net", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}
KEY = "00000000-0000-0000-0000-00000000000a"


def insights(connection_string: str, **more: str) -> Insights | None:
    """What the settings make of it."""
    return Settings.from_env(LEAST | {"APPLICATIONINSIGHTS_CONNECTION_STRING": connection_string} | more).insights


@pytest.mark.parametrize(
    ("connection_string", "endpoint"),
    [
        (f"InstrumentationKey={KEY};IngestionEndpoint=https://x.example.net/;LiveEndpoint=https://y/;", "https://x.example.net"),
        (f"instrumentationkey={KEY.upper()} ; INGESTIONENDPOINT=http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (f"InstrumentationKey={KEY}", "https://dc.services.visualstudio.com"),
        (f"InstrumentationKey={KEY};EndpointSuffix=example.cn", "https://dc.example.cn"),
        (f"InstrumentationKey={KEY};EndpointSuffix=example.cn;Location=north", "https://north.dc.example.cn"),
    ],
)  # fmt: skip
def test_a_connection_string_names_a_key_and_an_address(connection_string: str, endpoint: str) -> None:
    """In any case, with slashes and semicolons at ends, and in the older forms."""
    assert insights(connection_string) == Insights(KEY, endpoint)


@pytest.mark.parametrize(
    "connection_string",
    ["nonsense", "InstrumentationKey=1", f"InstrumentationKey={KEY};IngestionEndpoint=ftp://x", "IngestionEndpoint=https://x"],
)  # fmt: skip
def test_a_bad_connection_string_is_named_and_not_shown(connection_string: str) -> None:
    """It is treated as a secret."""
    with pytest.raises(SettingsError) as caught:
        insights(connection_string)

    (problem,) = caught.value.problems
    assert problem.startswith("APPLICATIONINSIGHTS_CONNECTION_STRING is '***'; allowed: InstrumentationKey=<GUID>;")


def test_entra_and_log_lines_are_asked_for() -> None:
    """The first by Azure Functions' own setting, with a user-assigned identity or without."""
    name = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
    string = f"InstrumentationKey={KEY};IngestionEndpoint=https://x"

    assert insights(string, **{name: "Authorization=AAD"}) == Insights(KEY, "https://x", entra=True)
    assert insights(string, **{name: "ClientId=i;Authorization=AAD"}) == Insights(
        KEY, "https://x", entra=True, client_id="i"
    )
    assert insights(string, APPLICATIONINSIGHTS_LOGS="true") == Insights(KEY, "https://x", logs=True)
    with pytest.raises(SettingsError, match=r"AUTHENTICATION_STRING is .*Authorization=AAD"):
        insights(string, **{name: "Authorization=ikey"})


def test_without_a_connection_string_there_is_nothing_to_export_with() -> None:
    """An empty setting is none."""
    assert Settings.from_env(LEAST | {"APPLICATIONINSIGHTS_CONNECTION_STRING": " "}).insights is None


@pytest.mark.parametrize(
    ("missing", "says"), [("opencensus", "opencensus-ext-azure"), ("azure.identity", "azure-identity")]
)
def test_a_package_that_is_not_installed_is_named(missing: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, not at the first export."""
    monkeypatch.setattr("reclaim.observe.export.find_spec", lambda name: None if name == missing else object())
    insights = Insights(KEY, "https://x", entra=True)

    with pytest.raises(SettingsError, match=says):
        make(Settings("h", 1, (), insights=insights), insights)


def test_the_key_is_not_shown() -> None:
    """Settings end up in logs and reports of errors."""
    assert KEY not in repr(insights(f"InstrumentationKey={KEY}"))
