"""The app settings that infra/ makes are settings of reclaim or of Azure, and those that matter are all made."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dev.bicep import File, Object, OneOf, Reader, Some, Symbol, alternatives, read
from reclaim.http.routes import ROUTES
from reclaim.settings import TABLE, Settings

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
MAIN = read(INFRA / "main.bicep")
OPERATE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")

# Settings of Azure's own: https://learn.microsoft.com/azure/azure-functions/functions-app-settings
OF_FLEX = {
    *("AzureWebJobsStorage__blobServiceUri", "AzureWebJobsStorage__clientId", "AzureWebJobsStorage__credential"),
    "AzureWebJobsStorage__queueServiceUri",
    "PYTHON_ISOLATE_WORKER_DEPENDENCIES",
}
OF_CLASSIC = {
    *("AzureWebJobsStorage", "ENABLE_ORYX_BUILD", "FUNCTIONS_EXTENSION_VERSION", "FUNCTIONS_WORKER_RUNTIME"),
    *("PYTHON_ISOLATE_WORKER_DEPENDENCIES", "SCM_DO_BUILD_DURING_DEPLOYMENT"),
}

INSTEAD = {"REDIS_URL"}  # infra/ makes REDIS_HOST and REDIS_PASSWORD


def settings_of(file: File, name: str) -> dict[str, Any]:
    """An object of settings that a variable holds, with what is known of each value."""
    value = Reader(file).value(file.variables[name][0])
    assert isinstance(value, Object)
    return value.properties


OURS = settings_of(MAIN, "appSettings")


def of_plan(file: str) -> set[str]:
    """The app settings that the module of a plan makes, beside those that it is given."""
    body = read(INFRA / file).resources["appSettings"].value
    return set(body.properties["properties"].properties)


def test_every_setting_is_one_of_the_table() -> None:
    assert OURS.keys() - {row.name for row in TABLE} == set()


def test_every_required_setting_and_every_secret_is_made() -> None:
    """A secret that infra/ did not know would end in the parameter `settings`, in the clear."""
    needed = {row.name for row in TABLE if row.is_required or row.kind.is_secret} - INSTEAD

    assert needed - OURS.keys() == set()


def test_every_secret_is_a_reference_to_the_key_vault() -> None:
    """But for the two of Application Insights: with Entra tokens alone, its connection string opens nothing."""
    text = (INFRA / "main.bicep").read_text(encoding="utf-8")
    secrets = {row.name for row in TABLE if row.kind.is_secret and not row.name.startswith("APPLICATIONINSIGHTS")}
    secrets -= INSTEAD
    references = re.findall(r"(\w+): '\$\{secret\}([\w-]+)\)'", text)

    assert {name for name, _ in references} == secrets
    vault = (INFRA / "vault.bicep").read_text(encoding="utf-8")
    assert {secret for _, secret in references} == set(re.findall(r"name: '([\w-]+)'\n  properties: \{ value", vault))


@pytest.mark.parametrize(("file", "names"), [("app-flex.bicep", OF_FLEX), ("app-classic.bicep", OF_CLASSIC)])
def test_a_plan_adds_only_settings_of_azure(file: str, names: set[str]) -> None:
    """And on Flex Consumption none of those that it refuses."""
    assert of_plan(file) == names


def test_reclaim_starts_with_the_settings_that_are_made() -> None:
    """For a server with a password; what only a deployment knows is made up here."""
    made_up = {
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={'0' * 8}-0000-0000-0000-{'0' * 12}"
        ";IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/",
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": f"ClientId={'0' * 8}-0000-0000-0000-{'0' * 12};Authorization=AAD",
        "ALERT_WEBHOOK_URL": "https://example.net/alerts",
        "HTTP_URL": "https://example.net/orders",
        "HTTP_HEADERS": '{"X-Key": "value"}',
        "REDIS_HOST": "cache.example.net:10000",
        "REDIS_ENTRA_CLIENT_ID": f"{'0' * 8}-0000-0000-0000-{'0' * 12}",
        "STORE_REPLICAS": "1",
        "RECLAIM_SCHEDULE": Reader(MAIN).value(MAIN.params["schedule"].default),
        "HASH_KEY": Reader(MAIN).value(MAIN.params["hashKey"].default),
    }
    one_target = {name: value for name, value in OURS.items() if name != "RECLAIM_TARGETS"}
    env = {name: made_up.get(name, _known(value, name)) for name, value in one_target.items()}

    settings = Settings.from_env(env | {"REDIS_AUTH": "password", "REDIS_CLUSTER": "false"})

    assert (settings.host, settings.port) == ("cache.example.net", 10000)
    assert settings.insights
    assert settings.insights.entra


def _known(value: Any, name: str) -> str:
    """One of the texts that a setting may have; its own name where only a deployment knows it."""
    texts = [one for one in alternatives(value) if not isinstance(one, Some | Symbol | OneOf)]
    return texts[0] if texts else name


def test_every_parameter_has_a_variable_of_the_environment() -> None:
    """`azd env set RECLAIM_… …` sets it. A variable that is not set leaves the parameter its default."""
    parameters = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]

    assert parameters.keys() == MAIN.params.keys()
    assert {one["value"] for name, one in parameters.items() if name not in {"environmentName", "location"}} == {
        "${" + name + "}" for name in documented_variables()
    }
    assert parameters["environmentName"]["value"] == "${AZURE_ENV_NAME}"
    assert parameters["location"]["value"] == "${AZURE_LOCATION}"


def documented_variables() -> set[str]:
    """The variables in the table of docs/deploy.md."""
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(RECLAIM_\w+)` \|", text, re.MULTILINE))


def test_the_classic_cache_allows_the_commands_that_operate_md_lists() -> None:
    """No more and no fewer: a missing command fails runs. Else: change `commands` in redis-existing-classic.bicep."""
    section = OPERATE.partition("\n## Permissions\n")[2].partition("\n## ")[0]
    listed = {word for run in re.findall(r"`([A-Z|\s]+)`", section) for word in run.split()}
    listed -= {"SELECT", "SCAN"}  # only if REDIS_DB is not 0; only for patterns, whose keys the template does not know
    commands = Reader(read(INFRA / "redis-existing-classic.bicep"))
    file = read(INFRA / "redis-existing-classic.bicep")
    made = commands.value(file.variables["commands"][0])

    assert sorted(made) == sorted({word.lower() for word in listed})


def test_the_key_that_only_reads_is_set_on_every_function_that_only_reads() -> None:
    """infra/read-key.sh names them, as functions have no names before the app is published."""
    script = (INFRA / "read-key.sh").read_text(encoding="utf-8")
    named = re.search(r"^functions='([\w ]+)'$", script, re.MULTILINE)

    assert named
    assert sorted(named[1].split()) == sorted(name for name, (method, _) in ROUTES.items() if method == "GET")
